"""The strategy over gRPC: its mode is set by a command, its decisions are listed with figures."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pytest

from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.call_errors import translated
from services.common.errors import InvalidFieldError
from services.engine.events import DecisionTaken
from services.engine.strategy_words import DecisionAction, Figure, StrategyMode
from tests.support.engine_api import FakeStrategy, served_engine
from tests.support.virtual_clock import START


def decision(symbol: str) -> DecisionTaken:
    """Return an advised entry."""
    return DecisionTaken(
        START,
        StrategyMode.ADVISE,
        DecisionAction.ENTER,
        "TARGET",
        symbol,
        "one",
        7,
        "",
        Decimal(1000),
        (Figure("net_apr", Decimal("0.25")),),
    )


async def test_mode_is_set_and_decisions_are_listed() -> None:
    """What is asked reaches the strategy; what it decided comes back figure by figure."""
    strategy = FakeStrategy(decision("BTCUSDT"), decision("ETHUSDT"))
    async with served_engine(strategy=strategy) as channel:
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        answer = await stub.SetStrategyMode(
            engine_pb2.SetStrategyModeRequest(
                request_id=str(uuid.uuid4()), mode=engine_pb2.STRATEGY_MODE_AUTO, reason="go"
            )
        )
        assert answer.mode == engine_pb2.STRATEGY_MODE_AUTO
        assert [c.mode for c in strategy.commands] == [StrategyMode.AUTO]
        listed = await stub.ListDecisions(engine_pb2.ListDecisionsRequest(symbols=["ETHUSDT"]))
        assert listed.mode == engine_pb2.STRATEGY_MODE_AUTO
        (row,) = listed.decisions
        assert (row.symbol, row.action) == ("ETHUSDT", engine_pb2.STRATEGY_ACTION_ENTER)
        assert row.mode == engine_pb2.STRATEGY_MODE_ADVISE
        assert row.figures["net_apr"].value == "0.25"
        assert row.notional.value == "1000"


@pytest.mark.parametrize(
    "changes", [{"mode": 0}, {"mode": 9}, {"reason": ""}, {"request_id": "mine"}], ids=str
)
async def test_incomplete_change_of_mode_is_refused(changes: dict[str, object]) -> None:
    """Mode, reason and a UUID are required; nothing is switched without them."""
    strategy = FakeStrategy()
    fields = {"request_id": str(uuid.uuid4()), "mode": 2, "reason": "try it", **changes}
    async with served_engine(strategy=strategy) as channel:
        stub = engine_pb2_grpc.EngineServiceStub(channel)
        with pytest.raises(InvalidFieldError), translated():
            await stub.SetStrategyMode(engine_pb2.SetStrategyModeRequest(**fields))  # type: ignore[arg-type]  # bad fields
    assert strategy.commands == []
