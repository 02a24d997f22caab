"""The desk that reads venues for the guards, judges by what they tell now, and acts at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.common.errors import UnreachableError
from services.common.metrics import ServiceMetrics
from services.engine import events as ev
from services.engine.book import PositionBook
from services.engine.gauges import EngineGauges
from services.engine.guard_desk import GuardDesk, GuardNeeds, judge
from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    GuardPace,
    LegMarket,
)
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.journal import JournalError
from services.engine.owned_tasks import OwnedTasks
from services.engine.policy import EngineLimits
from services.engine.position import Position, fold
from services.engine.risk_desk import RiskDesk
from services.engine.risk_limits import RiskLimits
from tests.support.engine_rig import MemoryJournal, Recorder
from tests.support.risk_positions import PERP, closed, opened
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
HOUR = timedelta(hours=1)
ALERT = GuardAction.ALERT
REDUCE, CLOSE = GuardAction.REDUCE, GuardAction.CLOSE
LIMITS = GuardLimits(max_adverse_basis=D("0.02"))


def actions(findings: tuple[GuardFinding, ...]) -> list[GuardAction]:
    """Return what is to be done."""
    return [finding.action for finding in findings]


@dataclass
class FakeReader:
    """A venue's figures; mutable: the test moves them."""

    facts: AccountFacts = field(default_factory=AccountFacts)
    rows: dict[str, LegMarket] = field(default_factory=dict)
    silent: bool = False
    calls: int = 0

    async def account(self) -> AccountFacts:
        """Answer the account."""
        self.calls += 1
        if self.silent:
            raise UnreachableError("nobody answers")
        return self.facts

    async def markets(self) -> Mapping[str, LegMarket]:
        """Answer the market."""
        return self.rows


@dataclass(slots=True)
class FakeHands:
    """Notes what guards do; mutable: it collects."""

    tripped: dict[str, str] = field(default_factory=dict)
    closed: list[Mapping[str, str]] = field(default_factory=list)
    reduced: list[tuple[str, Decimal]] = field(default_factory=list)
    notes: list[ev.GuardActed] = field(default_factory=list)
    alerts: list[GuardFinding] = field(default_factory=list)

    def trip(self, symbol: str, reason: str) -> None:
        """Keep the first reason."""
        self.tripped.setdefault(symbol, reason)

    async def close_positions(self, reasons: Mapping[str, str]) -> None:
        """Keep them."""
        self.closed.append(reasons)

    async def reduce_position(self, position_id: str, ratio: Decimal, reason: str) -> None:
        """Keep it."""
        self.reduced.append((position_id, ratio))

    def note(self, event: ev.GuardActed) -> None:
        """Keep it."""
        self.notes.append(event)

    def raised(self, finding: GuardFinding) -> None:
        """Keep it."""
        self.alerts.append(finding)


class DeskRig:
    """A guard desk over two fake venues and a list of positions."""

    def __init__(self, *positions: Position, limits: GuardLimits = LIMITS) -> None:
        self.positions = list(positions)
        self.clock = VirtualClock()
        self.hands = FakeHands()
        self.spot, self.perp = FakeReader(), FakeReader()
        self.perp.facts = AccountFacts({"BTCUSDT": HoldingFacts(D(-1), D(100))}, D("0.1"))
        self.perp.rows = {"BTCUSDT": LegMarket(D(100), D(100), D("0.0008"), 8 * HOUR)}
        readers = {"spot": self.spot, "perp": self.perp}
        needs = GuardNeeds(readers, self.hands, limits, GuardPace())
        self.desk = GuardDesk(lambda: tuple(self.positions), self.hands, self.clock, needs)

    def demand(self, ratio: str) -> None:
        """Let the perpetual venue demand this share of the margin balance."""
        self.perp.facts = replace(self.perp.facts, margin_ratio=D(ratio))


async def test_a_calm_round_does_nothing() -> None:
    """Two calls per venue, no action; marks are known afterwards."""
    rig = DeskRig(opened())
    await rig.desk.round()
    assert rig.hands == FakeHands()
    assert (rig.spot.calls, rig.perp.calls) == (1, 1)
    assert rig.desk.marks()[PERP.ref] == D(100)


async def test_rounds_that_do_not_end_are_seen_from_outside() -> None:
    """An error of ours in every round: the age of the last good one grows."""
    rig, metrics, recorder = DeskRig(opened()), ServiceMetrics("engine"), Recorder()
    book = PositionBook(MemoryJournal(), recorder, recorder, rig.clock)
    risk = RiskDesk(book, rig.clock, EngineLimits(), RiskLimits())
    tasks = OwnedTasks()
    tasks.spawn(rig.desk.run(), "guards")
    tasks.spawn(EngineGauges(metrics).run(book, risk, rig.desk, rig.clock), "gauges")

    def age() -> float | None:
        return metrics.registry.get_sample_value("opensqt_engine_guard_round_age_seconds")

    await rig.clock.pass_time(100)
    assert (age() or 0) <= 10
    rig.positions = [None]  # type: ignore[list-item]  # what no round survives
    await rig.clock.pass_time(100)
    assert (age() or 0) > 90
    await tasks.close()


async def test_an_idle_engine_reads_nothing() -> None:
    """Closed positions cost no call."""
    rig = DeskRig(closed())
    await rig.desk.round()
    assert (rig.spot.calls, rig.perp.calls) == (0, 0)


async def test_many_positions_cost_no_more_calls() -> None:
    """A round reads each venue once, however many positions are on it."""
    rig = DeskRig(*(opened(f"p{i}") for i in range(50)))
    await rig.desk.round()
    assert (rig.spot.calls, rig.perp.calls) == (1, 1)


async def test_a_halving_waits_for_its_effect() -> None:
    """Warned again at once, no second half goes; after the pause one does."""
    rig = DeskRig(opened())
    rig.demand("0.7")
    await rig.desk.round()
    await rig.desk.round()
    assert rig.hands.reduced == [("p1", D("0.5"))]
    assert rig.hands.tripped == {"BTCUSDT": "MARGIN_RATIO"}
    await rig.clock.pass_time(60)
    await rig.desk.round()
    assert len(rig.hands.reduced) == 2
    assert [note.action for note in rig.hands.notes] == ["reduce", "reduce"]


async def test_a_halving_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause is for the effect of one, and what the journal did not take has none."""
    rig = DeskRig(opened())
    rig.demand("0.7")

    async def fail(position_id: str, ratio: Decimal, reason: str) -> None:
        raise JournalError("disk full")

    with monkeypatch.context() as full:
        full.setattr(FakeHands, "reduce_position", lambda _, *args: fail(*args))
        with pytest.raises(JournalError):
            await rig.desk.round()
    await rig.desk.round()
    assert rig.hands.reduced == [("p1", D("0.5"))]


async def test_an_emergency_closes_every_position_of_the_account() -> None:
    """All leave with one write; the reason names the guard."""
    rig = DeskRig(opened("p1"), opened("p2"))
    rig.demand("0.9")
    await rig.desk.round()
    assert rig.hands.closed == [{"p1": "MARGIN_RATIO", "p2": "MARGIN_RATIO"}]
    assert rig.hands.reduced == []


async def test_a_bug_about_one_position_leaves_the_others_guarded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The emergency of another closes it; the round is not done even so, which is seen."""
    rig = DeskRig(opened("p1"), opened("p2"))
    rig.demand("0.9")

    def judging(position: Position, *facts: object) -> tuple[GuardFinding, ...]:
        if position.position_id == "p1":
            raise ZeroDivisionError
        return judge(position, *facts)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr("services.engine.guard_desk.judge", judging)
    with pytest.raises(ZeroDivisionError):
        await rig.desk.round()
    assert rig.hands.closed == [{"p2": "MARGIN_RATIO"}]


async def test_what_closes_already_is_not_closed_again() -> None:
    """A guard adds nothing to an exit that is under way."""
    rig = DeskRig(fold(opened(), ev.ExitRequested("p1", START, "CLOSE_REQUESTED")))
    rig.demand("0.9")
    await rig.desk.round()
    assert rig.hands.closed == []


async def test_an_alert_is_told_once_until_it_is_worse() -> None:
    """Repeats are silent; a stronger answer is told again, and so is one that came back."""
    rig = DeskRig(opened())
    for ratio in ("0.7", "0.7", "0.9", "0.9", "0.1", "0.7"):
        rig.demand(ratio)
        await rig.desk.round()
    assert actions(tuple(rig.hands.alerts)) == [REDUCE, CLOSE, REDUCE]


async def test_old_figures_close_nothing() -> None:
    """A venue that fell silent is told; what it said before it did counts no more."""
    rig = DeskRig(opened())
    await rig.desk.round()
    rig.perp.silent = True
    await rig.clock.pass_time(61)
    rig.demand("0.9")
    await rig.desk.round()
    assert rig.hands.closed == []
    assert [row.guard for row in rig.hands.alerts] == ["venue_unreachable"]
    assert PERP.ref not in rig.desk.marks()


async def test_samples_add_up_over_rounds() -> None:
    """Three rounds of a basis that is off close; two do not."""
    rig = DeskRig(opened())
    rig.perp.rows = {"BTCUSDT": LegMarket(D(103), D(100))}
    for _ in range(2):
        await rig.desk.round()
    assert rig.hands.closed == []
    await rig.desk.round()
    assert rig.hands.closed == [{"p1": "BASIS_STOP"}]


async def test_one_reading_is_one_sample() -> None:
    """A venue that does not answer any more has not said the same again."""
    rig = DeskRig(opened())
    rig.perp.rows = {"BTCUSDT": LegMarket(D(103), D(100))}
    await rig.desk.round()
    rig.perp.silent = True
    for _ in range(3):
        await rig.desk.round()
    assert rig.hands.closed == []


async def test_an_account_counts_though_no_rates_are_told() -> None:
    """An emergency of margin closes; that the venue tells no market is told once it lasts."""
    rig = DeskRig(opened())

    async def fail() -> Mapping[str, LegMarket]:
        raise UnreachableError("no rates")

    rig.perp.markets = fail  # type: ignore[method-assign]  # the half of a venue
    await rig.desk.round()
    await rig.clock.pass_time(61)
    rig.demand("0.9")
    await rig.desk.round()
    assert rig.hands.closed == [{"p1": "MARGIN_RATIO"}]
    assert [row.guard for row in rig.hands.alerts] == ["margin_ratio", "venue_unreachable"]


async def test_a_flip_is_told_after_three_readings() -> None:
    """A short that pays is found by the rates as they are read."""
    rig = DeskRig(opened())
    rig.perp.rows = {"BTCUSDT": LegMarket(D(100), D(100), D("-0.0008"), 8 * HOUR)}
    for _ in range(3):
        await rig.desk.round()
    assert [(row.guard, row.action) for row in rig.hands.alerts] == [("funding_flip", ALERT)]


async def test_one_silent_venue_does_not_blind_the_other() -> None:
    """Spot does not answer, and the perpetual's account is judged all the same."""
    rig = DeskRig(opened())
    rig.spot.silent = True
    rig.demand("0.9")
    await rig.desk.round()
    assert len(rig.hands.closed) == 1


async def test_what_is_missing_is_looked_at_twice() -> None:
    """A venue's account may lag behind its fills: the second look acts, the first only tells."""
    rig = DeskRig(opened())
    rig.perp.facts = AccountFacts()
    await rig.desk.round()
    assert (rig.hands.closed, rig.hands.tripped) == ([], {})
    await rig.desk.round()
    assert rig.hands.closed == [{"p1": "FORCED_FILL"}]
    assert actions(tuple(rig.hands.alerts)) == [ALERT, CLOSE]


async def test_a_position_that_moved_meanwhile_misses_nothing() -> None:
    """What came to rest while the venue answered is not in its answer yet."""
    rig = DeskRig(opened())
    rig.perp.facts = AccountFacts()

    async def moving() -> Mapping[str, LegMarket]:
        rig.positions = [fold(rig.positions[0], ev.ExitDispatched("p1", START, HOUR))]
        return {}

    rig.perp.markets = moving  # type: ignore[method-assign]  # the world moves while it answers
    for _ in range(3):
        await rig.desk.round()
    assert (rig.hands.closed, rig.hands.alerts) == ([], [])


async def test_an_answer_of_before_an_entry_misses_nothing_of_it() -> None:
    """A venue that does not answer any more has not said that the new position is gone."""
    rig = DeskRig(opened("p1"))
    rig.perp.facts = AccountFacts()
    await rig.desk.round()
    rig.perp.silent = True
    rig.positions = [opened("p2")]
    for _ in range(3):
        await rig.desk.round()
    assert rig.hands.closed == []
    rig.perp.silent = False
    for _ in range(2):
        await rig.desk.round()
    assert rig.hands.closed == [{"p2": "FORCED_FILL"}]


async def test_figures_of_a_venue_that_was_left_are_forgotten() -> None:
    """What was an emergency an hour ago closes nothing that was entered since, nor values it."""
    rig = DeskRig(opened("p1"))
    rig.demand("0.9")
    await rig.desk.round()
    rig.positions, rig.hands.closed = [], []
    await rig.desk.round()
    await rig.clock.pass_time(3600)
    rig.perp.silent = True
    rig.positions = [opened("p2")]
    assert rig.desk.marks() == {}
    await rig.desk.round()
    assert rig.hands.closed == []
