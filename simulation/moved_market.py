"""A market whose prices can be moved: what a venue quotes, times a factor for each instrument."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from services.simulator.market.source import Book, BookLevel, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from services.simulator.market.source import FundingState, MarketSource

_ONE = Decimal(1)
_STEP = Decimal("0.00000001")


class MovedMarket:
    """A `MarketSource` over another one; nothing differs until `move` is called."""

    def __init__(self, source: MarketSource) -> None:
        self._source = source
        self._factors: dict[tuple[Kind, str], Decimal] = {}
        self._ticks: dict[tuple[Kind, str], Decimal] = {}

    def __getattr__(self, name: str) -> Any:
        """Return what prices do not touch: instruments, rates, histories."""
        return getattr(self._source, name)

    def move(self, kinds: Iterable[Kind], symbol: str, ratio: Decimal) -> None:
        """Move a symbol's prices by a fraction of what they are, on the books of these kinds."""
        for kind in kinds:
            spec = self._source.instrument(kind, symbol)
            if spec is not None:
                self._ticks[kind, symbol] = spec.tick_size
                self._factors[kind, symbol] = self._factor(kind, symbol) * (1 + ratio)

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int = 20) -> Book:
        """Return the book with every level moved."""
        book = self._source.book(kind, symbol, now, depth)
        if (kind, symbol) not in self._factors:
            return book
        return Book(
            self._levels(kind, symbol, book.bids),
            self._levels(kind, symbol, book.asks),
            book.update_id,
        )

    def last_price(self, kind: Kind, symbol: str, now: datetime) -> Decimal:
        """Return the last price, moved."""
        return self._moved(kind, symbol, self._source.last_price(kind, symbol, now))

    def mark_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the mark price, moved."""
        return self._marked(symbol, self._source.mark_price(symbol, now))

    def index_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the index price, moved as the perpetual is."""
        return self._marked(symbol, self._source.index_price(symbol, now))

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return the funding with its prices moved."""
        state = self._source.funding_state(symbol, now)
        if (Kind.PERPETUAL, symbol) not in self._factors:
            return state
        return replace(
            state,
            mark_price=self._marked(symbol, state.mark_price),
            index_price=self._marked(symbol, state.index_price),
        )

    def _factor(self, kind: Kind, symbol: str) -> Decimal:
        return self._factors.get((kind, symbol), _ONE)

    def _levels(
        self, kind: Kind, symbol: str, levels: Iterable[BookLevel]
    ) -> tuple[BookLevel, ...]:
        return tuple(
            BookLevel(self._moved(kind, symbol, level.price), level.quantity) for level in levels
        )

    def _moved(self, kind: Kind, symbol: str, price: Decimal) -> Decimal:
        tick = self._ticks.get((kind, symbol))
        if tick is None:
            return price
        # On the grid: ccxt and the venue's filters refuse what is between two ticks.
        return (price * self._factor(kind, symbol) / tick).quantize(_ONE, ROUND_HALF_EVEN) * tick

    def _marked(self, symbol: str, price: Decimal) -> Decimal:
        return (price * self._factor(Kind.PERPETUAL, symbol)).quantize(_STEP)
