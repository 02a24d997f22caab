"""The margin an entry would leave: what the guards would act upon at once is not entered."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.common.errors import UnimplementedError
from services.engine.entry_desk import EntryRefusedError
from services.engine.guard_desk import GuardNeeds
from services.engine.guard_facts import GuardLimits, GuardPace, LegMarket
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import InstrumentKind, LegSide
from services.engine.margin_room import MarginRoom, check_margin_room, room_of
from services.engine.risk_alerts import AlertFeed
from tests.support.engine_rig import EngineRig, MemoryJournal, make_rules
from tests.support.virtual_clock import VirtualClock

D = Decimal
SPOT = make_rules("spot", InstrumentKind.SPOT)
PERP = make_rules("perp", InstrumentKind.PERPETUAL, taker_fee_ratio=D(0))
LIMITS = GuardLimits()


class Reader:
    """One futures account as its connector tells it."""

    def __init__(self, facts: AccountFacts | None) -> None:
        self.facts = facts

    async def account(self) -> AccountFacts:
        """Answer it, or that the connector does not."""
        if self.facts is None:
            raise UnimplementedError("no account here")
        return self.facts

    async def markets(self) -> dict[str, LegMarket]:
        """Answer nothing."""
        return {}


@pytest.mark.parametrize(
    ("holdings", "balance", "maintenance", "notional"),
    [
        ({}, "100", "5", "0"),
        ({"A": HoldingFacts(D(-2), D(50)), "B": HoldingFacts(D(1), D(10))}, "100", "5", "110"),
        ({"A": HoldingFacts(D(0))}, "100", "5", "0"),
        ({"A": HoldingFacts(D(-2))}, "100", "5", None),
        ({}, None, "5", None),
        ({}, "100", None, None),
    ],
)
def test_the_room_of_an_account_is_known_or_not(
    holdings: dict[str, HoldingFacts],
    balance: str | None,
    maintenance: str | None,
    notional: str | None,
) -> None:
    """Positions count unsigned at their marks; what is not told is no room at all."""
    facts = AccountFacts(
        holdings,
        balance=None if balance is None else D(balance),
        maintenance=None if maintenance is None else D(maintenance),
    )
    room = room_of(facts)
    if notional is None:
        assert room is None
    else:
        assert room == MarginRoom(D(100), D(5), D(notional))


@pytest.mark.parametrize(
    ("room", "added", "reasons"),
    [
        # Maintenance of the entry: a half of its initial margin of a fifth.
        (MarginRoom(D(1000), D(0), D(0)), "3900", []),
        (MarginRoom(D(1000), D(0), D(0)), "4000", ["LIQUIDATION_AFTER_ENTRY"]),
        (
            MarginRoom(D(1000), D(0), D(0)),
            "6000",
            ["MARGIN_AFTER_ENTRY", "LIQUIDATION_AFTER_ENTRY"],
        ),
        (MarginRoom(D(1000), D(500), D(0)), "999", []),
        (MarginRoom(D(1000), D(500), D(0)), "1000", ["MARGIN_AFTER_ENTRY"]),
        (MarginRoom(D(1000), D(0), D(5000)), "1000", ["LIQUIDATION_AFTER_ENTRY"]),
        (MarginRoom(D(-1), D(0), D(0)), "1", ["MARGIN_AFTER_ENTRY", "LIQUIDATION_AFTER_ENTRY"]),
    ],
)
def test_an_entry_leaves_its_account_clear_of_the_guards(
    room: MarginRoom, added: str, reasons: list[str]
) -> None:
    """Neither halved for its margin nor stopped for its distance by the entry itself."""
    failures = check_margin_room(LegSide.SHORT, PERP, room, D(added), LIMITS)
    assert [failure.reason for failure in failures] == reasons
    assert all(failure.leg is LegSide.SHORT for failure in failures)
    assert check_margin_room(LegSide.SHORT, PERP, None, D(added), LIMITS) == ()
    assert check_margin_room(LegSide.LONG, SPOT, room, D(added), LIMITS) == ()
    unbounded = GuardLimits(margin_warn_ratio=None, liquidation_warn_distance=None)
    assert check_margin_room(LegSide.SHORT, PERP, room, D(added), unbounded) == ()


@pytest.mark.parametrize(
    ("facts", "is_taken"),
    [
        (AccountFacts(balance=D(1000), maintenance=D(0)), True),
        (AccountFacts(balance=D(20), maintenance=D(0)), False),
        (AccountFacts(), True),
        (None, True),
    ],
)
async def test_the_engine_reads_the_account_before_it_enters(
    facts: AccountFacts | None, *, is_taken: bool
) -> None:
    """What its connector tells is judged; one that tells nothing keeps nothing out."""
    clock = VirtualClock()
    rig = EngineRig(clock, MemoryJournal())
    rig.extras["guards"] = GuardNeeds(
        {"perp": Reader(facts)}, AlertFeed(clock), LIMITS, GuardPace()
    )
    rig.new_engine()
    await rig.start()
    if is_taken:
        await rig.call(rig.engine.open(rig.open_command("1")))
    else:
        with pytest.raises(EntryRefusedError) as refusal:
            await rig.call(rig.engine.open(rig.open_command("1")))
        assert {f.reason for f in refusal.value.failures} == {"LIQUIDATION_AFTER_ENTRY"}
    await rig.close_rig()
