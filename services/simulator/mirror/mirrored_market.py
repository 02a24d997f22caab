"""The venue core's market where it is a real one: what was read last, and nothing that is old.

Only what the core decides by is kept here. Candles, statistics and histories are the venue's own
answers, which are passed on; nobody asks the core for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NoReturn

from services.simulator.core.errors import VenueError
from services.simulator.market.source import (
    Book,
    Candle,
    DayTicker,
    FundingSettlement,
    FundingState,
    InstrumentSpec,
    Kind,
)
from services.simulator.mirror.roll import Roll, next_roll

NO_BOOK: Final = Book((), (), 0)
KEPT_SETTLEMENTS: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class _ReadBook:
    book: Book
    time: datetime


class MirroredMarket:
    """What was read of a venue. Instants are those at which the question was sent."""

    def __init__(self, start: datetime, stale_after: timedelta) -> None:
        self._start = start
        self._stale_after = stale_after
        self._rolls = {kind: Roll() for kind in Kind}
        self._books: dict[tuple[Kind, str], _ReadBook] = {}
        self._prices: dict[str, Decimal] = {}
        self._states: dict[str, FundingState] = {}
        self._settlements: dict[tuple[str, datetime], FundingSettlement] = {}
        self._lists: dict[Kind, datetime] = {}
        self._priced: dict[tuple[Kind, str], datetime] = {}

    @property
    def start(self) -> datetime:
        """Return the instant at which the mirror was set up."""
        return self._start

    def take_specs(
        self, kind: Kind, specs: Mapping[str, InstrumentSpec], named: Collection[str]
    ) -> Roll:
        """Take the instruments of a list that names these symbols; return what is known now."""
        self._rolls[kind] = next_roll(self._rolls[kind], specs, named)
        return self._rolls[kind]

    def take_book(self, kind: Kind, symbol: str, book: Book, time: datetime) -> None:
        """Take a book; one that was asked for before the one held is not news."""
        held = self._books.get((kind, symbol))
        if held is None or held.time <= time:
            self._books[kind, symbol] = _ReadBook(book, time)

    def take_prices(self, prices: Mapping[str, Decimal], time: datetime) -> None:
        """Take the last prices of spot."""
        self._prices.update(prices)
        self._note_prices(Kind.SPOT, prices, time)

    def take_states(self, states: Mapping[str, FundingState], time: datetime) -> None:
        """Take mark prices and the funding to come of perpetuals."""
        self._states.update(states)
        self._note_prices(Kind.PERPETUAL, states, time)

    def take_settlement(self, row: FundingSettlement) -> None:
        """Take a paid funding rate."""
        oldest = row.time - KEPT_SETTLEMENTS
        self._settlements = {k: v for k, v in self._settlements.items() if v.time >= oldest}
        self._settlements[row.symbol, row.time] = row

    def problem(self, kind: Kind, symbol: str, now: datetime) -> str | None:
        """Return why an order must not be filled by what is known, None when it may."""
        held = self._books.get((kind, symbol))
        book = self._age_problem(f"book of {symbol}", None if held is None else held.time, now)
        return self.prices_problem(kind, (symbol,), now) or book

    def prices_problem(self, kind: Kind, symbols: Iterable[str], now: datetime) -> str | None:
        """Return why nothing must be valued by the prices that are known, None when it may.

        A row of one of the symbols may be missing in a list that is new.
        """
        known = [(f"price of {symbol}", self._priced.get((kind, symbol))) for symbol in symbols]
        ages = (("list of prices", self._lists.get(kind)), *known)
        return next(filter(None, (self._age_problem(what, time, now) for what, time in ages)), None)

    def _note_prices(self, kind: Kind, symbols: Iterable[str], time: datetime) -> None:
        self._lists[kind] = time
        self._priced.update(((kind, symbol), time) for symbol in symbols)

    def _age_problem(self, what: str, time: datetime | None, now: datetime) -> str | None:
        if time is None:
            return f"the {what} was never read"
        if now - time > self._stale_after:
            return f"the {what} is {(now - time).total_seconds():.1f} s old"
        return None

    def instruments(self, kind: Kind, now: datetime) -> Sequence[InstrumentSpec]:
        """Return the venue's instruments that have a price: without one nothing can be valued."""
        del now
        priced: Mapping[str, object] = self._states if kind is Kind.PERPETUAL else self._prices
        return [spec for symbol, spec in self._rolls[kind].specs.items() if symbol in priced]

    def instrument(self, kind: Kind, symbol: str) -> InstrumentSpec | None:
        """Return one instrument, None if unknown."""
        return self._rolls[kind].specs.get(symbol)

    def book(self, kind: Kind, symbol: str, now: datetime, depth: int = 20) -> Book:
        """Return the book read last; empty once it is old, so that nothing fills by it."""
        held = self._books.get((kind, symbol))
        if held is None or self.problem(kind, symbol, now) is not None:
            return NO_BOOK
        return Book(held.book.bids[:depth], held.book.asks[:depth], held.book.update_id)

    def last_price(self, kind: Kind, symbol: str, now: datetime) -> Decimal:
        """Return spot's last price, a perpetual's mark."""
        if kind is Kind.PERPETUAL:
            return self.mark_price(symbol, now)
        return self._prices[symbol]

    def mark_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the mark price read last."""
        del now
        return self._states[symbol].mark_price

    def index_price(self, symbol: str, now: datetime) -> Decimal:
        """Return the index price read last."""
        del now
        return self._states[symbol].index_price

    def funding_state(self, symbol: str, now: datetime) -> FundingState:
        """Return the funding to come as it was read last."""
        del now
        return self._states[symbol]

    def funding_intervals(self, now: datetime) -> Mapping[str, timedelta]:
        """Return the interval of every perpetual."""
        del now
        return {symbol: state.interval for symbol, state in self._states.items()}

    def settlements(
        self,
        symbol: str | None,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[FundingSettlement]:
        """Return the settlements that were read because somebody held the symbol."""
        rows = sorted(
            (
                row
                for row in self._settlements.values()
                if row.time <= now
                and symbol in (None, row.symbol)
                and (start is None or row.time >= start)
                and (end is None or row.time <= end)
            ),
            key=lambda row: row.time,
        )
        return rows[:limit] if start is not None else rows[-limit:]

    def settlements_between(self, after: datetime, upto: datetime) -> Sequence[FundingSettlement]:
        """Return the settlements that were read, of all symbols."""
        rows = self.settlements(None, None, upto, len(self._settlements), upto)
        return [row for row in rows if row.time > after]

    def day_ticker(self, kind: Kind, symbol: str, now: datetime) -> DayTicker:
        """Raise VenueError: the venue itself answers this."""
        _passed_on("statistics")

    def candles(
        self,
        kind: Kind,
        symbol: str,
        interval: timedelta,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        now: datetime,
    ) -> Sequence[Candle]:
        """Raise VenueError: the venue itself answers this."""
        _passed_on("candles")

    def open_interest(self, symbol: str, now: datetime) -> Decimal:
        """Raise VenueError: the venue itself answers this."""
        _passed_on("open interest")


def _passed_on(what: str) -> NoReturn:
    raise VenueError(-1100, f"{what} are the mirrored venue's to tell")
