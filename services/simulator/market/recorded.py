"""A market made of recordings: recorded funding and prices, continued where they end."""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from services.simulator.market.assembled import AssembledMarket
from services.simulator.market.filters import QUOTE_ASSET
from services.simulator.market.funding import FundingBoard
from services.simulator.market.generated_funding import INTEREST_RATE, basis_of
from services.simulator.market.instants import DAY_MS, HOUR_MS, MINUTE_MS, instant, millis
from services.simulator.market.listing import Listing
from services.simulator.market.noise import key_of
from services.simulator.market.recorded_funding import RecordedFunding
from services.simulator.market.recorded_prices import DerivedPath, RecordedBars, RecordedPath
from services.simulator.market.recorded_specs import (
    DEFAULT_FUNDING_CAP,
    SpotTraces,
    perpetual_spec,
    spot_spec,
)
from services.simulator.market.recordings import (
    FUNDING,
    FUNDING_INFO,
    MARGIN_PAIRS,
    OPEN_INTEREST,
    PERPETUAL_DAY_BARS,
    PERPETUAL_HOUR_BARS,
    PERPETUAL_INFO,
    SPOT_BOOK_TICKER,
    SPOT_DAY_BARS,
    SPOT_DAY_TICKER,
    SPOT_HOUR_BARS,
    SPOT_INFO,
    SPOT_TICKER_PRICE,
    Recordings,
    RecordingsError,
    Table,
    decimal_of,
    millis_of,
    number_of,
)
from services.simulator.market.rounding import eight_digits

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from services.simulator.market.listing import PricePath

# No setting: equal files are an equal market.
_SEED: Final = 0
# Longest first: 1000 would also match 10000SATS, and leave 0SATS.
_MULTIPLIER: Final = re.compile(r"(1000000|10000|1000|1M)([0-9A-Z]+)")
_LEAD: Final = 30 * MINUTE_MS
_FALLBACK_TURNOVER: Final = 5e6
_SPOT_SHARE: Final = 0.3
_OPEN_INTEREST_SHARE: Final = 0.5


class RecordedMarket(AssembledMarket):
    """A MarketSource over a directory of recordings.

    The market clock starts half an hour before the first settlement that some symbol has no
    record of, so that at the start every history is complete and the next settlement is near.
    Raises RecordingsError when there is no funding file or a file is not what its name says.
    """

    def __init__(self, directory: Path, start: datetime | None = None) -> None:
        files = _Files(Recordings(directory))
        if not files.funding.symbols:
            raise RecordingsError(f"no file {FUNDING}* with rows in the directory of recordings")
        makers = {symbol: _SymbolMaker(symbol, files) for symbol in files.funding.symbols}
        unrecorded = [one.funding.first_unrecorded for one in makers.values()]
        latest = max(one.funding.nominals[-1] for one in makers.values())
        first = min((time for time in unrecorded if time is not None), default=latest)
        begin = instant(first - _LEAD) if start is None else start
        interest = eight_digits(INTEREST_RATE)
        super().__init__(
            start=begin,
            listings=[one for maker in makers.values() for one in maker.listings(millis(begin))],
            funding=FundingBoard({symbol: one.funding for symbol, one in makers.items()}),
            prices=_RecordedPrices(makers),
            interest_rates=dict.fromkeys(makers, interest),
        )


class _Files:
    """The files of a directory, each read when first asked for."""

    def __init__(self, recordings: Recordings) -> None:
        self._recordings = recordings
        self.funding = recordings.table(FUNDING)
        self.perpetual_info = recordings.by_symbol(PERPETUAL_INFO, "symbols")
        self.funding_info = recordings.by_symbol(FUNDING_INFO)
        # Sorted by name the full list of 2021 comes before the few of 2026, which therefore win.
        self.spot_info = recordings.by_symbol(SPOT_INFO, "symbols")
        self.spot_books = recordings.by_symbol(SPOT_BOOK_TICKER)
        self.spot_prices = recordings.by_symbol(SPOT_TICKER_PRICE)
        self.spot_tickers = recordings.by_symbol(SPOT_DAY_TICKER)
        self.margin_pairs = recordings.by_symbol(MARGIN_PAIRS)

    @cached_property
    def perpetual_days(self) -> Table:
        return self._recordings.table(PERPETUAL_DAY_BARS)

    @cached_property
    def perpetual_hours(self) -> Table:
        return self._recordings.table(PERPETUAL_HOUR_BARS)

    @cached_property
    def spot_days(self) -> Table:
        return self._recordings.table(SPOT_DAY_BARS)

    @cached_property
    def spot_hours(self) -> Table:
        return self._recordings.table(SPOT_HOUR_BARS)

    @cached_property
    def open_interest(self) -> Table:
        return self._recordings.table(OPEN_INTEREST)

    def spot_symbol(self, symbol: str) -> str | None:
        """Return the spot twin of a perpetual: of its own name, else of the single coin."""
        single = _MULTIPLIER.fullmatch(symbol)
        for name in (symbol, single[2] if single else symbol):
            if name in self.spot_books or name in self.spot_prices or name in self.spot_info:
                return name
            if self.spot_hours.rows(name, "timestamp"):
                return name
        return None


class _SymbolMaker:
    """Makes the parts of one symbol from the files."""

    def __init__(self, symbol: str, files: _Files) -> None:
        self.symbol = symbol
        self._files = files
        self._key = key_of(_SEED, symbol)
        days = files.perpetual_days.rows(symbol, "timestamp", "close", "quote_volume")
        self._known_since = millis_of(days[0][0]) if days else None
        self._last_close = number_of(days[-1][1]) if days else self._captured_price()
        # The last day of a capture is unfinished: the one before tells what is traded in a day.
        self._turnover = number_of(days[-2:][0][2]) if days else _FALLBACK_TURNOVER
        # Candles are read when a price is asked for: they are most of the files' bytes.
        self._bars = RecordedBars(
            symbol, lambda: files.perpetual_days, lambda: files.perpetual_hours
        )
        self._path = RecordedPath(self._bars, self._key, ~self._key, self._last_close)
        self.perpetual = self._perpetual()
        rows = files.funding.rows(symbol, "timestamp", "funding_rate")
        self.funding = RecordedFunding(symbol, rows, self.perpetual, self.perpetual.end)
        self.spot_symbol = files.spot_symbol(symbol)
        self._basis = basis_of(float(self.funding.last_rate))
        self.spot_path, self._multiplier = self._spot_path()

    def listings(self, start: int) -> list[Listing]:
        """Return the perpetual and, where it has one, its spot twin."""
        spot = self._spot(start)
        return [self.perpetual] if spot is None else [self.perpetual, spot]

    def mark(self, at: int) -> float:
        """Return the mark price."""
        return self.perpetual.price(at)

    def index(self, at: int) -> float:
        """Return the index price per unit of the perpetual's symbol."""
        end = self.perpetual.end
        return self._multiplier * self.spot_path.price(at if end is None else min(at, end))

    def open_interest(self, at: int) -> float:
        """Return open interest as recorded at or before ``at``, the first one before that."""
        times, amounts = self._interest
        if not times:
            return _OPEN_INTEREST_SHARE * self._turnover / self._last_close
        return amounts[max(bisect_right(times, at) - 1, 0)]

    @cached_property
    def _interest(self) -> tuple[list[int], list[float]]:
        rows = self._files.open_interest.rows(self.symbol, "timestamp", "sum_open_interest")
        return [millis_of(time) for time, _ in rows], [number_of(amount) for _, amount in rows]

    def _captured_price(self) -> float:
        captured = self._files.spot_prices.get(self.symbol)
        return number_of(captured["price"]) if captured else 1.0

    def _perpetual(self) -> Listing:
        files = self._files
        first = files.funding.rows(self.symbol, "timestamp")[0][0]
        cap = files.funding_info.get(self.symbol, {}).get("adjustedFundingRateCap")
        spec = perpetual_spec(
            self.symbol,
            files.perpetual_info.get(self.symbol),
            self._last_close,
            self._turnover,
            self._key,
            # Listed before its first settlement; when exactly is known only where it was recorded.
            instant(millis_of(first) - DAY_MS),
            DEFAULT_FUNDING_CAP if cap is None else decimal_of(cap),
        )
        end = None if spec.delivery_time is None else millis(spec.delivery_time)
        return Listing(
            spec, self._path, self._turnover, self._key, end, self._bars, self._known_since
        )

    def _spot_path(self) -> tuple[PricePath, int]:
        """Return the path of the spot twin (of the index, without a twin) and its multiplier."""
        files, twin = self._files, self.spot_symbol
        multiplier = 1
        if twin is not None and twin != self.symbol:
            multiplier = multiplier_of(self.symbol)
        if twin is None or not files.spot_hours.rows(twin, "timestamp"):
            return DerivedPath(self._path, multiplier, self._basis), multiplier
        return RecordedPath(self._spot_bars(twin), self._key, self._key + 1, 1.0), multiplier

    def _spot_bars(self, twin: str) -> RecordedBars:
        # Spot candles were captured later; both must end together, or the basis would drift.
        files = self._files
        return RecordedBars(
            twin, lambda: files.spot_days, lambda: files.spot_hours, lambda: self._path.end
        )

    def _spot(self, start: int) -> Listing | None:
        twin = self.spot_symbol
        if twin is None:
            return None
        is_recorded = isinstance(self.spot_path, RecordedPath)
        traces = _spot_traces(twin, self._files, is_recorded=is_recorded)
        spec = spot_spec(
            twin,
            traces,
            self._last_close / self._multiplier,
            self._key + 1,
            self.perpetual.spec.onboard_time,
        )
        ticker = self._files.spot_tickers.get(twin)
        turnover = number_of(ticker["quoteVolume"]) if ticker else self._turnover * _SPOT_SHARE
        return Listing(
            spec,
            self.spot_path,
            turnover,
            ~self._key,
            # Without a quote in the capture it was delisted, and must be so from the start.
            None if traces.is_quoted else start - HOUR_MS,
            self._spot_bars(twin) if is_recorded else None,
            self._known_since,
        )


class _RecordedPrices:
    """Index and mark prices and open interest of the recorded perpetuals."""

    def __init__(self, makers: dict[str, _SymbolMaker]) -> None:
        self._makers = makers

    def index(self, symbol: str, at: int) -> float:
        return self._makers[symbol].index(at)

    def mark(self, symbol: str, at: int) -> float:
        return self._makers[symbol].mark(at)

    def open_interest(self, symbol: str, at: int) -> float:
        return self._makers[symbol].open_interest(at)


def multiplier_of(symbol: str) -> int:
    """Return how many coins one unit of a perpetual's symbol is (1000 for ``1000PEPEUSDT``)."""
    found = _MULTIPLIER.fullmatch(symbol.removesuffix(QUOTE_ASSET))
    if found is None:
        return 1
    return 1_000_000 if found[1] == "1M" else int(found[1])


def _spot_traces(symbol: str, files: _Files, *, is_recorded: bool) -> SpotTraces:
    book: dict[str, Any] = files.spot_books.get(symbol, {})
    price: dict[str, Any] = files.spot_prices.get(symbol, {})
    ticker: dict[str, Any] = files.spot_tickers.get(symbol, {})
    prices = [book.get("bidPrice"), book.get("askPrice"), price.get("price")]
    prices += [ticker.get(name) for name in ("lastPrice", "highPrice", "lowPrice", "openPrice")]
    quantities = [book.get("bidQty"), book.get("askQty"), ticker.get("lastQty")]
    quantities.append(ticker.get("volume"))
    info = files.spot_info.get(symbol)
    has_book = number_of(book.get("bidPrice", "0")) > 0 if book else False
    return SpotTraces(
        info=info if not any(prices) or _is_recent(info) else None,
        prices=tuple(text for text in prices if text is not None),
        quantities=tuple(text for text in quantities if text is not None),
        is_quoted=has_book or is_recorded or (not files.spot_books and bool(price or info)),
        margin_allowed=bool(files.margin_pairs.get(symbol, {}).get("isMarginTrade", False)),
    )


def _is_recent(info: dict[str, Any] | None) -> bool:
    # NOTIONAL replaced MIN_NOTIONAL in 2023; ticks and lots of before then are out of date.
    return info is not None and any(one["filterType"] == "NOTIONAL" for one in info["filters"])
