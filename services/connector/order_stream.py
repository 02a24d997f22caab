"""The user stream: always on, feeding the desk; after each drop what it missed is asked for.

Raw messages are read here, because ccxt's own order structure keeps only the last of several
updates that arrive together, and each may carry a fill.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import OpensqtError, UnreachableError
from services.common.logs import get_logger
from services.connector.order_codec import encode_update
from services.connector.order_mapping import merge_states, to_fill, to_state
from services.connector.venue_errors import to_read_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensqt.market_maker.v1 import events_pb2
    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.instruments import Instrument
    from services.connector.order_desk import OrderDesk
    from services.connector.order_types import OrderState, VenueOrder
    from services.connector.venue import Venue

_logger = get_logger(__name__)
_FOREIGN_LIMIT: Final = 2_000
_READY_SECONDS: Final = 10.0
_FIRST_BACKOFF: Final = 0.2
_MOST_BACKOFF: Final = 15.0


class OrderStream:
    """Watches the account's orders; also the observer of the trading instance's replies."""

    def __init__(self, venue: Venue, desk: OrderDesk, metrics: ConnectorMetrics) -> None:
        self._venue = venue
        self._metrics = metrics
        self._desk = desk
        self._ready = asyncio.Event()
        self._ended = asyncio.Event()
        self._foreign: OrderedDict[tuple[str, str], OrderState] = OrderedDict()
        self.listeners: set[Callable[[events_pb2.OrderUpdate | OpensqtError], None]] = set()

    @property
    def is_live(self) -> bool:
        """Whether the venue is sending us this account's orders."""
        return self._ready.is_set()

    async def wait_live(self, seconds: float) -> None:
        """Wait until the stream is on; raise UnreachableError when it is not within that time."""
        try:
            async with asyncio.timeout(seconds):
                await self._ready.wait()
        except TimeoutError:
            raise UnreachableError("the order stream is down", reason="STREAM_DROPPED") from None

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Feed the venue's own counts to the budget."""
        self._venue.budget.observe_headers(headers)

    def on_connected(self, url: str) -> None:
        """Take the opening of a socket of the trading instance, which has the user stream only."""
        del url
        if self._venue.profile.stream_ready(None):
            self._ready.set()

    def on_message(self, message: Any) -> None:
        """Take one message of the user stream; a broken one is logged and left out."""
        if not isinstance(message, dict):
            return
        if self._venue.profile.stream_ready(message):
            self._ready.set()
        if self._venue.profile.stream_ended(message):
            self._ended.set()
        try:
            for row in self._venue.profile.stream_orders(message):
                self._take(row)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            # Raised on, it would end ccxt's reading of the socket, and with it every other order.
            _logger.error("stream_row_broken", problem=repr(error))

    async def run(self) -> None:
        """Keep the stream up until cancelled, with growing waits between attempts that fail."""
        failures = 0
        while True:
            error = await self._session()
            failures = 0 if self._ready.is_set() else failures + 1
            await self._drop(error)
            wait = min(_FIRST_BACKOFF * 2.0 ** min(failures, 10), _MOST_BACKOFF)
            await self._venue.clock.sleep(wait)

    async def _session(self) -> OpensqtError:
        watching = asyncio.get_running_loop().create_task(self._watch())
        ended = asyncio.get_running_loop().create_task(self._ended.wait())
        try:
            ready = asyncio.get_running_loop().create_task(self.wait_live(_READY_SECONDS))
            await asyncio.wait({watching, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
            if self._ready.is_set() and not watching.done():
                _logger.info("order_stream_up")
                self._metrics.show_stream(up=True)
                # Subscribed first, asked second: nothing falls between the two.
                await self._catch_up()
                await asyncio.wait({watching, ended}, return_when=asyncio.FIRST_COMPLETED)
            return await _failure(watching, self._venue)
        finally:
            for task in (watching, ended):
                task.cancel()
            await asyncio.gather(watching, ended, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await self._venue.profile.calls.watch(self._venue.trading)

    async def _catch_up(self) -> None:
        """Ask for the orders that may have changed while nobody listened."""
        for record in self._desk.shelf.unfinished():
            try:
                await self._desk.refresh(record)
            except OpensqtError as error:
                _logger.warning(
                    "order_refresh_failed",
                    client_order_id=record.client_order_id,
                    reason=error.reason,
                )

    async def _drop(self, error: OpensqtError) -> None:
        self._metrics.show_stream(up=False)
        _logger.warning("order_stream_down", reason=error.reason, problem=error.message)
        # Listeners must not take a snapshot for live while the stream is down.
        self._ready.clear()
        self._ended.clear()
        for listener in tuple(self.listeners):
            listener(error)
        await close_sockets(self._venue.trading)

    def _take(self, row: VenueOrder) -> None:
        instrument = self._venue.instruments.find_exchange_symbol(row.exchange_symbol)
        if instrument is None:
            return
        state = self._merge(row, instrument)
        # A message carries at most one execution, its own.
        fill = to_fill(row.fills[-1], row.side, instrument) if row.fills else None
        update = encode_update(
            state,
            instrument,
            self._venue.name,
            last_fill=fill,
            forced_fill=row.forced_fill,
        )
        for listener in tuple(self.listeners):
            listener(update)

    def _merge(self, row: VenueOrder, instrument: Instrument) -> OrderState:
        shelf = self._desk.shelf
        record = shelf.find_venue_id(row.client_order_id) or shelf.find_exchange_id(
            instrument.symbol, row.exchange_order_id
        )
        if record is not None:
            seen = to_state(row, instrument, record.client_order_id)
            self._desk.learn(record, seen)
            return record.state or seen
        key = (instrument.symbol, row.exchange_order_id)
        seen = to_state(row, instrument, row.client_order_id)
        state = merge_states(self._foreign.pop(key, None), seen)
        # Orders placed elsewhere need their fills summed for fees too.
        self._foreign[key] = state
        if len(self._foreign) > _FOREIGN_LIMIT:
            self._foreign.popitem(last=False)
        return state


async def close_sockets(exchange: Any) -> None:
    """Close all WebSockets of a ccxt instance and make it ask for new listen keys."""
    clients = list((exchange.clients or {}).values())
    exchange.clients = {}
    for options in exchange.options.values():
        # ccxt would go on with the old listen key for twenty minutes.
        if isinstance(options, dict) and "lastAuthenticatedTime" in options:
            options["lastAuthenticatedTime"] = 0
    for client in clients:
        if hasattr(client, "close"):
            await client.close()


async def _failure(watching: asyncio.Task[None], venue: Venue) -> OpensqtError:
    if not watching.done():
        return UnreachableError("the venue ended the order stream", reason="STREAM_DROPPED")
    result = (await asyncio.gather(watching, return_exceptions=True))[0]
    error = to_read_error(result, venue.profile) if isinstance(result, Exception) else None
    if isinstance(error, OpensqtError):
        return error
    return UnreachableError("the order stream broke", reason="STREAM_DROPPED")
