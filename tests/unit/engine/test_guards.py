"""Every guard just below its bound, at it and just above it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.guard_basis import guard_basis
from services.engine.guard_delta import guard_delta
from services.engine.guard_desk import judge
from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    LegAccount,
    LegMarket,
    PairAccount,
    PairMarket,
)
from services.engine.guard_forced_fill import guard_forced_fill
from services.engine.guard_funding import guard_funding, hourly_carry, hourly_rate
from services.engine.guard_liquidation import guard_liquidation
from services.engine.guard_margin import guard_margin, margin_ratio
from services.engine.guard_venue import guard_venue
from services.engine.instruments import LegSide
from services.engine.orders import OrderClass
from services.engine.position import fold
from tests.support.risk_positions import PERP, entering, opened, ordered
from tests.support.virtual_clock import START

D = Decimal
LONG, SHORT = LegSide.LONG, LegSide.SHORT
HOUR = timedelta(hours=1)
ALERT, TRIP = GuardAction.ALERT, GuardAction.TRIP
REDUCE, CLOSE = GuardAction.REDUCE, GuardAction.CLOSE
LIMITS = GuardLimits(max_adverse_basis=D("0.02"))
QUIET = PairMarket({LONG: LegMarket(), SHORT: LegMarket()})
EASY = PairAccount({LONG: LegAccount(), SHORT: LegAccount()})


def market(**short: object) -> PairMarket:
    """Return a market whose short leg has these figures."""
    return replace(QUIET, legs={LONG: LegMarket(), SHORT: LegMarket(**short)})  # type: ignore[arg-type]  # test builder


def account(leg: LegSide = SHORT, **figures: object) -> PairAccount:
    """Return accounts of which one leg's has these figures."""
    legs = {LONG: LegAccount(), SHORT: LegAccount()}
    legs[leg] = LegAccount(**figures)  # type: ignore[arg-type]  # test builder
    return PairAccount(legs)


def actions(findings: tuple[GuardFinding, ...]) -> list[GuardAction]:
    """Return what is to be done."""
    return [finding.action for finding in findings]


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("115.01", []),
        ("115", [TRIP]),
        ("114.99", [TRIP]),
        ("105.01", [TRIP]),
        ("105", [CLOSE]),
        ("104.99", [CLOSE]),
        ("99", [CLOSE]),
    ],
)
def test_a_short_leg_keeps_its_distance(price: str, expected: list[GuardAction]) -> None:
    """The nearer the price at which the venue liquidates, the stronger the answer."""
    found = guard_liquidation(
        opened(), market(mark=D(100)), account(liquidation_price=D(price)), LIMITS
    )
    assert actions(found) == expected


@pytest.mark.parametrize(("price", "expected"), [("84.99", []), ("85", [TRIP]), ("95", [CLOSE])])
def test_a_long_leg_keeps_its_distance(price: str, expected: list[GuardAction]) -> None:
    """A long is liquidated below its mark."""
    legs = {LONG: LegMarket(mark=D(100)), SHORT: LegMarket()}
    found = guard_liquidation(
        opened(), PairMarket(legs), account(LONG, liquidation_price=D(price)), LIMITS
    )
    assert actions(found) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        ("0.59", []),
        ("0.60", [REDUCE]),
        ("0.61", [REDUCE]),
        ("0.79", [REDUCE]),
        ("0.80", [CLOSE]),
        ("0.81", [CLOSE]),
        ("2", [CLOSE]),
    ],
)
def test_margin_halves_then_closes(ratio: str, expected: list[GuardAction]) -> None:
    """At the warning a half goes, in the emergency all."""
    found = guard_margin(opened(), QUIET, account(margin_ratio=D(ratio), unified=True), LIMITS)
    assert actions(found) == expected
    assert {f.guard for f in found} <= {"unified_margin"}


@pytest.mark.parametrize(
    ("maintenance", "balance", "expected"),
    [
        ("10", "100", "0.1"),
        ("0", "0", "0"),
        ("10", "0", "10"),
        ("0.1", "-5", "1"),
    ],
)
def test_a_margin_balance_eaten_up_is_the_worst(
    maintenance: str, balance: str, expected: str
) -> None:
    """Nothing demanded is no danger; something demanded of nothing is all of it."""
    assert margin_ratio(D(maintenance), D(balance)) == D(expected)


def test_unknown_margin_is_no_ratio() -> None:
    """A figure that is missing is not zero."""
    assert margin_ratio(None, D(1)) is None
    assert margin_ratio(D(1), None) is None


@pytest.mark.parametrize(
    ("bases", "expected"),
    [
        (("0.0199", "0.03", "0.03"), []),
        (("0.02", "0.03", "0.03"), [CLOSE]),
        (("0.0201", "0.0201", "0.0201"), [CLOSE]),
        (("0.05", "0.05"), []),
        (("0", "0.02", "0.02", "0.02"), [CLOSE]),
        (("-0.05", "-0.05", "-0.05"), []),
    ],
)
def test_the_basis_stops_when_it_stays(bases: tuple[str, ...], expected: list[GuardAction]) -> None:
    """Every one of the last three samples must stand past the bound."""
    stretch = replace(QUIET, bases=tuple(map(D, bases)))
    assert actions(guard_basis(opened(), stretch, EASY, LIMITS)) == expected


@pytest.mark.parametrize(
    ("carries", "expected"),
    [
        (("-0.0001", "-0.0001", "0"), []),
        (("-0.0001", "0.0001", "-0.0001"), []),
        (("-0.0001", "-0.0001"), []),
        (("-0.0001", "-0.0001", "-0.00000001"), [ALERT]),
        (("0.1", "-0.0001", "-0.0001", "-0.0001"), [ALERT]),
    ],
)
def test_a_flip_is_several_readings(carries: tuple[str, ...], expected: list[GuardAction]) -> None:
    """The last three readings must all be below what is wanted at least."""
    stretch = replace(QUIET, carries=tuple(map(D, carries)))
    assert actions(guard_funding(opened(), stretch, EASY, LIMITS)) == expected
    closing = replace(LIMITS, close_on_flip=True)
    assert actions(guard_funding(opened(), stretch, EASY, closing)) == [CLOSE] * len(expected)


def test_rates_of_different_intervals_compare_by_the_hour() -> None:
    """Eight hours' rate is eight times one hour's."""
    assert hourly_rate(LegMarket(funding_rate=D("0.0008"), funding_interval=8 * HOUR)) == D(
        "0.0001"
    )
    assert hourly_rate(LegMarket(funding_rate=D("0.0008"))) is None
    assert hourly_rate(LegMarket(funding_rate=D(1), funding_interval=timedelta(0))) is None


def test_the_long_perpetual_pays_what_the_short_one_receives() -> None:
    """Between two perpetuals the difference of the rates is the carry; one unknown makes it so."""
    pair = opened(long_rules=replace(PERP, ref=replace(PERP.ref, exchange="other")))
    paid = LegMarket(funding_rate=D("0.0008"), funding_interval=8 * HOUR)
    received = LegMarket(funding_rate=D("0.0003"), funding_interval=HOUR)
    assert hourly_carry(pair, {LONG: paid, SHORT: received}) == D("0.0002")
    assert hourly_carry(pair, {LONG: received, SHORT: paid}) == D("-0.0002")
    assert hourly_carry(pair, {LONG: LegMarket(), SHORT: received}) is None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("-1.5", []),
        ("-1", []),
        ("-0.9991", []),
        ("-0.999", [CLOSE]),
        ("0", [CLOSE]),
        ("3", [CLOSE]),
    ],
)
def test_what_a_venue_took_is_noticed(size: str, expected: list[GuardAction]) -> None:
    """A lot missing closes the other leg; more than ours is no forced fill."""
    found = guard_forced_fill(opened(), QUIET, account(size=D(size)), LIMITS)
    assert actions(found) == expected


def test_a_moving_position_has_no_forced_fills() -> None:
    """While its orders are on their way the venue may hold less."""
    assert guard_forced_fill(entering(), QUIET, account(size=D(0)), LIMITS) == ()


@pytest.mark.parametrize(("seconds", "expected"), [(59, []), (60, []), (61, [ALERT])])
def test_a_venue_may_be_silent_for_a_while(seconds: int, expected: list[GuardAction]) -> None:
    """Silence past the bound is told; nothing is closed for it."""
    silent = account(silent_for=timedelta(seconds=seconds))
    assert actions(guard_venue(opened(), QUIET, silent, LIMITS)) == expected


@pytest.mark.parametrize(
    ("hedged", "expected"),
    [("0.999", [TRIP]), ("0.9991", []), ("1", []), ("0.998", [TRIP])],
)
def test_a_leak_of_a_lot_is_told(hedged: str, expected: list[GuardAction]) -> None:
    """At rest less than a lot may be without a hedge."""
    assert actions(guard_delta(opened(short_filled=hedged), QUIET, EASY, LIMITS)) == expected


def test_a_moving_position_leaks_nothing() -> None:
    """Between a fill and its hedge the exposure is the drive's, within its budget."""
    naked = ordered(entering(), LONG, OrderClass.ENTRY, filled="1")
    assert guard_delta(naked, QUIET, EASY, LIMITS) == ()


def test_dust_that_was_booked_is_no_leak() -> None:
    """What was given up in the open counts as known."""
    position = fold(
        opened(short_filled="0.999"), ev.DustBooked("p1", START, LONG, D("0.001"), "REST")
    )
    assert guard_delta(position, QUIET, EASY, LIMITS) == ()


def test_without_bounds_or_figures_nothing_is_found() -> None:
    """Unknown is not zero, and a bound that is left out judges nothing."""
    none = GuardLimits(None, None, None, None, None, min_carry=None)
    worst = account(liquidation_price=D(100), margin_ratio=D(1))
    assert judge(opened(), market(mark=D(100)), worst, none) == ()
    assert judge(opened(), QUIET, EASY, LIMITS) == ()
