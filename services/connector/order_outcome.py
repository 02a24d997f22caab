"""Write what became of an order into the ledger; a failure costs time at the next start only."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.order_numbers import to_order_number

if TYPE_CHECKING:
    from services.connector.ledger import Ledger, Phase
    from services.connector.order_record import OrderRecord

_logger = get_logger(__name__)


async def write_outcome(
    ledger: Ledger,
    record: OrderRecord,
    phase: Phase,
    *,
    state: str = "",
    refusal: str = "",
    patient: bool = False,
) -> None:
    """Write phase, venue id and state or refusal of an order; never raises, a failure is logged.

    A `patient` write may wait a moment to share the commit of the next row.
    """
    order_id = record.exchange_order_id
    try:
        await ledger.update(
            record.client_order_id,
            phase,
            exchange_order_id=order_id,
            state=state,
            refusal=refusal,
            order_number=to_order_number(order_id),
            patient=patient,
        )
    except (sqlite3.Error, OpensqtError) as error:
        # The row stays open; the next start asks the venue again, which is slower, not wrong.
        _logger.error(
            "ledger_update_failed",
            client_order_id=record.client_order_id,
            problem=type(error).__name__,
        )
