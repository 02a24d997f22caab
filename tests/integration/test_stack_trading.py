"""Every shape of position, commands and limits through the whole system of processes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_reflection.v1alpha import reflection_pb2

from cli.clients import connector_client
from cli.demo.books import Books, changed_coins
from cli.demo.result import QUOTE_ASSETS
from cli.demo.stack import PERPETUAL
from opensqt.market_maker.v1 import (
    engine_pb2,
    resources_pb2,
    risk_pb2,
    risk_pb2_grpc,
    types_pb2,
)
from services.common.call_errors import from_call_error
from services.common.channels import open_channel
from services.common.codec import decimal_to_proto, require_decimal
from services.common.settings import EndpointSettings, read_secret
from tests.support.echo_service import reflection_stub
from tests.support.stack import (
    CLOSED,
    LONG,
    NOTIONAL,
    OPEN,
    SHORT,
    StackDriver,
    classes,
    running_stack,
    stack_options,
)

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Five processes are started first, on cores that other tests share.
    pytest.mark.timeout(300),
]

OWN_COINS = {"BTC": "0.5", "ETH": "3", "PEPE": "1234567", "LINK": "7.777", "BNB": "1"}
"""Coins of the user's own, some of them in symbols that are traded here."""
OWN_SYMBOL = "DEFIUSDT"
"""A perpetual in which the user holds a position of the user's own."""
OWN_TRADED = "TRXUSDT"
"""The same in a symbol that could be traded on both venues."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackDriver]:
    """Run the whole system for this module, the account with coins and positions of the user's."""
    folder: Path = tmp_path_factory.mktemp("stack")
    options = stack_options(spot_balances={"USDT": "200000", **OWN_COINS})
    options.tables["engine"]["guards"] = {"interval": 1}
    options.tables["engine"]["policy"] |= {"reconcile_interval": 1, "reconcile_confirm_wait": 0.2}
    async with running_stack(folder, options) as driver:
        for symbol, quantity in ((OWN_SYMBOL, "1"), (OWN_TRADED, "500")):
            await _buy_for_the_user(driver, symbol, quantity)
        yield driver


async def _buy_for_the_user(stack: StackDriver, symbol: str, quantity: str) -> None:
    venues = {venue.name: venue for venue in stack.stack.arb_settings().connectors}
    async with connector_client(venues[PERPETUAL]) as connector:
        await connector.PlaceOrder(
            resources_pb2.PlaceOrderRequest(
                symbol=symbol,
                side=types_pb2.ORDER_SIDE_BUY,
                type=types_pb2.ORDER_TYPE_MARKET,
                quantity=decimal_to_proto(Decimal(quantity)),
                client_order_id=f"own{symbol.lower()}",
            )
        )


async def _assert_only_dust_changed(stack: StackDriver, before: Books, *traded: str) -> None:
    """Check that no perpetual changed, and of the coins those traded by less than a lot."""
    after = await stack.books()
    assert after.positions == before.positions
    lots = {m.base_asset: m.larger_lot for m in [await stack.market(symbol) for symbol in traded]}
    changes = changed_coins(before, after, QUOTE_ASSETS)
    assert changes.keys() <= lots.keys()
    for asset, change in changes.items():
        assert abs(change) < lots[asset], asset
    assert after.duplicate_ids == ()


@pytest.mark.parametrize(
    ("symbol", "spot_is_long", "lead"),
    [
        ("BTCUSDT", True, LONG),
        ("ETHUSDT", True, SHORT),
        ("BNBUSDT", False, LONG),
        ("LINKUSDT", False, SHORT),
        ("PEPEUSDT", True, LONG),
        ("PEPEUSDT", True, SHORT),
        ("PEPEUSDT", False, LONG),
        ("SHIBUSDT", False, SHORT),
    ],
)
async def test_every_shape_opens_matched_and_closes_flat(
    stack: StackDriver, symbol: str, spot_is_long: bool, lead: engine_pb2.LegSide.ValueType
) -> None:
    """Spot long or sold on margin, either leg leading, single coins and thousands of them."""
    before = await stack.books()
    position = await stack.enter(symbol, spot_is_long=spot_is_long, lead=lead)
    held = await stack.assert_matched_or_flat(position, before)
    assert position.state == OPEN, position
    long, short = (held.spot, held.perpetual) if spot_is_long else (held.perpetual, held.spot)
    assert short < 0 < long
    closed = await stack.leave(position)
    assert closed.state == CLOSED, closed
    await _assert_only_dust_changed(stack, before, symbol)
    assert sorted(classes(await stack.orders(closed))) == ["entry", "exit", "exit", "hedge"]


@pytest.mark.parametrize("spot_is_long", [True, False])
async def test_a_reduction_by_half_keeps_the_legs_matched(
    stack: StackDriver, spot_is_long: bool
) -> None:
    """Both legs shrink to half and stay open; the rest closes flat."""
    symbol = "XRPUSDT"
    before = await stack.books()
    position = await stack.enter(symbol, spot_is_long=spot_is_long)
    whole = await stack.assert_matched_or_flat(position, before)
    reduced = await stack.reduce(position, Decimal("0.5"))
    half = await stack.assert_matched_or_flat(reduced, before)
    lot = (await stack.market(symbol)).larger_lot
    assert reduced.state == OPEN, reduced
    assert abs(half.perpetual - whole.perpetual / 2) <= lot
    assert abs(half.spot - whole.spot / 2) <= 2 * lot
    assert (await stack.leave(reduced)).state == CLOSED
    await _assert_only_dust_changed(stack, before, symbol)


async def test_close_all_ends_every_position_and_nothing_else(stack: StackDriver) -> None:
    """Three positions at once end flat; the user's coins and own perpetuals stay."""
    symbols = ("ADAUSDT", "LTCUSDT", "DOGEUSDT")
    before = await stack.books()
    entered = await asyncio.gather(*(stack.enter(symbol) for symbol in symbols))
    assert [position.state for position in entered] == [OPEN] * 3
    ended = await stack.leave_all()
    assert {position.position_id for position in ended} == {p.position_id for p in entered}
    assert all(position.state == CLOSED for position in ended), ended
    await _assert_only_dust_changed(stack, before, *symbols)
    assert set(before.positions) == {OWN_SYMBOL, OWN_TRADED}


async def test_a_halted_engine_refuses_entries_and_still_exits(stack: StackDriver) -> None:
    """While halted nothing is opened, also after a restart; exits and reductions go through."""
    before = await stack.books()
    position = await stack.enter("ADAUSDT")
    request = engine_pb2.HaltRequest(request_id=str(uuid.uuid4()), reason="a person said so")
    await stack.engine.Halt(request)
    requests = await stack.control.get("requests")
    assert await _refusal(stack, "LTCUSDT") == "ENGINE_HALTED"
    assert await stack.control.get("requests") == requests
    reduced = await stack.reduce(position, Decimal("0.5"))
    assert reduced.state == OPEN, reduced
    await stack.crash("engine")
    assert await _refusal(stack, "LTCUSDT") == "ENGINE_HALTED"
    assert (await stack.leave(position)).state == CLOSED
    await _assert_only_dust_changed(stack, before, "ADAUSDT")
    await stack.resume()
    assert (await stack.leave(await stack.enter("LTCUSDT"))).state == CLOSED


async def test_a_perpetual_the_user_holds_is_never_entered(stack: StackDriver) -> None:
    """A position of the user's own would mix with ours: the entry is refused, nothing is sent."""
    before = await stack.books()
    requests = await stack.control.get("requests")
    assert await _refusal(stack, OWN_TRADED) == "ENTRY_CHECKS_FAILED"
    assert await stack.control.get("requests") == requests
    assert await stack.books() == before


async def test_the_same_request_sent_twice_opens_one_position(stack: StackDriver) -> None:
    """Two calls with one request id, at the same time and later, return one position."""
    symbol, request_id = "ADAUSDT", str(uuid.uuid4())
    before = await stack.books()
    calls = (stack.open(symbol, request_id=request_id) for _ in range(2))
    first, second = await asyncio.gather(*calls)
    assert first.position_id == second.position_id
    position = await stack.settled(first)
    again = await stack.open(symbol, request_id=request_id)
    assert again.position_id == position.position_id
    assert sorted(classes(await stack.orders(position))) == ["entry", "hedge"]
    await stack.assert_matched_or_flat(position, before)
    assert (await stack.leave(position)).state == CLOSED


async def test_the_request_id_of_another_entry_is_refused(stack: StackDriver) -> None:
    """The id with other content is no repetition: it is told apart and nothing is sent."""
    request_id = str(uuid.uuid4())
    position = await stack.enter("ADAUSDT", request_id=request_id)
    requests = await stack.control.get("requests")
    assert await _refusal(stack, "LTCUSDT", request_id) == "REQUEST_ID_REUSED"
    assert await stack.control.get("requests") == requests
    assert (await stack.leave(position)).state == CLOSED


async def _refusal(stack: StackDriver, symbol: str, request_id: str = "") -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stack.open(symbol, request_id=request_id)
    return from_call_error(refused.value).reason


async def test_risk_is_told_and_stopped_by_the_wire(stack: StackDriver) -> None:
    """Figures come from the ledger and the venue's marks; a breaker stops entries, not exits."""
    engine = stack.stack.arb_settings().engine
    assert engine.token_file is not None
    position = await stack.enter("LTCUSDT")
    async with open_channel(engine.address, token=read_secret(engine.token_file)) as channel:
        risk = risk_pb2_grpc.RiskServiceStub(channel)

        async def marked() -> bool:
            (row,) = (await risk.GetRiskMetrics(asked)).metrics
            return row.HasField("last_price") and row.HasField("unrealized_pnl")

        asked = risk_pb2.GetRiskMetricsRequest(symbols=["LTCUSDT"])
        await stack.until(marked, "guards have read the venue's marks")
        (row,) = (await risk.GetRiskMetrics(asked)).metrics
        total = require_decimal(row, "notional_value")
        assert NOTIONAL < total < 3 * NOTIONAL
        await risk.OpenCircuitBreaker(
            risk_pb2.OpenCircuitBreakerRequest(symbol="LTCUSDT", reason="test")
        )
        assert (await stack.leave(position)).state == CLOSED
        assert await _refusal(stack, "LTCUSDT") == "SYMBOL_HALTED"
        await risk.CloseCircuitBreaker(risk_pb2.CloseCircuitBreakerRequest(symbol="LTCUSDT"))
    assert (await stack.leave(await stack.enter("LTCUSDT"))).state == CLOSED


async def _compared(stack: StackDriver) -> dict[str, risk_pb2.ReconciliationResult]:
    """Have ledger and venues compared and return the rows by symbol."""
    engine = stack.stack.arb_settings().engine
    assert engine.token_file is not None
    async with open_channel(engine.address, token=read_secret(engine.token_file)) as channel:
        risk = risk_pb2_grpc.RiskServiceStub(channel)
        started = await risk.TriggerReconciliation(risk_pb2.TriggerReconciliationRequest())
        asked = risk_pb2.GetReconciliationStatusRequest(reconciliation_id=started.reconciliation_id)

        async def completed() -> bool:
            return (await risk.GetReconciliationStatus(asked)).status == "completed"

        await stack.until(completed, "ledger and venues are compared")
        return {row.symbol: row for row in (await risk.GetReconciliationStatus(asked)).results}


async def test_ledger_and_venues_agree_beside_the_users_own(stack: StackDriver) -> None:
    """Long and borrowed spot, with coins of the user's own in the same wallet."""
    entered = [await stack.enter("BTCUSDT"), await stack.enter("LINKUSDT", spot_is_long=False)]
    rows = await _compared(stack)
    for symbol in ("BTCUSDT", "LINKUSDT"):
        assert rows[symbol].position_match, rows[symbol]
        assert rows[symbol].HasField("divergence")
    status = (await stack.engine.GetStatus(engine_pb2.GetStatusRequest())).status
    assert (status.reconciled, status.state_reason) == (True, "")
    for position in entered:
        assert (await stack.leave(position)).state == CLOSED
    assert all(row.position_match for row in (await _compared(stack)).values())


async def test_a_leg_closed_by_hand_takes_the_other_one_down(stack: StackDriver) -> None:
    """The user's own order closes the perpetual: the coins that hedged it are sold."""
    symbol = "XRPUSDT"
    before = await stack.books()
    position = await stack.enter(symbol)
    short = (await stack.holding(symbol, before)).perpetual
    await _buy_for_the_user(stack, symbol, str(-short))

    async def ended() -> bool:
        return (await stack.get(position.position_id)).state == CLOSED

    await stack.until(ended, "the other leg is down")
    await _assert_only_dust_changed(stack, before, symbol)
    assert (await _compared(stack))[symbol].position_match


async def test_reflection_lists_what_each_service_answers(stack: StackDriver) -> None:
    """A tool that has no .proto file, as grpcurl, finds every service and its description."""
    settings = stack.stack.arb_settings()
    package = "opensqt.market_maker.v1"
    endpoints: list[tuple[EndpointSettings, set[str]]] = [
        (settings.scanner, {"ScannerService"}),
        (
            settings.engine,
            {"EngineService", "PortfolioService", "RiskService", "PositionService"},
        ),
        *((venue, {"ExchangeService"}) for venue in settings.connectors),
    ]
    for endpoint, names in endpoints:
        assert endpoint.token_file is not None
        token = read_secret(endpoint.token_file)
        async with open_channel(endpoint.address, token=token) as channel:
            asked = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                *(
                    reflection_pb2.ServerReflectionRequest(
                        file_containing_symbol=f"{package}.{name}"
                    )
                    for name in sorted(names)
                ),
            ]
            answers = reflection_stub(channel).ServerReflectionInfo(iter(asked))
            listed, *described = [answer async for answer in answers]
        found = {service.name for service in listed.list_services_response.service}
        assert {f"{package}.{name}" for name in names} <= found
        assert all(answer.HasField("file_descriptor_response") for answer in described)
