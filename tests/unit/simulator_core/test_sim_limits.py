"""Request limits: windows, headers, 429 with its wait, 418, the funding history's own limit."""

from __future__ import annotations

from services.simulator.core.limits import BAN_AFTER, Family, Limits, Verdict
from tests.support.tiny_market import HandClock

ADDRESS = "127.0.0.1"


def charge(
    limits: Limits, clock: HandClock, family: Family, weight: int = 1, orders: int = 0
) -> Verdict:
    """Charge one call of the test's only caller."""
    return limits.charge(clock.now(), ADDRESS, "key", family, weight, orders)


def test_used_weight_is_told_and_counts_per_family() -> None:
    """Spot, /sapi and USD-M each have a budget and a header of their own."""
    limits, clock = Limits(), HandClock()
    assert charge(limits, clock, Family.SPOT, 20).headers == {"X-MBX-USED-WEIGHT-1M": "20"}
    assert charge(limits, clock, Family.SPOT, 5).headers == {"X-MBX-USED-WEIGHT-1M": "25"}
    assert charge(limits, clock, Family.USDM, 40).headers == {"X-MBX-USED-WEIGHT-1M": "40"}
    assert charge(limits, clock, Family.SAPI).headers == {"X-SAPI-USED-IP-WEIGHT-1M": "1"}


def test_weight_over_the_limit_waits_for_the_next_minute() -> None:
    """2400 pass, one more is 429 with the seconds to the window's end; then it passes."""
    limits, clock = Limits(), HandClock()
    clock.move(15)
    assert charge(limits, clock, Family.USDM, 2400).is_allowed
    refused = charge(limits, clock, Family.USDM)
    assert (refused.status, refused.retry_after) == (429, 46)
    clock.move(refused.retry_after)
    assert charge(limits, clock, Family.USDM).is_allowed


def test_going_on_after_429_is_a_ban() -> None:
    """Whoever ignores the refusals gets 418 for every family until the ban ends."""
    limits, clock = Limits(), HandClock()
    charge(limits, clock, Family.SPOT, 6000)
    answers = [charge(limits, clock, Family.SPOT).status for _ in range(BAN_AFTER + 2)]
    assert (answers[0], answers[-1]) == (429, 418)
    banned = charge(limits, clock, Family.USDM)
    assert (banned.status, banned.retry_after > 60) == (418, True)
    clock.move(banned.retry_after)
    assert charge(limits, clock, Family.USDM).is_allowed


def test_orders_have_their_own_count() -> None:
    """300 futures orders in ten seconds pass, the next does not."""
    limits, clock = Limits(), HandClock()
    verdicts = [charge(limits, clock, Family.USDM, 0, 1) for _ in range(301)]
    assert verdicts[299].is_allowed
    assert verdicts[299].headers["X-MBX-ORDER-COUNT-10S"] == "300"
    assert verdicts[299].headers["X-MBX-ORDER-COUNT-1M"] == "300"
    assert (verdicts[300].status, verdicts[300].code) == (429, -1015)
    clock.move(10)
    assert charge(limits, clock, Family.USDM, 0, 1).is_allowed


def test_funding_history_has_500_calls_in_five_minutes() -> None:
    """It is counted apart from the weight, over windows of five minutes."""
    limits, clock = Limits(), HandClock()
    answers = [charge(limits, clock, Family.FUNDING_HISTORY).status for _ in range(501)]
    assert answers[:500] == [200] * 500
    assert answers[500] == 429
    assert charge(limits, clock, Family.USDM).is_allowed
    clock.move(300)
    assert charge(limits, clock, Family.FUNDING_HISTORY).is_allowed


def test_limits_can_be_stretched_or_switched_off() -> None:
    """A scale multiplies every limit; off, nothing is refused and the headers still count."""
    clock = HandClock()
    wide = Limits(scale=10)
    assert charge(wide, clock, Family.SPOT, 60_000).is_allowed
    assert not charge(wide, clock, Family.SPOT).is_allowed
    off = Limits(is_enabled=False)
    charge(off, clock, Family.SPOT, 100_000)
    verdict = charge(off, clock, Family.SPOT)
    assert verdict.is_allowed
    assert verdict.headers == {"X-MBX-USED-WEIGHT-1M": "100001"}
