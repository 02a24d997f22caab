"""A market made from a seed: hundreds of perpetuals, their spot twins and their funding."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from services.simulator.market.assembled import AssembledMarket
from services.simulator.market.filters import make_spec
from services.simulator.market.funding import FundingBoard
from services.simulator.market.generated_funding import (
    FUNDING_CAP,
    FundingCurve,
    GeneratedFunding,
)
from services.simulator.market.generated_prices import IndexPath, PerpetualPath, hour_spread
from services.simulator.market.instants import DAY_MS, HOUR_MS, instant, millis
from services.simulator.market.listing import Listing
from services.simulator.market.noise import Waves, between, key_of
from services.simulator.market.roster import Profile, make_roster
from services.simulator.market.rounding import eight_digits
from services.simulator.market.schedule import Phase, Schedule
from services.simulator.market.source import Kind

if TYPE_CHECKING:
    from datetime import datetime

_GRID_MS: Final = 8 * HOUR_MS


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """What determines a generated market; equal settings give equal markets in every process.

    ``start`` must be aware. ``symbol_count`` is the number of perpetuals; funding settlements
    reach back at most ``history_days`` from ``start``.
    """

    start: datetime
    seed: int = 1
    symbol_count: int = 320
    history_days: int = 90


class GeneratedMarket(AssembledMarket):
    """A MarketSource made from a seed. Raises ValueError when the settings make no market."""

    def __init__(self, settings: GeneratorSettings) -> None:
        if settings.start.tzinfo is None:
            raise ValueError("the start of the market must be an aware datetime")
        if settings.symbol_count < 1:
            raise ValueError("a market needs at least one symbol")
        # Ages count from a whole day, so that a market keeps its shape for the day.
        day = millis(settings.start) // DAY_MS * DAY_MS
        roster = make_roster(settings.seed, settings.symbol_count)
        makers = [_SymbolMaker(profile, settings, day) for profile in roster]
        perpetuals = {maker.symbol: maker for maker in makers}
        super().__init__(
            start=settings.start,
            listings=[listing for maker in makers for listing in maker.listings()],
            funding=FundingBoard({symbol: one.funding() for symbol, one in perpetuals.items()}),
            prices=_GeneratedPrices(perpetuals),
            interest_rates={
                symbol: eight_digits(one.curve.interest_rate) for symbol, one in perpetuals.items()
            },
        )


class _SymbolMaker:
    """Makes the parts of one symbol from its profile."""

    def __init__(self, profile: Profile, settings: GeneratorSettings, day: int) -> None:
        self._profile = profile
        self._settings = settings
        self._day = day
        self.key = key_of(settings.seed, "symbol", profile.base)
        self.curve = FundingCurve(profile.regime, key_of(settings.seed, "funding", profile.base))
        spread = hour_spread(profile.day_turnover, self.key)
        self._index = IndexPath(profile.price, spread, key_of(settings.seed, "index", profile.base))
        self._path = PerpetualPath(
            self._index,
            profile.multiplier,
            self.curve,
            key_of(settings.seed, "basis", profile.base),
        )
        self._end = (
            None
            if profile.ended_age_days is None
            # At 08:00, when every interval settles: the last payment is at the very end.
            else self._day - profile.ended_age_days * DAY_MS + _GRID_MS
        )
        self.perpetual = self._perpetual()
        self.symbol = self.perpetual.spec.symbol
        self._interest = Waves(~self.key, [(12 * HOUR_MS, 0.25)])

    def listings(self) -> list[Listing]:
        """Return the perpetual and, where it has one, its spot twin."""
        return [self.perpetual, self._spot()] if self._profile.has_spot else [self.perpetual]

    def funding(self) -> GeneratedFunding:
        """Return the funding history of the perpetual."""
        return GeneratedFunding(
            self.symbol,
            self.curve,
            self._schedule(),
            self._path,
            self.key,
            millis(self._settings.start),
        )

    def index(self, at: int) -> float:
        """Return the index price per unit of the perpetual."""
        # A delisted symbol stays in the venue's lists, with prices that stand still.
        return self._path.index(at if self._end is None else min(at, self._end))

    def mark(self, at: int) -> float:
        """Return the mark price of the perpetual."""
        return self._path.mark(at if self._end is None else min(at, self._end))

    def open_interest(self, at: int) -> float:
        """Return open interest in units of the perpetual."""
        share = between(self.key, 30, 0.25, 1.1) * (1.0 + self._interest.at(at))
        return share * self._profile.day_turnover / (self._profile.price * self._profile.multiplier)

    def _perpetual(self) -> Listing:
        profile = self._profile
        spec = make_spec(
            Kind.PERPETUAL,
            profile.base,
            profile.price * profile.multiplier,
            profile.multiplier,
            profile.day_turnover,
            self.key,
            onboard_time=instant(self._day - profile.age_days * DAY_MS),
            delivery_time=None if self._end is None else instant(self._end),
            funding_cap=Decimal(str(FUNDING_CAP)),
        )
        return Listing(spec, self._path, profile.day_turnover, self.key, self._end)

    def _spot(self) -> Listing:
        profile = self._profile
        turnover = profile.day_turnover * between(self.key, 31, 0.15, 0.6)
        # The perpetual lives on: a pair whose spot leg cannot trade must not be offered.
        end = self._day - 30 * DAY_MS if profile.is_spot_ended else self._end
        spec = make_spec(
            Kind.SPOT,
            profile.base,
            profile.price,
            1,
            turnover,
            self.key,
            # Spot lists first; with 40 days even a new coin began before its spot could end.
            onboard_time=instant(self._day - (profile.age_days + 40) * DAY_MS),
            delivery_time=None,
            funding_cap=Decimal(0),
        )
        # Another key: the twins' books and turnover must not move in step.
        return Listing(spec, self._index, turnover, ~self.key, end)

    def _schedule(self) -> Schedule:
        profile = self._profile
        oldest = self._day - min(profile.age_days, self._settings.history_days) * DAY_MS
        interval = profile.interval_hours * HOUR_MS
        phases: tuple[Phase, ...] = (Phase(oldest, interval),)
        if profile.earlier_interval_hours is not None:
            changed = self._day - profile.interval_change_age_days * DAY_MS
            earlier = Phase(oldest, profile.earlier_interval_hours * HOUR_MS)
            phases = (earlier, Phase(changed, interval)) if changed > oldest else phases
        return Schedule(phases, self._end)


class _GeneratedPrices:
    """Index and mark prices and open interest of the generated perpetuals."""

    def __init__(self, makers: dict[str, _SymbolMaker]) -> None:
        self._makers = makers

    def index(self, symbol: str, at: int) -> float:
        return self._makers[symbol].index(at)

    def mark(self, symbol: str, at: int) -> float:
        return self._makers[symbol].mark(at)

    def open_interest(self, symbol: str, at: int) -> float:
        return self._makers[symbol].open_interest(at)
