"""Funding from the venue's own bulk rows: what Binance USD-M is asked for rates and settlements."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.market_mapping import (
    instrument_of,
    to_funding_rate,
    to_interval,
    to_settlement,
)
from services.connector.row_numbers import stamp
from services.connector.row_turns import collect_in_turns
from services.connector.settlement_columns import read_clean, read_settled
from services.connector.venue_pages import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensqt.market_maker.v1 import resources_pb2
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_questions import IntervalOf
    from services.connector.venue_reads import VenueReads

_logger = get_logger(__name__)

DOCUMENTED_DEFAULT: Final = timedelta(hours=8)
"""USD-M REST reference, Get Funding Rate Info: symbols that are not listed there pay every 8 h."""


@dataclass(frozen=True, slots=True)
class FundingIntervals:
    """Intervals as the venue told them; None is unknown.

    A symbol that is not listed has `default`, which is the venue's documented one only when every
    row could be read: a row that was lost might have been this symbol's.
    """

    listed: Mapping[str, timedelta | None]
    default: timedelta | None

    def of(self, exchange_symbol: str) -> timedelta | None:
        """Return the interval of a symbol by the venue's name, None when unknown."""
        return self.listed.get(exchange_symbol, self.default)


UNKNOWN_INTERVALS: Final = FundingIntervals({}, None)


def read_intervals(rows: Any) -> FundingIntervals:
    """Read a fundingInfo answer; pure."""
    if not isinstance(rows, list):
        return UNKNOWN_INTERVALS
    listed: dict[str, timedelta | None] = {}
    default: timedelta | None = DOCUMENTED_DEFAULT
    for row in rows:
        name = row.get("symbol") if isinstance(row, dict) else None
        if not isinstance(name, str) or not name:
            default = None
            continue
        try:
            listed[name] = to_interval(row)[1]
        except (LookupError, ValueError, TypeError):
            listed[name] = None
    return FundingIntervals(listed, default)


class RawFunding:
    """Answers `FundingQuestions`; intervals are kept for `refresh`, in a failure until `stale`."""

    def __init__(
        self,
        reads: VenueReads,
        quarantine: RowQuarantine,
        *,
        refresh: timedelta = timedelta(minutes=5),
        stale: timedelta = timedelta(minutes=30),
    ) -> None:
        self._reads = reads
        self._quarantine = quarantine
        self._refresh = refresh.total_seconds()
        self._stale = stale.total_seconds()
        self._intervals = UNKNOWN_INTERVALS
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    @property
    def known_intervals(self) -> IntervalOf:
        """Return what gives intervals as last read, all unknown before the first read."""
        return self._intervals.of

    async def intervals(self) -> IntervalOf:
        """Return what gives the present intervals; unknown ones when the venue cannot be asked."""
        return (await self._read_intervals()).of

    async def rate(self, instrument: Instrument) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual."""
        interval_of = await self.intervals()
        row = await self._reads.ask("premium_index", symbol=instrument.exchange_symbol)
        name, interval = self._reads.venue.name, interval_of(instrument.exchange_symbol)
        return self._quarantine.one(
            "premium_index", row, lambda one: to_funding_rate(one, instrument, name, interval)
        )

    async def rates(self) -> list[resources_pb2.FundingRate]:
        """Return the present funding of all perpetuals with one call to the venue (weight 10)."""
        venue = self._reads.venue
        # Not a task group: callers are to see the venue's own error, and no other can come.
        rows, interval_of = await asyncio.gather(self._reads.ask("premium_index"), self.intervals())

        def convert(row: dict[str, Any]) -> resources_pb2.FundingRate | None:
            instrument = instrument_of(venue.instruments, row)
            if instrument is None:
                return None
            interval = interval_of(instrument.exchange_symbol)
            return to_funding_rate(row, instrument, venue.name, interval)

        return await collect_in_turns(self._quarantine, "premium_index", rows, convert)

    async def settlements(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return settlements with their places; of all symbols at once without an instrument."""
        venue = self._reads.venue

        def placed(
            row: dict[str, Any],
        ) -> tuple[tuple[int, str], resources_pb2.FundingRate | None]:
            # By the names callers see; others sort behind them and are left out at the end.
            found = instrument_of(venue.instruments, row)
            settled = stamp(row, "fundingTime")
            if not settled:
                raise ValueError("a settlement without time")
            if found is None:
                return (settled, f"~{row['symbol']}"), None
            return (settled, found.symbol), to_settlement(row, found, venue.name)

        rows = await self._history(instrument, start, end, limit)
        return Answer(
            await collect_in_turns(self._quarantine, "funding_history", rows, placed), len(rows)
        )

    async def settled_rates(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return past settlements as places and rates; of all symbols without an instrument."""
        rows = await self._history(instrument, start, end, limit)
        found = read_clean(rows, self._symbol_of)
        if found is None:
            found = await collect_in_turns(
                self._quarantine,
                "funding_history",
                rows,
                lambda row: read_settled(row, self._symbol_of),
            )
        return Answer(found, len(rows))

    def _symbol_of(self, exchange_symbol: str) -> str | None:
        found = self._reads.venue.instruments.find_exchange_symbol(exchange_symbol)
        return None if found is None else found.symbol

    async def _history(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Any:
        name = None if instrument is None else instrument.exchange_symbol
        return await self._reads.ask(
            "funding_history", symbol=name, startTime=start, endTime=end, limit=limit
        )

    async def _read_intervals(self) -> FundingIntervals:
        # fundingInfo shares 500 requests per 5 minutes with the history: one reader asks for all.
        async with self._lock:
            now = self._reads.venue.clock.monotonic()
            age = None if self._read_at is None else now - self._read_at
            if age is None or age >= self._refresh:
                try:
                    self._intervals = read_intervals(await self._reads.ask("funding_info"))
                    self._read_at = now
                except OpensqtError as error:
                    _logger.warning("funding_intervals_unread", reason=error.reason)
                    # Venues shorten intervals at short notice: old ones are believed briefly.
                    if age is None or age >= self._stale:
                        return UNKNOWN_INTERVALS
            return self._intervals
