"""Funding of perpetuals: present rates with their intervals, and past settlements in pages."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from services.connector.settlement_columns import to_columns
from services.connector.venue_pages import Answer, HistoryRequest, read_history

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.instruments import Instrument
    from services.connector.venue import Venue
    from services.connector.venue_questions import FundingQuestions, IntervalOf

    _Settlements = Callable[[Instrument | None, int | None, int | None, int], Awaitable[Answer]]


class FundingReader:
    """Checks what is asked for and asks the venue."""

    def __init__(self, venue: Venue, questions: FundingQuestions) -> None:
        self._venue = venue
        self._questions = questions

    @property
    def known_intervals(self) -> IntervalOf:
        """Return what gives intervals (by the venue's name) as last read."""
        return self._questions.known_intervals

    async def intervals(self) -> IntervalOf:
        """Return what gives the present intervals, None for unknown ones."""
        return await self._questions.intervals()

    async def rate(self, symbol: str) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual.

        Raises UnimplementedError on spot, NotFoundError for an unknown symbol.
        """
        self._venue.require_perpetual("funding rate")
        return await self._questions.rate(self._venue.instruments.get(symbol))

    async def rates(self) -> list[resources_pb2.FundingRate]:
        """Return the present funding of all perpetuals."""
        self._venue.require_perpetual("funding rates")
        return await self._questions.rates()

    async def history(self, request: HistoryRequest) -> tuple[list[resources_pb2.FundingRate], str]:
        """Return a page of settlements, oldest first, and the next page's token.

        `request.symbol` in any accepted form, None for all symbols at once where the venue can.
        """
        rows, token = await self._page(request, self._questions.settlements)
        return [row for _, row in rows if row is not None], token

    async def history_columns(
        self, request: HistoryRequest
    ) -> tuple[exchange_pb2.FundingRateColumns, str]:
        """Return the page that `history` returns as columns, and the next page's token."""
        rows, token = await self._page(request, self._questions.settled_rates)
        return to_columns(rows), token

    async def _page(
        self, request: HistoryRequest, ask: _Settlements
    ) -> tuple[tuple[Any, ...], str]:
        self._venue.require_perpetual("funding history")
        book = self._venue.instruments
        instrument = None if request.symbol is None else book.get(request.symbol)

        async def fetch(start: int | None, end: int | None, limit: int) -> Answer:
            return await ask(instrument, start, end, limit)

        return await read_history(request, fetch, itemgetter(0))
