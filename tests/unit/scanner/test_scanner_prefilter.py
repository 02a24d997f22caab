"""Which perpetuals are worth their history, by bulk figures and by what is held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.scanner.funding import Settlements, settlements
from services.scanner.instruments import (
    ExclusionReason,
    InstrumentKey,
    InstrumentKind,
    RateRow,
    SymbolRow,
    TickerRow,
    TradingStatus,
)
from services.scanner.market import VenueView
from services.scanner.pairs import PairOfLegs
from services.scanner.prefilter import (
    LegOutlook,
    best_net_apr,
    leg_outlook,
    likely_best,
    prefilter,
)
from services.scanner.rules import CostRules, ScanRules

NOW = datetime(2026, 3, 20, 8, 30, tzinfo=UTC)
MINUTE = int(NOW.timestamp() // 60)
HOUR_MS = 3_600_000
RULES = ScanRules(min_net_apr=Decimal("0.05"))
EMPTY = settlements((), ())
SPOT = InstrumentKey("s", "AUSDT", InstrumentKind.SPOT)
ONE = InstrumentKey("p", "AUSDT", InstrumentKind.PERPETUAL)
TWO = InstrumentKey("q", "AUSDT", InstrumentKind.PERPETUAL)


def view(rate: str | None = "0.0001", *, fee: str | None = "0.0005") -> VenueView:
    """Return a venue with one perpetual, its book 2 bp wide."""
    listed = SymbolRow("AUSDT", "A", "USDT", TradingStatus.TRADING, True, None)
    ticker = TickerRow("AUSDT", Decimal(10**8), Decimal("99.99"), Decimal("100.01"))
    told = None if rate is None else Decimal(rate)
    return VenueView(
        venue="p",
        kind=InstrumentKind.PERPETUAL,
        symbols={"AUSDT": listed},
        tickers={"AUSDT": ticker},
        received=NOW,
        rates={"AUSDT": RateRow("AUSDT", told, None, NOW, timedelta(hours=8))},
        fees={} if fee is None else {"": Decimal(fee)},
    )


def outlook(rate: str | None = "0.0001", held: Settlements = EMPTY) -> LegOutlook:
    """Return the outlook of the venue's perpetual."""
    return leg_outlook(view(rate), "AUSDT", held, 8.0, MINUTE, RULES)


def paid(rate: float, count: int, *, until_hours_ago: int = 0) -> Settlements:
    """Return settlements every 8 h, the last at 08:00 or some hours before."""
    last = int(NOW.timestamp() * 1000) // HOUR_MS * HOUR_MS - until_hours_ago * HOUR_MS
    return settlements([last - index * 8 * HOUR_MS for index in range(count)], [rate] * count)


def chosen(
    pairs: Sequence[PairOfLegs], outlooks: Mapping[InstrumentKey, LegOutlook]
) -> tuple[dict[str, set[str]], set[InstrumentKey]]:
    """Return needed symbols and excluded instruments."""
    found = prefilter(pairs, outlooks, RULES)
    assert {each.reason for each in found.exclusions} <= {ExclusionReason.CARRY_LOW}
    return found.needed, {each.instrument for each in found.exclusions}


FLAT = LegOutlook(0.0, 0.0, 0.0006)


def test_best_case_is_carry_less_costs_over_the_longest_holding() -> None:
    """0.01 % every 8 h is 10.95 % a year; 2 x (6 + 6) bp over 30 days cost 2.92 %."""
    net = best_net_apr(FLAT, outlook(), RULES)
    assert net == pytest.approx(0.1095 - 0.0024 * 8760 / 720)


def test_coming_rate_alone_decides_where_nothing_is_held() -> None:
    """A rate that pays more than the costs is read, a lower one is not; either way by one leg."""
    pair = PairOfLegs(SPOT, ONE)
    assert chosen([pair], {SPOT: FLAT, ONE: outlook("0.0001")}) == ({"p": {"AUSDT"}}, set())
    assert chosen([pair], {SPOT: FLAT, ONE: outlook("0.00005")}) == ({"p": set()}, {ONE})


def test_history_that_paid_keeps_a_symbol_whose_rate_is_low_now() -> None:
    """What the window paid counts beside the coming rate, while it is recent."""
    held = paid(0.0004, 30)
    assert outlook("0.00001", held).highest_apr == pytest.approx(0.0004 * 1095)
    pair = PairOfLegs(SPOT, ONE)
    assert chosen([pair], {SPOT: FLAT, ONE: outlook("0.00001", held)})[0] == {"p": {"AUSDT"}}
    old = paid(0.0004, 30, until_hours_ago=8 * 24)
    assert chosen([pair], {SPOT: FLAT, ONE: outlook("0.00001", old)})[1] == {ONE}


def test_window_starts_after_a_predecessor_or_with_a_guess() -> None:
    """Held rates annualise over the hours they covered, with one row as with many."""
    for count in (1, 3, 21, 22, 60):
        assert outlook("0", paid(0.0001, count)).highest_apr == pytest.approx(0.1095)


def test_either_direction_between_perpetuals_is_enough() -> None:
    """A negative rate is earned long; both legs are read for it."""
    outlooks = {ONE: outlook("-0.0003"), TWO: outlook("0.0001")}
    both = [PairOfLegs(ONE, TWO), PairOfLegs(TWO, ONE)]
    assert chosen(both, outlooks) == ({"p": {"AUSDT"}, "q": {"AUSDT"}}, set())
    assert chosen([PairOfLegs(TWO, ONE)], outlooks) == ({"p": set(), "q": set()}, {ONE, TWO})


def test_unknown_rate_or_interval_rules_nothing_out() -> None:
    """What was not told cannot be too low."""
    pair = PairOfLegs(SPOT, ONE)
    assert not outlook(None).is_known
    assert not leg_outlook(view(), "AUSDT", EMPTY, None, MINUTE, RULES).is_known
    assert chosen([pair], {SPOT: FLAT, ONE: outlook(None)})[0] == {"p": {"AUSDT"}}


def test_costs_nobody_told_stand_on_the_settings() -> None:
    """The settings' fee stands in for a fee, the book tells the half-spread of 1 bp."""
    rules = ScanRules(costs=CostRules(default_taker_fee_ratio=Decimal("0.002")))
    found = leg_outlook(view(fee=None), "AUSDT", EMPTY, 8.0, MINUTE, rules)
    assert found.crossing_ratio == pytest.approx(0.0021)


def test_a_leg_counts_with_what_is_best_for_its_side() -> None:
    """The long leg with its lowest carry: what it paid before, though it pays otherwise now."""
    wide = LegOutlook(-0.2, 0.1, 0.0)
    assert best_net_apr(wide, LegOutlook(0.0, 0.0, 0.0), RULES) == pytest.approx(0.2)
    assert best_net_apr(LegOutlook(0.0, 0.0, 0.0), wide, RULES) == pytest.approx(0.1)


def test_row_that_settled_a_window_ago_is_outside_it() -> None:
    """It was paid for the hours before the window; the hours of the first row inside count."""
    rows = paid(0.0001, 22)
    rates = rows.rates.copy()
    rates[0] = 0.04
    held = Settlements(rows.minutes, rates)
    assert outlook("0", held).highest_apr == pytest.approx(0.1095)


def test_spread_nobody_told_stands_on_the_settings() -> None:
    """Without best prices the default half-spread is counted."""
    bare = replace(view(), tickers={})
    rules = ScanRules(costs=CostRules(default_half_spread_ratio=Decimal("0.001")))
    found = leg_outlook(bare, "AUSDT", EMPTY, 8.0, MINUTE, rules)
    assert found.crossing_ratio == pytest.approx(0.0015)


def test_wanted_net_apr_itself_is_enough() -> None:
    """Costs are rounded where they are published, so a trace under it is, too."""
    free = LegOutlook(0.0, 0.0, 0.0)
    for apr, is_needed in ((0.05, True), (0.05 - 1e-10, True), (0.0499, False)):
        needed, _ = chosen([PairOfLegs(SPOT, ONE)], {SPOT: free, ONE: LegOutlook(0, apr, 0)})
        assert bool(needed["p"]) is is_needed


def test_the_likely_best_earn_most_in_the_best_case() -> None:
    """As many as wanted, best first; a leg nothing is known of is not among them."""
    legs = {name: InstrumentKey("p", f"{name}USDT", InstrumentKind.PERPETUAL) for name in "ABCD"}
    pairs = {name: PairOfLegs(SPOT, leg) for name, leg in legs.items()}
    outlooks = {
        SPOT: FLAT,
        legs["A"]: LegOutlook(0.1, 0.1, 0.0006),
        legs["B"]: LegOutlook(0.1, 0.3, 0.0006),
        legs["C"]: LegOutlook(0.2, 0.2, 0.0006),
        legs["D"]: LegOutlook(0.0, 9.0, 0.0006, is_known=False),
    }
    found = likely_best(pairs.values(), outlooks, RULES, 2)
    assert found == [pairs["B"], pairs["C"]]
    assert likely_best(pairs.values(), outlooks, RULES, 0) == []
