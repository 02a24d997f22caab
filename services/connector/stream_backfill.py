"""What a stream missed, read after the gap: candles between two that were told, past settlements.

A gap is seen in two ways: the stream resumed after a drop, or a row came that does not follow the
one before it. Either way the rows between are read and told before the newer ones.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from opensqt.market_maker.v1 import events_pb2
from services.common.codec import from_millis
from services.common.errors import UnimplementedError
from services.common.logs import get_logger
from services.connector.market_events import funding_update_of
from services.connector.market_mapping import INTERVALS
from services.connector.market_reader import CandleRequest
from services.connector.venue_pages import HistoryRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opensqt.market_maker.v1 import resources_pb2
    from services.connector.funding_reader import FundingReader
    from services.connector.market_reader import MarketReader

_logger = get_logger(__name__)
_SNAPSHOT_CANDLES: Final = 2
_PAGE: Final = 1_000
_MOST_PAGES: Final = 10
_MOST_SYMBOLS: Final = 50
_MINUTE: Final = timedelta(minutes=1)


class CandleLog:
    """The newest candle told of each symbol. Pure: says what is missing, reads nothing."""

    def __init__(self, interval: str) -> None:
        self._length = round(INTERVALS[interval].total_seconds() * 1000)
        self._told: dict[str, tuple[int, bool]] = {}

    def missing_before(self, candle: resources_pb2.Candle) -> int | None:
        """Return the opening time from which candles were not told before this one, else None.

        A candle that was never told closed is among them: its last prints were missed.
        """
        told = self._told.get(candle.symbol)
        if told is None or candle.timestamp <= told[0]:
            return None
        opened, closed = told
        first = opened + self._length if closed else opened
        return first if first < candle.timestamp else None

    def note(self, candle: resources_pb2.Candle) -> None:
        """Remember a candle as told; an older one than the newest changes nothing."""
        opened, closed = self._told.get(candle.symbol, (-1, False))
        if candle.timestamp > opened:
            self._told[candle.symbol] = candle.timestamp, candle.is_closed
        elif candle.timestamp == opened and candle.is_closed and not closed:
            self._told[candle.symbol] = opened, True

    def resume_at(self, symbol: str) -> int | None:
        """Return the opening time from which to read again: one before the newest told."""
        told = self._told.get(symbol)
        return None if told is None else told[0] - self._length


class CandleBackfill:
    """Reads what a candle stream missed and keeps the log of what was told."""

    def __init__(self, market: MarketReader, symbols: Sequence[str], interval: str) -> None:
        self._market = market
        self._symbols = symbols
        self._interval = interval
        self._log = CandleLog(interval)

    async def snapshot(self) -> list[resources_pb2.Candle]:
        """Return the last candles of each symbol, and after a gap all that were missed."""
        found: list[resources_pb2.Candle] = []
        for symbol in self._symbols:
            start = self._log.resume_at(symbol)
            rows = await self._read(symbol, start, None)
            for row in rows:
                self._log.note(row)
            found.extend(rows)
        return found

    async def complete(self, rows: Iterable[resources_pb2.Candle]) -> list[resources_pb2.Candle]:
        """Return the rows with the candles that are missing between them put in their places."""
        found: list[resources_pb2.Candle] = []
        for row in rows:
            start = self._log.missing_before(row)
            if start is not None:
                _logger.warning("candles_missed", symbol=row.symbol, interval=self._interval)
                missed = await self._read(row.symbol, start, row.timestamp)
                for candle in missed:
                    candle.is_closed = True
                found.extend(missed)
            # Noted only once what came before it was read: a failed read leaves the gap known.
            self._log.note(row)
            found.append(row)
        return found

    async def _read(
        self, symbol: str, start: int | None, end: int | None
    ) -> list[resources_pb2.Candle]:
        stop = None if end is None else from_millis(end)
        if start is None:
            request = CandleRequest(symbol, self._interval, _SNAPSHOT_CANDLES, None, stop)
            return await self._market.candles(request)
        found: list[resources_pb2.Candle] = []
        begin = start
        for _ in range(_MOST_PAGES):
            request = CandleRequest(symbol, self._interval, _PAGE, from_millis(begin), stop)
            page = await self._market.candles(request)
            found.extend(page)
            if len(page) < _PAGE:
                break
            begin = page[-1].timestamp + 1
        return found


class FundingBackfill:
    """Remembers each symbol's next settlement and reads those that passed in a gap."""

    def __init__(self, funding: FundingReader) -> None:
        self._funding = funding
        self._next: dict[str, int] = {}

    def note(self, row: events_pb2.FundingUpdate) -> None:
        """Remember the settlement that a told row announces."""
        if row.next_funding_time:
            self._next[row.symbol] = row.next_funding_time

    async def snapshot(
        self, rates: Sequence[resources_pb2.FundingRate]
    ) -> list[events_pb2.FundingUpdate]:
        """Return the settlements that passed since rows were last told, then the present rates."""
        passed = [
            rate for rate in rates if 0 < self._next.get(rate.symbol, 0) < rate.next_funding_time
        ]
        if len(passed) > _MOST_SYMBOLS:
            _logger.warning("settlements_not_backfilled", count=len(passed) - _MOST_SYMBOLS)
        found: list[events_pb2.FundingUpdate] = []
        for rate in passed[:_MOST_SYMBOLS]:
            found.extend(await self._settled(rate))
        for rate in rates:
            row = funding_update_of(rate)
            self.note(row)
            found.append(row)
        return found

    async def _settled(self, rate: resources_pb2.FundingRate) -> list[events_pb2.FundingUpdate]:
        first = from_millis(self._next[rate.symbol]) - _MINUTE
        request = HistoryRequest(rate.symbol, first, None, page_size=_PAGE)
        try:
            rows, _ = await self._funding.history(request)
        except UnimplementedError:
            return []
        return [
            events_pb2.FundingUpdate(
                exchange=row.exchange,
                symbol=row.symbol,
                rate=row.rate,
                next_funding_time=row.timestamp,
                timestamp=row.timestamp,
                settled=True,
            )
            for row in rows
        ]
