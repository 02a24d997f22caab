"""Funding of perpetuals: present rates with their intervals, and past settlements in bulk."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeVar

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
from services.connector.venue_pages import Answer, HistoryRequest, read_history

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensqt.market_maker.v1 import resources_pb2
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_reads import VenueReads

_logger = get_logger(__name__)

T = TypeVar("T")

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


class FundingReader:
    """Reads funding; intervals are kept for `refresh`, after a failed read until `stale`."""

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
    def known_intervals(self) -> FundingIntervals:
        """Intervals as last read, unknown before the first read."""
        return self._intervals

    async def intervals(self) -> FundingIntervals:
        """Return the present intervals; unknown ones when the venue cannot be asked."""
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

    async def rate(self, symbol: str) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual.

        Raises UnimplementedError on spot, NotFoundError for an unknown symbol.
        """
        self._reads.require_perpetual("funding rate")
        instrument = self._reads.venue.instruments.get(symbol)
        intervals = await self.intervals()
        row = await self._reads.ask("premium_index", symbol=instrument.exchange_symbol)
        name, interval = self._reads.venue.name, intervals.of(instrument.exchange_symbol)
        return self._quarantine.one(
            "premium_index", row, lambda one: to_funding_rate(one, instrument, name, interval)
        )

    async def rates(self) -> list[resources_pb2.FundingRate]:
        """Return the present funding of all perpetuals with one call to the venue (weight 10)."""
        self._reads.require_perpetual("funding rates")
        venue = self._reads.venue
        intervals = await self.intervals()

        def convert(row: dict[str, Any]) -> resources_pb2.FundingRate | None:
            instrument = instrument_of(venue.instruments, row)
            if instrument is None:
                return None
            interval = intervals.of(instrument.exchange_symbol)
            return to_funding_rate(row, instrument, venue.name, interval)

        rows = await self._reads.ask("premium_index")
        return await self._collect("premium_index", rows, convert)

    async def history(self, request: HistoryRequest) -> tuple[list[resources_pb2.FundingRate], str]:
        """Return a page of settlements, oldest first, and the next page's token.

        `request.symbol` in any accepted form, None for all symbols at once.
        """
        self._reads.require_perpetual("funding history")
        venue = self._reads.venue
        name = None if request.symbol is None else self._exchange_symbol(request.symbol)

        async def fetch(start: int | None, end: int | None, limit: int) -> Answer:
            rows = await self._reads.ask(
                "funding_history", symbol=name, startTime=start, endTime=end, limit=limit
            )
            return Answer(await self._collect("funding_history", rows, placed), len(rows))

        def placed(row: dict[str, Any]) -> tuple[tuple[int, str], dict[str, Any]]:
            # By the names callers see; others sort behind them and are left out at the end.
            instrument = instrument_of(venue.instruments, row)
            named = f"~{row['symbol']}" if instrument is None else instrument.symbol
            settled = stamp(row, "fundingTime")
            if not settled:
                raise ValueError("a settlement without time")
            return (settled, named), row

        def convert(pair: tuple[Any, dict[str, Any]]) -> resources_pb2.FundingRate | None:
            instrument = instrument_of(venue.instruments, pair[1])
            return None if instrument is None else to_settlement(pair[1], instrument, venue.name)

        rows, token = await read_history(request, fetch, itemgetter(0))
        return await self._collect("funding_history", list(rows), convert, whole=False), token

    async def _collect(
        self, kind: str, rows: Any, convert: Callable[[Any], T | None], *, whole: bool = True
    ) -> list[T]:
        return await collect_in_turns(self._quarantine, kind, rows, convert, whole=whole)

    def _exchange_symbol(self, symbol: str) -> str:
        return self._reads.venue.instruments.get(symbol).exchange_symbol
