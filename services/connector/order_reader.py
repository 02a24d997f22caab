"""Read and cancel orders: ours by the desk's knowledge, others by asking the venue."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from services.common.errors import NotFoundError, RejectedError
from services.connector.order_calls import OrderKey
from services.connector.order_mapping import complete_state, rejected_state, to_fill, to_state
from services.connector.order_numbers import to_order_number
from services.connector.order_record import is_about
from services.connector.profile import Priority

if TYPE_CHECKING:
    from services.connector.instruments import Instrument
    from services.connector.order_desk import OrderDesk
    from services.connector.order_ids import OrderIds
    from services.connector.order_record import OrderRecord
    from services.connector.order_types import OrderState, VenueFill, VenueOrder
    from services.connector.venue import Venue
    from services.connector.venue_orders import VenueOrders

_CONFIRM: Final = timedelta(seconds=1)


class OrderReader:
    """Get, list and cancel; every answer carries the caller's own client order id."""

    def __init__(self, venue: Venue, orders: VenueOrders, desk: OrderDesk) -> None:
        self._venue = venue
        self._orders = orders
        self._desk = desk

    async def get(self, instrument: Instrument, ids: OrderIds) -> OrderState:
        """Return an order's state as the venue has it now.

        Raises NotFoundError (ORDER_NOT_FOUND; ORDER_NOT_ARRIVED when it is proven never to have
        reached the venue; ORDER_NEVER_SENT from a ledger without it, where no fence can ever prove
        as much) and OutcomeUnknownError while an order of ours is still in doubt.
        """
        try:
            return await self._get(instrument, ids)
        except NotFoundError as error:
            name = ids.client_order_id
            if error.reason != "ORDER_NOT_FOUND" or not name or self._venue.fence is not None:
                raise
            if not await self._desk.has_never_sent(name, instrument, use_margin=ids.use_margin):
                raise
            raise NotFoundError(
                "the venue knows no such order, and none was sent from here until now",
                reason="ORDER_NEVER_SENT",
                metadata={"clientOrderId": name},
            ) from error

    async def _get(self, instrument: Instrument, ids: OrderIds) -> OrderState:
        record = await self._find(instrument, ids)
        if record is None:
            return await self._get_foreign(instrument, await self._name(instrument, ids))
        if record.error is not None:
            return self._state_without_order(record)
        if not record.is_answerable:
            # In doubt, or closing within moments: the desk is asking already.
            return await self._outcome(record)
        if not record.is_finished:
            await self._desk.refresh(record)
        return await self._outcome(record)

    async def cancel(self, instrument: Instrument, ids: OrderIds) -> OrderState:
        """Cancel an order and return its state; one that is closed already is no error.

        Raises NotFoundError when the venue knows no such order.
        """
        record = await self._find(instrument, ids)
        if record is None:
            key = (await self._name(instrument, ids)).key(instrument)
            row = await self._orders.cancel(key)
            # Part of the way out: what the cancel left is told within the exits' own share.
            row = row or await self._orders.query(key, Priority.EXIT)
            if row is None:
                raise _not_found()
            return to_state(row, instrument, ids.client_order_id or row.client_order_id)
        if record.error is not None:
            return self._state_without_order(record)
        # A cancel would only be refused; the state is what the caller wants.
        if record.state is not None and record.state.is_closed:
            return await self._outcome(record)
        # None means the order is gone at the venue: it may have filled just now.
        row = await self._orders.cancel(record.key)
        if row is None:
            await self._desk.refresh(record)
            await self._await_end(record)
        else:
            self._desk.learn(record, to_state(row, instrument, record.client_order_id))
        return await self._outcome(record)

    async def _await_end(self, record: OrderRecord) -> None:
        """Give a cancel that was only acknowledged a moment to take effect, and ask once more."""
        last = self._venue.clock.monotonic() + _CONFIRM.total_seconds()
        while record.state is not None and not record.state.is_closed:
            left = last - self._venue.clock.monotonic()
            if left <= 0 or not await record.wait_change(left):
                await self._desk.refresh(record)
                return

    async def cancel_all(self, instrument: Instrument, *, use_margin: bool) -> None:
        """Cancel every live order of a symbol."""
        await self._orders.cancel_all(instrument, use_margin=use_margin)

    async def open_orders(
        self, instrument: Instrument | None, *, use_margin: bool
    ) -> list[tuple[OrderState, Instrument]]:
        """Return the live orders of one symbol or all, with their instruments."""
        rows = await self._orders.open_orders(instrument, use_margin=use_margin)
        found = []
        for row in rows:
            known = self._venue.instruments.find_exchange_symbol(row.exchange_symbol)
            if known is not None:
                found.append((self._merge(row, known), known))
        return found

    def _merge(self, row: VenueOrder, instrument: Instrument) -> OrderState:
        record = self._desk.shelf.find_venue_id(row.client_order_id)
        if record is None or not is_about(record, row, instrument):
            return to_state(row, instrument, row.client_order_id)
        seen = to_state(row, instrument, record.client_order_id)
        self._desk.learn(record, seen)
        return record.state or seen

    async def _find(self, instrument: Instrument, ids: OrderIds) -> OrderRecord | None:
        record = None
        if ids.client_order_id:
            record = await self._desk.find(ids.client_order_id)
        elif ids.exchange_order_id:
            record = await self._desk.find_exchange_id(instrument.symbol, ids.exchange_order_id)
        if record is None and ids.order_number:
            record = await self._desk.find_order_number(instrument.symbol, ids.order_number)
        if record is not None and record.instrument.symbol != instrument.symbol:
            raise _not_found()
        return record

    async def _name(self, instrument: Instrument, ids: OrderIds) -> OrderIds:
        """Return the ids by which the venue knows an order that is not ours.

        A number is the venue's id or its hash; a hash can be found among the live orders only.
        """
        if not ids.order_number or await self._orders.query(ids.key(instrument)) is not None:
            return ids
        for row in await self._orders.open_orders(instrument, use_margin=ids.use_margin):
            if to_order_number(row.exchange_order_id) == ids.order_number:
                return replace(ids, exchange_order_id=row.exchange_order_id)
        return ids

    async def _get_foreign(self, instrument: Instrument, ids: OrderIds) -> OrderState:
        row = await self._orders.query(ids.key(instrument))
        if row is None:
            raise _not_found()
        state = to_state(row, instrument, ids.client_order_id or row.client_order_id)
        # GET order has no fees on either venue; only the trades do.
        if state.executed > 0 and state.fees is None:
            key = OrderKey(instrument, "", row.exchange_order_id, ids.use_margin)
            fills = await self._orders.order_fills(key)
            state = complete_state(_with_fills(state, instrument, fills))
        return state

    async def _outcome(self, record: OrderRecord) -> OrderState:
        try:
            return await self._desk.await_outcome(record, _CONFIRM)
        except RejectedError:
            if record.error is None:
                raise
            return self._state_without_order(record)

    def _state_without_order(self, record: OrderRecord) -> OrderState:
        error = record.error
        if error is not None and error.reason == "ORDER_NOT_ARRIVED":
            raise NotFoundError(
                "the order never reached the venue",
                reason="ORDER_NOT_ARRIVED",
                metadata={"clientOrderId": record.client_order_id},
            )
        if record.intent is None or (error is not None and error.reason != "ORDER_REJECTED"):
            raise _not_found()
        return rejected_state(record.intent)


def _with_fills(state: OrderState, instrument: Instrument, fills: list[VenueFill]) -> OrderState:
    mapped = tuple(to_fill(fill, state.side, instrument, state.client_order_id) for fill in fills)
    return replace(state, fills=mapped)


def _not_found() -> NotFoundError:
    return NotFoundError("the venue knows no such order", reason="ORDER_NOT_FOUND")
