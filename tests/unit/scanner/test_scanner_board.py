"""What is published: news only, by a clock that nobody sets."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from opensqt.market_maker.v1 import scanner_pb2
from services.common.watch_hub import Upsert, WatchHub
from services.scanner.board import Board
from services.scanner.encoded import EncodedEvents
from services.scanner.evaluate import Evidence
from services.scanner.findings import Findings
from services.scanner.held import Held
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.moments import moment_of
from services.scanner.news import NewsRules, is_news
from services.scanner.opportunity import Opportunity
from services.scanner.pairs import PairOfLegs
from tests.support.stepping_clock import NOW, SteppingClock

LIFETIME = timedelta(minutes=10)
RULES = NewsRules(Decimal("0.01"), timedelta(minutes=1))
PAIR = PairOfLegs(
    InstrumentKey("spotty", "AAAUSDT", InstrumentKind.SPOT),
    InstrumentKey("perpy", "AAAUSDT", InstrumentKind.PERPETUAL),
)


def opportunity(observe_time: datetime = NOW, **changes: Any) -> Opportunity:
    """Return an opportunity with round numbers."""
    ratio = Decimal("0.5")
    found = Opportunity(
        pair=PAIR,
        scan_id="scan",
        gross_apr=ratio,
        net_apr=ratio,
        naive_apr=ratio,
        costs={},
        round_trip_cost_ratio=Decimal(0),
        break_even_hours=None,
        borrow_apr=None,
        basis_ratio=Decimal(0),
        quote_volume=Decimal(1),
        expected_holding_time=timedelta(days=1),
        quality_score=ratio,
        score_factors={},
        long_funding=None,
        short_funding=None,
        observe_time=observe_time,
        expire_time=observe_time + LIFETIME,
    )
    return replace(found, **changes)


def findings(*found: Opportunity, unread: bool = False) -> Findings:
    """Return the findings of a scan."""
    return Findings(
        opportunities=found,
        exclusions=(),
        missing_parts=(),
        blind_venues=frozenset({"perpy"} if unread else ()),
        unread=frozenset(),
        is_blind=False,
        evidence=Evidence("scan", {}, {}),
    )


class Stage:
    """A board with its hub and a clock the test sets."""

    def __init__(self, *, max_opportunities: int = 10) -> None:
        self.clock = SteppingClock()
        self.hub: WatchHub[Opportunity] = WatchHub("epoch", conflate=True)
        self.fresh: Held | None = None
        self.is_followed = False
        self.board = Board(
            self.hub,
            max_opportunities=max_opportunities,
            news=RULES,
            clock=self.clock,
            freshen=lambda held: self.fresh if self.is_followed else held,
        )

    def publish(self, *found: Opportunity, unread: bool = False) -> None:
        """Publish a scan that took no time."""
        self.board.publish(findings(*found, unread=unread), moment_of(self.clock))

    def only(self) -> Opportunity:
        """Return the one opportunity that stands, the same for list and watch."""
        (listed,) = self.board.ranked()
        assert self.hub.latest() == (listed,)
        return listed


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_step_of_the_wall_clock_ages_nothing_and_makes_nothing_fresh(hours: int) -> None:
    """Times told are set anew; what stands and for how long stays the same."""
    stage = Stage()
    stage.publish(opportunity())
    stage.clock.age(60)
    stage.clock.step(timedelta(hours=hours))
    first = stage.only()
    stage.board.expire()
    second = stage.only()
    assert second.observe_time == stage.clock.now() - timedelta(seconds=60)
    assert second.expire_time - second.observe_time == LIFETIME
    assert second.revision > first.revision
    stage.clock.age(539)
    stage.board.expire()
    assert stage.only() == second
    stage.clock.age(2)
    assert stage.board.ranked() == ()
    stage.board.expire()
    assert stage.hub.latest() == ()


@pytest.mark.parametrize("hours", [-30, 30])
def test_a_step_in_mid_scan_neither_empties_nor_prolongs(hours: int) -> None:
    """What was stamped before the step is as old as the scan, whatever its stamp says."""
    stage = Stage()
    began = moment_of(stage.clock)
    found = opportunity()
    stage.clock.age(20)
    stage.clock.step(timedelta(hours=hours))
    stage.board.publish(findings(found), began)
    assert stage.only().observe_time == stage.clock.now() - timedelta(seconds=20)
    stage.clock.age(581)
    assert stage.board.ranked() == ()


def test_a_stamp_from_the_future_is_taken_for_now() -> None:
    """No stamp makes an opportunity stand for longer than its lifetime."""
    stage = Stage()
    stage.publish(opportunity(NOW + timedelta(hours=1)))
    stage.clock.age(601)
    assert stage.board.ranked() == ()


def test_the_same_numbers_are_told_again_only_when_their_expiry_moved_far() -> None:
    """Freshness is news in steps of a minute here."""
    stage = Stage()
    stage.publish(opportunity())
    first = stage.only()
    stage.clock.age(59)
    stage.publish(opportunity(stage.clock.now(), scan_id="second"))
    assert stage.only() == first
    stage.clock.age(1)
    stage.publish(opportunity(stage.clock.now(), scan_id="third"))
    assert stage.only().revision > first.revision
    assert stage.only().scan_id == "third"


def test_between_scans_small_moves_are_left_out() -> None:
    """A refresh tells what moved by a step, and whatever is doubted."""
    old = opportunity()
    small = replace(old, net_apr=Decimal("0.509"), quality_score=Decimal("0.491"))
    assert not is_news(old, small, RULES, from_scan=False)
    assert is_news(old, small, RULES, from_scan=True)
    differences: tuple[dict[str, Any], ...] = (
        {"net_apr": Decimal("0.51")},
        {"current_apr": Decimal(0)},
        {"basis_ratio": Decimal("-0.01")},
        {"basis_ratio": None},
        {"quality_score": Decimal("0.4")},
        {"caveats": ("STREAM_STALE",)},
    )
    for changes in differences:
        assert is_news(old, replace(old, **changes), RULES, from_scan=False)


def test_what_does_not_qualify_for_the_moment_is_hidden_not_forgotten() -> None:
    """A finding without its threshold is removed from the list and comes back with it."""
    stage = Stage()
    stage.publish(opportunity())
    first = stage.only()
    stage.is_followed = True
    stage.board.refresh([PAIR.opportunity_id])
    assert stage.board.ranked() == ()
    assert [each.pair for each in stage.board.best_found(5)] == [PAIR]
    stage.fresh = Held(opportunity(net_apr=Decimal("0.6")), stage.clock.monotonic())
    stage.board.refresh([PAIR.opportunity_id, "unknown"])
    assert stage.only().net_apr == Decimal("0.6")
    assert stage.only().revision > first.revision


def test_what_is_kept_fresh_outlives_the_scan_that_found_it() -> None:
    """A finding goes when what is published of it goes, not before."""
    stage = Stage()
    stage.publish(opportunity())
    stage.is_followed = True
    stage.clock.age(590)
    stage.fresh = Held(opportunity(stage.clock.now()), stage.clock.monotonic())
    stage.board.refresh([PAIR.opportunity_id])
    stage.clock.age(590)
    stage.board.expire()
    assert stage.only().expire_time > stage.clock.now()
    assert stage.board.oldest_age() == 590
    stage.clock.age(11)
    stage.board.expire()
    assert stage.board.best_found(5) == ()


def test_a_pair_that_could_not_be_looked_at_stays_until_it_expires() -> None:
    """A failed reading empties nothing; a finding that is gone does."""
    stage = Stage()
    stage.publish(opportunity())
    stage.publish(unread=True)
    assert stage.only().pair == PAIR
    stage.publish()
    assert stage.board.ranked() == ()


def of_symbol(symbol: str, score: str = "0.5", *, venue: str = "perpy") -> Opportunity:
    """Return an opportunity of another symbol or perpetual venue."""
    pair = PairOfLegs(
        InstrumentKey("spotty", symbol, InstrumentKind.SPOT),
        InstrumentKey(venue, symbol, InstrumentKind.PERPETUAL),
    )
    return opportunity(pair=pair, quality_score=Decimal(score))


def test_a_scan_replaces_what_it_looked_at_and_keeps_the_rest() -> None:
    """Of two pairs without a new finding only the one that could be looked at goes."""
    stage = Stage()
    stage.publish(of_symbol("AUSDT", venue="other"), of_symbol("BUSDT"))
    stage.publish(of_symbol("CUSDT", "0.9", venue="other"), unread=True)
    assert [each.pair.symbol for each in stage.board.ranked()] == ["CUSDT", "BUSDT"]


def test_the_best_stay_when_there_are_too_many() -> None:
    """Ties go by name; what is beyond the bound is not published."""
    stage = Stage(max_opportunities=2)
    stage.publish(of_symbol("AUSDT", "0.1"), of_symbol("CUSDT"), of_symbol("BUSDT"))
    assert [each.pair.symbol for each in stage.board.ranked()] == ["BUSDT", "CUSDT"]


def test_revisions_grow_while_the_clock_stands_and_over_a_restart() -> None:
    """A consumer ignores a lower revision than one it has seen."""
    stage, seen = Stage(), []
    for ratio in ("0.1", "0.5", "0.9"):
        stage.publish(opportunity(net_apr=Decimal(ratio)))
        seen.append(stage.only().revision)
    assert seen == sorted(set(seen))
    reborn = Stage()
    reborn.clock.age(1)
    reborn.publish(opportunity())
    assert reborn.only().revision > seen[-1]


def test_the_oldest_age_is_that_of_the_oldest_figure() -> None:
    """What is young does not hide what is old; nothing published has no age."""
    stage = Stage()
    assert stage.board.oldest_age() == 0
    other = PairOfLegs(*(replace(leg, symbol="BBBUSDT") for leg in (PAIR.long_leg, PAIR.short_leg)))
    young, old = opportunity(), opportunity(NOW - timedelta(minutes=4), pair=other)
    stage.publish(young, old)
    assert len(stage.board.ranked()) == 2
    assert stage.board.oldest_age() == 240


def test_each_revision_is_encoded_and_few_are_kept() -> None:
    """A newer revision is never told in the bytes of an older one."""
    events, told = EncodedEvents(2), []
    for number in range(1, 6):
        event = Upsert(b"t", "a", opportunity(revision=number))
        encoded = events.encode(event, NOW)
        assert events.encode(event, NOW) == encoded
        told.append(scanner_pb2.WatchOpportunitiesResponse.FromString(encoded))
        events.encode(Upsert(b"t", str(number), opportunity()), NOW)
    assert [each.upsert.revision for each in told] == [1, 2, 3, 4, 5]
    assert {each.resume_token for each in told} == {b"t"}
    assert len(events._upserts) == 2
