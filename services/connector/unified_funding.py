"""Funding through ccxt's unified methods, for every venue without readers of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.common.codec import from_duration
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.row_numbers import milliseconds
from services.connector.row_turns import collect_in_turns
from services.connector.settlement_columns import settled_of
from services.connector.unified_history import read_newest, read_pages, read_windows
from services.connector.unified_rows import (
    read_interval,
    to_unified_funding,
    to_unified_settlement,
)
from services.connector.venue_pages import Answer
from services.connector.venue_questions import history_by_symbol_only

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opensqt.market_maker.v1 import resources_pb2
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.unified_reads import UnifiedReads
    from services.connector.venue_questions import IntervalOf

_logger = get_logger(__name__)
_REFRESH_SECONDS: Final = 300.0
_STALE_SECONDS: Final = 1_800.0


class UnifiedFunding:
    """Answers `FundingQuestions`; intervals are kept five minutes, in a failure half an hour."""

    def __init__(self, reads: UnifiedReads, quarantine: RowQuarantine) -> None:
        self._reads = reads
        self._quarantine = quarantine
        self._intervals: Mapping[str, timedelta | None] = {}
        self._announced: dict[str, int] = {}
        self._read_at: float | None = None
        self._lock = asyncio.Lock()

    @property
    def known_intervals(self) -> IntervalOf:
        """Return what gives intervals as last read, all unknown before the first read."""
        return self._intervals.get

    async def intervals(self) -> IntervalOf:
        """Return what gives the present intervals; unknown ones when the venue cannot be asked."""
        async with self._lock:
            now = self._reads.venue.clock.monotonic()
            age = None if self._read_at is None else now - self._read_at
            if age is None or age >= _REFRESH_SECONDS:
                try:
                    self._intervals = await self._read_intervals()
                    self._read_at = now
                except OpensqtError as error:
                    _logger.warning("funding_intervals_unread", reason=error.reason)
                    # Venues shorten intervals at short notice: old ones are believed briefly.
                    if age is None or age >= _STALE_SECONDS:
                        return _unknown
            return self._intervals.get

    async def rate(self, instrument: Instrument) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual."""
        if self._reads.offers("fetchFundingRate"):
            exchange = self._reads.venue.exchange
            row = await self._reads.ask(
                "funding_rate", lambda: exchange.fetch_funding_rate(instrument.unified)
            )
            rows = {instrument.unified: row}
        else:
            rows = await self._raw_rates()
        found = await self._convert({instrument.unified: rows.get(instrument.unified)})
        if not found:
            raise self._reads.not_offered(f"funding rate of {instrument.symbol}")
        return found[0]

    async def rates(self) -> list[resources_pb2.FundingRate]:
        """Return the present funding of all perpetuals."""
        return await self._convert(await self._raw_rates())

    async def settlements(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return settlements of one perpetual with their places.

        Raises UnimplementedError (HISTORY_BY_SYMBOL_ONLY) for all symbols at once.
        """
        if instrument is None:
            raise history_by_symbol_only()
        stop = await self._reads.last_instant(instrument, end)
        rows = await self._raw_settlements(instrument, start, stop, limit)
        # By time: neighbouring windows may both have the row between them.
        times = {milliseconds(row.get("timestamp")): row for row in rows}
        wanted = [times[time] for time in sorted(times) if (start or 0) <= time <= stop]
        chosen = wanted[-limit:] if start is None else wanted[:limit]
        name = self._reads.venue.name
        placed = await collect_in_turns(
            self._quarantine,
            "funding_history",
            chosen,
            lambda row: to_unified_settlement(row, instrument, name),
        )
        return Answer(placed, len(chosen))

    async def settled_rates(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return past settlements as places and rates; raises as `settlements`."""
        answer = await self.settlements(instrument, start, end, limit)
        return Answer(settled_of(answer.rows), answer.sent)

    async def _raw_settlements(
        self, instrument: Instrument, start: int | None, stop: int, limit: int
    ) -> list[dict[str, Any]]:
        exchange, pages = self._reads.venue.exchange, self._reads.traits.settlements

        async def ask(since: int | None, params: dict[str, Any]) -> list[dict[str, Any]]:
            rows = await self._reads.ask(
                "funding_history",
                lambda: exchange.fetch_funding_rate_history(
                    instrument.unified, since, pages.rows, params
                ),
            )
            return rows if isinstance(rows, list) else []

        if pages.by_page:
            oldest = stop - limit * round(pages.window.total_seconds() * 1000)
            return await read_pages(
                lambda number: ask(None, {"pageNo": number}),
                pages,
                oldest if start is None else start,
            )

        async def window(begin: int, until: int) -> list[dict[str, Any]]:
            # One more: some venues leave the last instant out, and rows are filtered anyway.
            return await ask(begin, {**pages.params, pages.end_name: until + 1})

        if start is None:
            return await read_newest(window, pages, stop, limit)
        return await read_windows(window, pages, (start, max(stop, start)), limit)

    async def _raw_rates(self) -> dict[str, dict[str, Any]]:
        self._reads.require("fetchFundingRates", "funding rates")
        exchange, params = self._reads.venue.exchange, dict(self._reads.traits.contract_params)
        rows = await self._reads.ask(
            "funding_rate", lambda: exchange.fetch_funding_rates(None, params)
        )
        return rows if isinstance(rows, dict) else {}

    async def _convert(
        self, rows: Mapping[str, dict[str, Any] | None]
    ) -> list[resources_pb2.FundingRate]:
        venue = self._reads.venue
        apart = self._reads.traits.intervals_apart
        interval_of = await self.intervals() if apart else _unknown
        marks = await self._mark_prices() if self._reads.traits.mark_prices_apart else {}

        def convert(pair: tuple[str, dict[str, Any] | None]) -> resources_pb2.FundingRate | None:
            instrument = venue.instruments.find(pair[0])
            if instrument is None or pair[1] is None:
                return None
            row = pair[1]
            if pair[0] in marks:
                row = {**row, "markPrice": marks[pair[0]].get("markPrice")}
            name = instrument.exchange_symbol
            return to_unified_funding(
                row, instrument, venue.name, interval_of(name), self._announced.get(name)
            )

        return await collect_in_turns(
            self._quarantine, "funding_rates", list(rows.items()), convert
        )

    async def _mark_prices(self) -> dict[str, dict[str, Any]]:
        exchange = self._reads.venue.exchange
        try:
            rows = await self._reads.ask(
                "mark_prices",
                lambda: exchange.fetch_mark_prices(None, dict(self._reads.traits.params)),
            )
        except OpensqtError as error:
            # A rate without its mark price is better than no rate.
            _logger.warning("mark_prices_unread", reason=error.reason)
            return {}
        return rows if isinstance(rows, dict) else {}

    async def _read_intervals(self) -> Mapping[str, timedelta | None]:
        """Return intervals by the venue's own symbol."""
        book = self._reads.venue.instruments
        found: dict[str, timedelta | None] = {}
        if self._reads.traits.intervals_apart:
            exchange, params = self._reads.venue.exchange, dict(self._reads.traits.contract_params)
            rows = await self._reads.ask(
                "funding_intervals", lambda: exchange.fetch_funding_intervals(None, params)
            )
            for name, row in rows.items():
                instrument = book.find(name)
                if instrument is not None:
                    found[instrument.exchange_symbol] = read_interval(row.get("interval"))
                    coming = milliseconds(row.get("fundingTimestamp"))
                    self._announced[instrument.exchange_symbol] = coming
            return found
        for rate in await self._convert(await self._raw_rates()):
            if rate.HasField("interval"):
                instrument = book.get(rate.symbol)
                found[instrument.exchange_symbol] = from_duration(rate.interval)
        return found


def _unknown(exchange_symbol: str) -> timedelta | None:
    del exchange_symbol
    return None
