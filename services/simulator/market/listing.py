"""One listed instrument as the market's parts see it: its filters, price path and turnover."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from services.simulator.market.instants import DAY_MS, HOUR_MS, millis
from services.simulator.market.noise import between
from services.simulator.market.source import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.simulator.market.source import InstrumentSpec

TRADING: Final = "TRADING"
ENDED_STATUS: Final = {Kind.SPOT: "BREAK", Kind.PERPETUAL: "SETTLING"}

_CACHED_HOURS: Final = 200
_HOURS_A_DAY: Final = DAY_MS // HOUR_MS


class PricePath(Protocol):
    """A price at every instant."""

    def price(self, at: int) -> float:
        """Return the price at ``at`` milliseconds."""
        ...

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``, which ascend."""
        ...


@dataclass(frozen=True, slots=True)
class Bar:
    """One recorded candle; ``turnover`` is the volume in quote, None where it was not recorded."""

    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str | None
    trade_count: int | None


class BarStore(Protocol):
    """Recorded candles of one instrument."""

    def bars(self, interval: int) -> Mapping[int, Bar]:
        """Return the candles of ``interval`` ms by open time; empty when none were recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument with what is needed to answer for it at any instant.

    ``day_turnover`` is in quote. In ms: ``begin`` is when trading began, ``end`` is when it ended
    or will end, None for never, ``known_since`` is when prices begin to be known, None for as long
    as it is listed.
    """

    spec: InstrumentSpec
    path: PricePath
    day_turnover: float
    key: int
    end: int | None = None
    recorded: BarStore | None = None
    known_since: int | None = None
    begin: int = field(init=False)
    # Of whole hours, asked for again with every ticker; caches, the listing stays the same.
    hour_prices: dict[int, float] = field(default_factory=dict, compare=False, repr=False)
    hour_shares: dict[int, float] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Count when trading began in ms once: every price asked for is held against it."""
        object.__setattr__(self, "begin", millis(self.spec.onboard_time))

    def is_trading(self, at: int) -> bool:
        """Tell whether the instrument is listed and trades at ``at``."""
        return self.begin <= at and (self.end is None or at < self.end)

    def spec_at(self, at: int) -> InstrumentSpec:
        """Return the filters with the status of ``at``."""
        ended = self.end is not None and at >= self.end
        status = ENDED_STATUS[self.spec.kind] if ended else TRADING
        return self.spec if status == self.spec.status else replace(self.spec, status=status)

    def price(self, at: int) -> float:
        """Return the price at ``at``; it stands still outside the time of trading."""
        at = max(at, self.begin)
        return self.path.price(at if self.end is None else min(at, self.end))

    def prices(self, times: Sequence[int]) -> list[float]:
        """Return ``price`` of each of ``times``, which ascend."""
        begin, end = self.begin, self.end
        return self.path.prices(
            [max(at, begin) if end is None else min(max(at, begin), end) for at in times]
        )

    def hour_price(self, hour: int) -> float:
        """Return the price at the beginning of an hour, counted from the epoch."""
        price = self.hour_prices.get(hour)
        if price is None:
            price = self.price(hour * HOUR_MS)
            _keep(self.hour_prices, hour, price)
        return price

    def turnover(self, since: int, until: int) -> float:
        """Return what was traded in [since, until) in quote; additive, uneven from hour to hour."""
        since = max(since, self.begin)
        until = until if self.end is None else min(until, self.end)
        shares = self.hour_shares
        total = 0.0
        while since < until:
            hour = since // HOUR_MS
            stop = min(until, (hour + 1) * HOUR_MS)
            share = shares.get(hour)
            if share is None:
                share = between(~self.key, hour, 0.6, 1.4)
                _keep(shares, hour, share)
            total += share * (stop - since) / HOUR_MS
            since = stop
        return total * self.day_turnover / _HOURS_A_DAY


def _keep(kept: dict[int, float], hour: int, value: float) -> None:
    if len(kept) >= _CACHED_HOURS:
        kept.clear()
    kept[hour] = value
