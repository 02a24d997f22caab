"""Nobody attends and something dies: scanner, connector, engine; and who may send what."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.demo.stack import PERPETUAL
from opensqt.market_maker.v1 import engine_pb2
from services.engine import events as ev
from services.engine.strategy_words import DecisionAction, StrategyMode
from tests.support.fading_market import FADES, FLIPS
from tests.support.stack import CLOSED, OPEN, StackDriver, running_stack
from tests.support.unattended import Night, assert_explained, unattended_options

pytestmark = pytest.mark.timeout(240)
ADVISE, AUTO = StrategyMode.ADVISE, StrategyMode.AUTO
ENTER, HOLD, EXIT = DecisionAction.ENTER, DecisionAction.HOLD, DecisionAction.EXIT
BOTH_OPEN = {FLIPS: OPEN, FADES: OPEN}


async def _switch(stack: StackDriver, mode: engine_pb2.StrategyMode.ValueType) -> None:
    request = engine_pb2.SetStrategyModeRequest(
        request_id=str(uuid.uuid4()), mode=mode, reason="the test says so"
    )
    assert (await stack.engine.SetStrategyMode(request)).mode == mode


async def _mode(stack: StackDriver) -> engine_pb2.StrategyMode.ValueType:
    return (await stack.engine.ListDecisions(engine_pb2.ListDecisionsRequest())).mode


async def _orders_sent(stack: StackDriver) -> list[str]:
    return [
        r["client_order_id"] for r in await stack.control.get("requests") if r["client_order_id"]
    ]


async def test_advice_sends_nothing_and_a_decision_is_carried_out_once(tmp_path: Path) -> None:
    """Advise shows; auto meets a dead connector, then its own death after a decision: one entry."""
    options = unattended_options(tmp_path / "data", "advise")
    async with running_stack(tmp_path / "stack", options) as stack:
        night = Night(stack)
        await night.until_decided(ENTER, "TARGET", ADVISE)
        assert await _orders_sent(stack) == []
        await stack.kill(f"connector-{PERPETUAL}")
        await _switch(stack, engine_pb2.STRATEGY_MODE_AUTO)
        refusal = await night.until_refused()
        assert refusal.text
        # What the checks of an entry read first is held back: decided, and not entered yet.
        slow = {"type": "delay", "seconds": 6.0, "when": "before"}
        await stack.fault("slow", slow, operation="get_book", times=None)
        decided = len([d for d in await night.decided() if (d.mode, d.action) == (AUTO, ENTER)])
        await stack.stack.restart(f"connector-{PERPETUAL}")
        await night.until_entering(decided)
        await stack.crash("engine")
        assert await _mode(stack) == engine_pb2.STRATEGY_MODE_AUTO
        await night.until_state(BOTH_OPEN)
        await stack.crash("engine")
        await night.until_state(BOTH_OPEN)
        events = await night.events()
        assert len([e for e in events if isinstance(e, ev.EntryIntended)]) == 2
        assert len(set(await _orders_sent(stack))) == len(await _orders_sent(stack))
        assert_explained(events)


async def test_exits_need_no_scanner_and_entries_do(tmp_path: Path) -> None:
    """The scanner dies: nothing is entered, a flip is left all the same; started anew it counts."""
    options = unattended_options(tmp_path / "data", "auto", {FLIPS: 2})
    async with running_stack(tmp_path / "stack", options) as stack:
        night = Night(stack)
        await night.until_state(BOTH_OPEN)
        await night.pass_settlement()
        await stack.kill("scanner")
        await night.until_decided(HOLD, "NO_EVIDENCE")
        await night.pass_settlement()
        await night.until_state({FLIPS: CLOSED, FADES: OPEN})
        (exited,) = [d for d in await night.decided() if d.action is EXIT]
        assert (exited.symbol, exited.reason) == (FLIPS, "FUNDING_FLIPPED")
        began = datetime.now(UTC)
        await stack.stack.restart("scanner")

        async def followed() -> bool:
            rows = [d for d in await night.decided() if d.at > began]
            return "CARRY" in [d.reason for d in rows if d.symbol == FADES]

        await stack.until(followed, "the scanner started anew is followed", 25.0)
        await stack.kill(f"connector-{PERPETUAL}")
        await stack.stack.restart(f"connector-{PERPETUAL}")
        await night.pass_settlement()
        assert_explained(await night.events())
        for position in await stack.leave_all():
            assert position.state == CLOSED, position
        assert (await stack.books()).positions == {}
        assert {name: len(rows) for name, rows in (await night.positions()).items()} == {
            FLIPS: 1,
            FADES: 1,
        }
