"""Between the ledger's rows and the desk's records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from services.connector.ledger import LedgerRow, Phase
from services.connector.order_record import OrderRecord, read_refusal
from services.connector.order_text import read_intent, read_state, write_intent

if TYPE_CHECKING:
    from services.connector.instruments import Instrument
    from services.connector.order_types import OrderIntent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ledger_row(
    record: OrderRecord, intent: OrderIntent, *, venue: str, now: datetime
) -> LedgerRow:
    """Return the row that is written before the order is sent; `now` is our clock."""
    return LedgerRow(
        client_order_id=record.client_order_id,
        venue_client_id=record.venue_client_id,
        content_hash=record.content_hash,
        symbol=record.instrument.symbol,
        phase=Phase.OPEN,
        created_us=(now - _EPOCH) // timedelta(microseconds=1),
        intent=write_intent(intent),
        order_class="" if intent.order_class is None else intent.order_class.value,
        venue=venue,
    )


def created_time(row: LedgerRow) -> datetime:
    """Return when a row was written, by our clock of then."""
    return _EPOCH + timedelta(microseconds=row.created_us)


def restore_record(row: LedgerRow, instrument: Instrument) -> OrderRecord:
    """Return a record with what the row knows, its fence and stamp not set."""
    intent = read_intent(row.intent)
    record = OrderRecord(
        client_order_id=row.client_order_id,
        venue_client_id=row.venue_client_id,
        content_hash=row.content_hash,
        instrument=instrument,
        use_margin=intent.use_margin,
    )
    adopt_row(record, row)
    return record


def adopt_row(record: OrderRecord, row: LedgerRow) -> None:
    """Take what a row knows into a record, and wake whoever waits for it."""
    # What was sent is in the row; settings may have changed since.
    record.intent = read_intent(row.intent)
    record.venue_client_id = row.venue_client_id
    record.acknowledged_id = row.exchange_order_id
    if row.state:
        record.state = read_state(row.state)
    if row.phase in (Phase.REJECTED, Phase.NOT_ARRIVED, Phase.NOT_SENT):
        record.error = read_refusal(row.refusal, row.client_order_id)
    record.announce()
