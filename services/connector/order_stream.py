"""The user stream: always on, feeding the desk; after each drop what it missed is asked for.

Raw messages are read here, because ccxt's own order structure keeps only the last of several
updates that arrive together, and each may carry a fill.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import AuthError, Code, OpensqtError, UnreachableError
from services.common.logs import get_logger
from services.connector.ccxt_lean import errors as ccxt_errors
from services.connector.order_codec import encode_update
from services.connector.order_log import OrderLog, ToldFills
from services.connector.order_mapping import merge_states, to_fill, to_state
from services.connector.order_record import is_about
from services.connector.stream_probe import ProbePace, watch_silence
from services.connector.venue_errors import VenueAnswerError, to_read_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from services.connector.connector_metrics import ConnectorMetrics
    from services.connector.instruments import Instrument
    from services.connector.order_desk import OrderDesk
    from services.connector.order_gap import OrderGap
    from services.connector.order_types import Fill, ForcedFill, OrderState, VenueOrder
    from services.connector.profile import VenueProfile
    from services.connector.venue import Venue
    from services.connector.venue_stamps import VenueStamps

_logger = get_logger(__name__)
_FOREIGN_LIMIT: Final = 2_000
_READY_SECONDS: Final = 10.0
_FIRST_BACKOFF: Final = 0.2
_MOST_BACKOFF: Final = 15.0


class OrderStream:
    """Watches the account's orders; also the observer of the trading instance's replies.

    `log` holds what was told, `epoch` counts the drops. The stream is whole when it is on and the
    gap before it has been read.
    """

    def __init__(
        self,
        venue: Venue,
        desk: OrderDesk,
        gap: OrderGap,
        stamps: VenueStamps,
        metrics: ConnectorMetrics,
        probe: ProbePace,
    ) -> None:
        self._venue = venue
        self._metrics = metrics
        self._desk = desk
        self._gap = gap
        self._stamps = stamps
        self._probe = probe
        self._ready = asyncio.Event()
        self._whole = asyncio.Event()
        self._ended = asyncio.Event()
        self._foreign: OrderedDict[tuple[str, str], OrderState] = OrderedDict()
        self._told = ToldFills()
        self._alive_at = venue.clock.monotonic()
        self._heard_until: datetime | None = None
        self._gap_since: datetime | None = None
        self.log = OrderLog()
        self.epoch = 0
        metrics.watch_silence(lambda: venue.clock.monotonic() - self._alive_at)

    @property
    def is_live(self) -> bool:
        """Whether the venue is sending us this account's orders."""
        return self._ready.is_set()

    async def wait_whole(self, seconds: float) -> None:
        """Wait until the stream is on and no gap is open.

        Raises UnreachableError when that does not come about within that time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._whole.wait()
        except TimeoutError:
            raise UnreachableError("the order stream is down", reason="STREAM_DROPPED") from None

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Feed the venue's own counts to the budget."""
        self._venue.budget.observe_headers(headers)

    def on_connected(self, url: str) -> None:
        """Take the opening of a socket of the trading instance, which has the user stream only."""
        del url
        self._note_alive(0.0)
        if self._venue.profile.stream_ready(None):
            self._ready.set()

    def on_message(self, message: Any) -> None:
        """Take one message of the user stream; a broken one is logged and left out."""
        self._note_alive(0.0)
        if not isinstance(message, dict):
            return
        if self._venue.profile.stream_ready(message):
            self._ready.set()
        if self._venue.profile.stream_ended(message):
            self._ended.set()
        try:
            for row in self._venue.profile.stream_orders(message):
                self._heard(row.update_time)
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
        loop = asyncio.get_running_loop()
        watching = loop.create_task(self._watch())
        ready = loop.create_task(self._wait_ready())
        tasks: set[asyncio.Task[Any]] = {watching, ready}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._ready.is_set() and not watching.done():
                _logger.info("order_stream_up")
                self._metrics.show_stream(up=True)
                silent = watch_silence(
                    self._venue.trading, self._venue.clock, self._probe, self._note_alive
                )
                ends = {watching, loop.create_task(self._ended.wait()), loop.create_task(silent)}
                # Subscribed first, asked second: nothing falls between the two.
                tasks |= ends | {loop.create_task(self._close_gap())}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return await _failure(watching, self._venue)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_ready(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY_SECONDS):
                await self._ready.wait()

    async def _watch(self) -> None:
        while True:
            await self._venue.profile.calls.watch(self._venue.trading)

    async def _close_gap(self) -> None:
        """Read what happened while nobody listened, again and again until it was read whole."""
        failures = 0
        while True:
            try:
                rows = await self._read_gap()
            except OpensqtError as error:
                _logger.warning("order_gap_unread", reason=error.reason, problem=error.message)
            else:
                break
            failures += 1
            wait = min(_FIRST_BACKOFF * 2.0 ** min(failures, 10), _MOST_BACKOFF)
            await self._venue.clock.sleep(wait)
        for row in rows:
            self._take(row, only_news=True)
        if self._gap_since is not None:
            self._tell_learned(self._gap_since)
        self._gap_since = None
        self._heard_until = self._heard_until or self._stamps.now()
        self._whole.set()
        self.log.wake()

    async def _read_gap(self) -> list[VenueOrder]:
        # Before the first session there were no readers: what is live is in their snapshot.
        if self._gap_since is None:
            await self._stamps.learn()
            return await self._gap.read_unfinished()
        symbols = {symbol for (symbol, _), state in self._foreign.items() if not state.is_closed}
        return await self._gap.read(self._gap_since, symbols, self._told)

    def _tell_learned(self, since: datetime) -> None:
        """Tell the fills of our orders that a reply or a query taught us while the stream was off.

        On the margin account they are in no list of trades that was read.
        """
        for record in self._desk.shelf:
            state = record.state
            if state is None or state.update_time is None or state.update_time < since:
                continue
            for fill in state.fills:
                if self._told.add(state.symbol, state.exchange_order_id, fill.trade_id):
                    self._tell(state, record.instrument, fill, None)

    async def _drop(self, error: OpensqtError) -> None:
        self._metrics.show_stream(up=False)
        _logger.warning("order_stream_down", reason=error.reason, problem=error.message)
        # Readers must not take a snapshot for live while the stream is down.
        self._ready.clear()
        self._whole.clear()
        self._ended.clear()
        # A gap that was not closed goes on, from where it began.
        self._gap_since = self._gap_since or self._heard_until
        self.epoch += 1
        self.log.wake()
        await close_sockets(self._venue.trading)

    def _heard(self, stamp: datetime | None) -> None:
        self._stamps.observe(stamp)
        if stamp is not None and (self._heard_until is None or stamp > self._heard_until):
            self._heard_until = stamp

    def _note_alive(self, age: float) -> None:
        self._alive_at = max(self._alive_at, self._venue.clock.monotonic() - age)

    def _take(self, row: VenueOrder, *, only_news: bool = False) -> None:
        instrument = self._venue.instruments.find_exchange_symbol(row.exchange_symbol)
        if instrument is None:
            return
        before, state = self._merge(row, instrument)
        fresh = [
            to_fill(fill, row.side, instrument, state.client_order_id)
            for fill in row.fills
            if self._told.add(instrument.symbol, state.exchange_order_id, fill.trade_id)
        ]
        for fill in fresh:
            self._tell(state, instrument, fill, row.forced_fill)
        if not fresh and not (only_news and before == state):
            self._tell(state, instrument, None, row.forced_fill)

    def _tell(
        self,
        state: OrderState,
        instrument: Instrument,
        fill: Fill | None,
        forced_fill: ForcedFill | None,
    ) -> None:
        self.log.append(
            encode_update(
                state, instrument, self._venue.name, last_fill=fill, forced_fill=forced_fill
            )
        )

    def _merge(
        self, row: VenueOrder, instrument: Instrument
    ) -> tuple[OrderState | None, OrderState]:
        shelf = self._desk.shelf
        record = shelf.find_venue_id(row.client_order_id) or shelf.find_exchange_id(
            instrument.symbol, row.exchange_order_id
        )
        # Another's order under our id, on another symbol or after ours, is none of ours.
        if record is not None and is_about(record, row, instrument):
            before = record.state
            seen = to_state(row, instrument, record.client_order_id)
            self._desk.learn(record, seen)
            return before, record.state or seen
        key = (instrument.symbol, row.exchange_order_id)
        seen = to_state(row, instrument, row.client_order_id)
        before = self._foreign.pop(key, None)
        state = merge_states(before, seen)
        # Orders placed elsewhere need their fills summed for fees too.
        self._foreign[key] = state
        if len(self._foreign) > _FOREIGN_LIMIT:
            self._foreign.popitem(last=False)
        return before, state


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
    error = _meaning(result, venue.profile) if isinstance(result, Exception) else None
    if isinstance(error, OpensqtError):
        return error
    return UnreachableError("the order stream broke", reason="STREAM_DROPPED")


def _meaning(error: Exception, profile: VenueProfile) -> Exception:
    """Return what ended the stream, as an error of the common tree."""
    # A refusal trips ccxt's own tidying: what the venue said stands behind that.
    if isinstance(error, LookupError) and isinstance(error.__context__, VenueAnswerError):
        return to_read_error(error.__context__, profile)
    if isinstance(error, ccxt_errors.AuthenticationError):
        return AuthError(
            f"{profile.code} refused the key of the order stream",
            reason="VENUE_KEY_REFUSED",
            code=Code.FAILED_PRECONDITION,
        )
    return to_read_error(error, profile)
