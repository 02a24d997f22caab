"""The limits in the desk's words: its records and the ledger's rows as the guard needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.common.errors import OpensqtError
from services.connector.ledger_rows import LedgerRow, Phase
from services.connector.limits import OwnOrder
from services.connector.order_text import read_intent, read_state
from services.connector.order_types import ZERO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.connector.ledger import Ledger
    from services.connector.limits_guard import LimitsGuard
    from services.connector.order_record import OrderRecord
    from services.connector.order_types import OrderIntent, OrderState
    from services.connector.record_shelf import RecordShelf

_NEVER_LIVED: Final = (Phase.REJECTED, Phase.NOT_ARRIVED, Phase.NOT_SENT)


class OrderGate:
    """Stands before the ledger: a new order passes the guard, one that was sent before is found."""

    def __init__(self, guard: LimitsGuard, ledger: Ledger) -> None:
        self._guard = guard
        self._ledger = ledger

    async def admit(
        self, record: OrderRecord, intent: OrderIntent, shelf: RecordShelf
    ) -> LedgerRow | None:
        """Return None for an order that may be sent, or the row of the one that was.

        Raises what the guard raises when neither is so.
        """
        try:
            await self._guard.admit(intent, record.instrument, _OwnOrders(self._ledger, shelf))
        except OpensqtError:
            # The repeat of an order that was sent must not be told that nothing was.
            known = await self._ledger.find(record.client_order_id)
            if known is None or known.phase is Phase.NOT_SENT:
                raise
            return known
        return None


class _OwnOrders:
    """The ledger's orders of a symbol, as fresh as memory has them."""

    def __init__(self, ledger: Ledger, shelf: RecordShelf) -> None:
        self._ledger = ledger
        self._shelf = shelf

    async def own_orders(self, symbol: str) -> Sequence[OwnOrder]:
        """Return all orders of a symbol; those that never lived are closed with nothing filled."""
        rows = await self._ledger.symbol_rows(symbol)
        # One that may be on its way again counts by its claim, not by the row of its last try.
        return [
            self._own(row)
            for row in rows
            if row.phase is not Phase.NOT_SENT or self._shelf.find(row.client_order_id) is None
        ]

    def _own(self, row: LedgerRow) -> OwnOrder:
        record = self._shelf.find(row.client_order_id)
        state: OrderState | None = read_state(row.state) if row.state else None
        if record is not None and record.state is not None:
            state = record.state
        intent = read_intent(row.intent)
        return OwnOrder(
            client_order_id=row.client_order_id,
            side=intent.side,
            quantity=intent.quantity,
            executed=ZERO if state is None else state.executed,
            is_closed=row.phase in _NEVER_LIVED or (state is not None and state.is_closed),
            use_margin=intent.use_margin,
        )
