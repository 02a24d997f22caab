"""Orders through the gateway: what each answer, and each silence, of a connector proves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta

import grpc
import pytest

from opensqt.market_maker.v1 import (
    exchange_pb2,
    types_pb2,
)
from services.common.errors import (
    AlreadyExistsError,
    AuthError,
    Code,
    FatalError,
    InvalidFieldError,
    NotFoundError,
    OpensqtError,
    OutcomeUnknownError,
    PreconditionError,
    RejectedError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.engine.connector_codec import order_from_proto
from services.engine.connector_gateway import ConnectorGateway
from services.engine.order_request import place_request
from services.engine.orders import OrderOutcome
from services.engine.ports import VenueGateway
from tests.support.connector_messages import (
    order,
)
from tests.support.engine_views import order_plan
from tests.support.gateway_rig import (
    NAME,
    WAIT,
    Answer,
    abort,
    gateway,
    gateway_to,
    never,
    raised,
    scripted,
)
from tests.support.scripted_service import (
    Relay,
    served,
    served_by_stranger,
)


def test_the_gateway_is_the_port_the_core_knows() -> None:
    """The type checker compares every method; the engine takes no other."""
    opened: type[VenueGateway] = ConnectorGateway
    assert opened is ConnectorGateway


async def test_a_placed_order_arrives_whole_and_comes_back_whole() -> None:
    """What is sent is the plan, what comes back is what the connector said."""
    script = scripted()
    async with gateway(script) as venue:
        outcome = await venue.place(order_plan())
    assert outcome == order_from_proto(order())
    assert script.requests["PlaceOrder"] == [place_request(order_plan())]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (exchange_pb2.CancelOrderResponse(order=order()), order_from_proto(order())),
        (exchange_pb2.CancelOrderResponse(), None),
        (b"\xff\xff\xff", None),
    ],
)
async def test_a_cancel_answers_what_the_order_had_filled(
    answer: object, outcome: OrderOutcome | None
) -> None:
    """By our own id; None where the connector could not read the order afterwards."""
    script = scripted(CancelOrder=answer)
    async with gateway(script) as venue:
        assert await venue.cancel_order("BTCUSDT", "aorder1", use_margin=False) == outcome
    request = exchange_pb2.CancelOrderRequest(symbol="BTCUSDT", client_order_id="aorder1")
    assert script.requests["CancelOrder"] == [request]


@pytest.mark.parametrize(
    ("problem", "kind", "reason"),
    [
        (RejectedError("no"), RejectedError, "ORDER_REJECTED"),
        (PreconditionError("poor", reason="BALANCE_INSUFFICIENT"), PreconditionError, None),
        (InvalidFieldError("quantity", "no lot"), InvalidFieldError, "FIELD_INVALID"),
        (NotFoundError("what?", reason="SYMBOL_NOT_FOUND"), NotFoundError, "SYMBOL_NOT_FOUND"),
        (AuthError("who?"), AuthError, "TOKEN_INVALID"),
        (UnimplementedError("no margin"), UnimplementedError, "NOT_SUPPORTED"),
        (RetryableError("slow", retry_after=timedelta(seconds=3)), RetryableError, None),
        (UnreachableError("not sent"), UnreachableError, "VENUE_UNREACHABLE"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_a_connectors_own_word_that_nothing_was_done_is_a_refusal(
    problem: OpensqtError, kind: type[OpensqtError], reason: str | None
) -> None:
    """The class of the error survives the wire, and the order was sent once."""
    script = scripted(PlaceOrder=problem)
    async with gateway(script) as venue:
        error = await raised(venue.place(order_plan()))
    assert type(error) is kind
    assert error.reason == (reason or problem.reason)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_rate_limit_says_when_to_come_again() -> None:
    """RetryInfo of the connector is the wait of the error."""
    limited = RetryableError("slow down", retry_after=timedelta(seconds=2.5))
    async with gateway(scripted(PlaceOrder=limited)) as venue:
        error = await raised(venue.place(order_plan()))
    assert isinstance(error, RetryableError)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert error.retry_after == timedelta(seconds=2.5)


def _unknown(error: OpensqtError) -> bool:
    return isinstance(error, OutcomeUnknownError) and error.client_order_id == "aorder1"


@pytest.mark.parametrize(
    "answer",
    [
        OutcomeUnknownError("no word from the venue", client_order_id="aorder1"),
        FatalError("a bug"),
        RuntimeError("another bug"),
        RetryableError("late", code=Code.DEADLINE_EXCEEDED),
        RejectedError("cancelled", code=Code.CANCELLED),
        RejectedError("lost", code=Code.DATA_LOSS),
        AlreadyExistsError("that id was used"),
        b"\xff\xff\xff",
        b"",
        order(client_order_id="another"),
        order(client_order_id=""),
        order(status=types_pb2.ORDER_STATUS_UNSPECIFIED),
        order(net_quantity=None),
        order(executed_qty=None),
        order(executed_qty="NaN"),
        order(executed_qty="-1"),
        order(update_time=2**62),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_an_answer_that_proves_nothing_is_an_unknown_outcome(answer: Answer) -> None:
    """A bug, a broken or a foreign answer says nothing of the order, which was sent once."""
    script = scripted(PlaceOrder=answer)
    async with (
        served_by_stranger(script) if isinstance(answer, bytes) else served(script) as address,
        gateway_to(address) as venue,
    ):
        error = await raised(venue.place(order_plan()))
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_an_id_used_before_keeps_its_reason() -> None:
    """The order of that id is to be asked for, and the cause can still be read."""
    async with gateway(scripted(PlaceOrder=AlreadyExistsError("used"))) as venue:
        error = await raised(venue.place(order_plan()))
    assert error.reason == "CLIENT_ORDER_ID_EXISTS"


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
async def test_no_status_of_a_stranger_is_believed(code: grpc.StatusCode) -> None:
    """A proxy between us may say anything after it passed the order on."""
    script = scripted(PlaceOrder=abort(code, "ORDER_REJECTED"))
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        error = await raised(venue.place(order_plan()))
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_deadline_that_passes_is_an_unknown_outcome() -> None:
    """The connector has the order and says nothing."""
    script = scripted(PlaceOrder=never)
    async with gateway(script, place_seconds=0.2) as venue:
        error = await raised(venue.place(order_plan()))
        await venue.profile()
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_connection_cut_in_mid_call_is_an_unknown_outcome_and_sends_nothing_again() -> None:
    """The transport says UNAVAILABLE; on the next connection the order does not go out again."""
    script = scripted(PlaceOrder=never)
    async with (
        served(script) as address,
        Relay(address) as relay,
        gateway_to(relay.address) as venue,
        asyncio.timeout(WAIT),
        asyncio.TaskGroup() as group,
    ):
        placing = group.create_task(raised(venue.place(order_plan())))
        await script.arrived.wait()
        relay.cut()
        error = await placing
        assert (await venue.profile()).name == NAME
    assert _unknown(error)
    assert isinstance(error.__cause__, grpc.aio.AioRpcError)
    assert error.__cause__.code() is grpc.StatusCode.UNAVAILABLE
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_connector_killed_in_mid_call_is_an_unknown_outcome() -> None:
    """It stops with the order in its hands."""
    script = scripted(PlaceOrder=never)
    async with AsyncExitStack() as server, asyncio.timeout(WAIT), asyncio.TaskGroup() as group:
        address = await server.enter_async_context(served(script))
        async with gateway_to(address) as venue:
            placing = group.create_task(raised(venue.place(order_plan())))
            await script.arrived.wait()
            await server.aclose()
            error = await placing
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_connector_that_is_not_there_is_an_unknown_outcome_too() -> None:
    """Over a wire nothing proves that a call was not delivered."""
    async with served(scripted()) as address:
        pass
    async with gateway_to(address) as venue:
        assert _unknown(await raised(venue.place(order_plan())))


async def test_an_order_is_found_by_our_id() -> None:
    """The question carries symbol, id and wallet."""
    script = scripted()
    async with gateway(script) as venue:
        found = await venue.get_order("BTCUSDT", "aorder1", use_margin=True)
    assert found == order_from_proto(order())
    assert script.requests["GetOrder"] == [
        exchange_pb2.GetOrderRequest(symbol="BTCUSDT", client_order_id="aorder1", use_margin=True)
    ]


async def test_only_the_connectors_own_order_not_found_is_absence() -> None:
    """None is what may let an order be sent again."""
    async with gateway(scripted(GetOrder=NotFoundError("?", reason="ORDER_NOT_FOUND"))) as venue:
        assert await venue.get_order("BTCUSDT", "aorder1", use_margin=False) is None


@pytest.mark.parametrize(
    "answer",
    [
        NotFoundError("?", reason="SYMBOL_NOT_FOUND"),
        NotFoundError("?"),
        RejectedError("?", reason="ORDER_NOT_FOUND"),
        InvalidFieldError("symbol", "?", reason="ORDER_NOT_FOUND"),
        UnreachableError("no venue"),
        RetryableError("slow"),
        AuthError("who?"),
        UnimplementedError("no"),
        FatalError("bug"),
        ValueError("bug"),
        order(client_order_id="another"),
        order(net_quantity=None),
        order(executed_qty="1e999999"),
        order(update_time=2**62),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_every_other_failure_to_find_an_order_says_ask_again(answer: Answer) -> None:
    """None of them tells anything about the order."""
    async with gateway(scripted(GetOrder=answer)) as venue:
        error = await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False))
    assert isinstance(error, RetryableError)


@pytest.mark.parametrize(
    "answer",
    [
        OutcomeUnknownError("not yet", client_order_id="aorder1"),
        order(status=types_pb2.ORDER_STATUS_UNSPECIFIED),
    ],
    ids=["error", "status"],
)
async def test_a_connector_that_does_not_know_yet_is_an_unknown_outcome(answer: Answer) -> None:
    """It says so by an error or by an order without status."""
    async with gateway(scripted(GetOrder=answer)) as venue:
        assert _unknown(await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False)))


@pytest.mark.parametrize("answer", [abort(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"), b"\xff"])
async def test_a_stranger_cannot_say_that_an_order_is_absent(answer: Answer) -> None:
    """A proxy without route answers NOT_FOUND as well."""
    script = scripted(GetOrder=answer)
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        error = await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False))
    assert isinstance(error, RetryableError)


async def test_a_silent_connector_is_asked_again_later() -> None:
    """A question has its deadline; it is not repeated behind the core's back."""
    script = scripted(GetOrder=never)
    async with gateway(script, call_seconds=0.2) as venue:
        error = await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False))
    assert isinstance(error, RetryableError)
    assert len(script.requests["GetOrder"]) == 1
