"""The records in memory, found by every id an order has; finished ones leave when it is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from services.connector.order_numbers import to_order_number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.connector.order_record import OrderRecord

K = TypeVar("K")


class RecordShelf:
    """Records by client order id, venue client id and venue order id; bounded by finished ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sweep_at = limit
        self._by_id: dict[str, OrderRecord] = {}
        self._by_venue_id: dict[str, OrderRecord] = {}
        self._by_exchange_id: dict[tuple[str, str], OrderRecord] = {}
        self._by_number: dict[tuple[str, int], OrderRecord] = {}

    def add(self, record: OrderRecord) -> None:
        """Put a record on the shelf, taking finished ones off when there are too many."""
        self._by_id[record.client_order_id] = record
        # Never in another's place: two ids may have one form at the venue, and the first is there.
        self._by_venue_id.setdefault(record.venue_client_id, record)
        self.index(record)
        # Unfinished records stay whatever the bound: forgetting one could resend it.
        if len(self._by_id) > self._sweep_at:
            self._shrink()

    def index(self, record: OrderRecord) -> None:
        """Make a record findable by the venue's order id once that is known."""
        key = _exchange_key(record)
        if record.exchange_order_id and key not in self._by_exchange_id:
            self._by_exchange_id[key] = record
            self._by_number[_number_key(record)] = record

    def remove(self, record: OrderRecord) -> None:
        """Take a record off the shelf."""
        if self._by_id.get(record.client_order_id) is record:
            del self._by_id[record.client_order_id]
            _drop(self._by_venue_id, record.venue_client_id, record)
            _drop(self._by_exchange_id, _exchange_key(record), record)
            _drop(self._by_number, _number_key(record), record)

    def find(self, client_order_id: str) -> OrderRecord | None:
        """Return the record of the caller's id."""
        return self._by_id.get(client_order_id)

    def find_venue_id(self, venue_client_id: str) -> OrderRecord | None:
        """Return the record of the client id the venue was given."""
        return self._by_venue_id.get(venue_client_id)

    def find_exchange_id(self, symbol: str, exchange_order_id: str) -> OrderRecord | None:
        """Return the record of the venue's order id, which is unique per symbol only."""
        return self._by_exchange_id.get((symbol, exchange_order_id))

    def find_order_number(self, symbol: str, order_number: int) -> OrderRecord | None:
        """Return the record of the int64 form of the venue's order id."""
        return self._by_number.get((symbol, order_number))

    def unfinished(self) -> Iterator[OrderRecord]:
        """Yield the records that can still change."""
        return (record for record in list(self._by_id.values()) if not record.is_finished)

    def __iter__(self) -> Iterator[OrderRecord]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def _shrink(self) -> None:
        # A tenth at a time, oldest first, so that a full shelf does not sweep at every order.
        spare = len(self._by_id) - self._limit * 9 // 10
        finished = (one for one in list(self._by_id.values()) if one.is_finished and not one.busy)
        for record, _ in zip(finished, range(spare), strict=False):
            self.remove(record)
        # Nor one that is full of live orders, which leave nothing to take off.
        self._sweep_at = max(self._limit, len(self._by_id) * 11 // 10)


def _drop(index: dict[K, OrderRecord], key: K, record: OrderRecord) -> None:
    if index.get(key) is record:
        del index[key]


def _exchange_key(record: OrderRecord) -> tuple[str, str]:
    return record.instrument.symbol, record.exchange_order_id


def _number_key(record: OrderRecord) -> tuple[str, int]:
    return record.instrument.symbol, to_order_number(record.exchange_order_id)
