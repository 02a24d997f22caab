"""The gateway against a scripted connector: what each answer, and each silence, proves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from opensqt.market_maker.v1 import (
    exchange_pb2,
    exchange_pb2_grpc,
    instrument_pb2,
    resources_pb2,
    types_pb2,
)
from services.common.channels import open_channel
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
from services.common.time_codec import from_timestamp
from services.engine.connector_codec import order_from_proto, rules_from_proto
from services.engine.connector_gateway import ConnectorGateway, place_request
from services.engine.instruments import InstrumentKind, PositionMode
from services.engine.ports import VenueGateway
from tests.support.connector_messages import (
    funding_payment,
    number,
    order,
    order_book,
    symbol_info,
    trading_fee,
)
from tests.support.engine_views import order_plan
from tests.support.scripted_service import (
    Relay,
    ScriptedService,
    served,
    served_by_stranger,
)

NAME = "binanceusdm"
SINCE = datetime(2026, 3, 1, tzinfo=UTC)
WAIT = 10.0
Answer = Any


def scripted(**answers: Answer) -> ScriptedService:
    """Return a connector of a perpetual venue with some answers of its own."""
    script = ScriptedService(exchange_pb2.DESCRIPTOR.services_by_name["ExchangeService"])
    script.answers = {
        "GetName": exchange_pb2.GetNameResponse(name=NAME),
        "GetType": exchange_pb2.GetTypeResponse(
            kind=instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
            position_mode=types_pb2.POSITION_MODE_ONE_WAY,
            fence=Duration(seconds=16),
        ),
        "PlaceOrder": order(),
        "GetOrder": order(),
        "GetSymbolInfo": symbol_info(),
        "GetTradingFees": exchange_pb2.GetTradingFeesResponse(fees=[trading_fee()]),
        "GetAccountConfiguration": exchange_pb2.GetAccountConfigurationResponse(leverage=5),
        "GetOrderBook": order_book(),
        **answers,
    }
    return script


@asynccontextmanager
async def gateway_to(address: str, **options: Any) -> AsyncIterator[ConnectorGateway]:
    """Open a gateway to an address."""
    seconds: dict[str, float] = {"call_seconds": 5.0, "place_seconds": 5.0}
    kind = options.pop("kind", InstrumentKind.PERPETUAL)
    channel = open_channel(address)
    stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
    try:
        yield ConnectorGateway(NAME, kind, stub, **{**seconds, **options})
    finally:
        await channel.close()


@asynccontextmanager
async def gateway(script: ScriptedService, **options: Any) -> AsyncIterator[ConnectorGateway]:
    """Serve a script and open a gateway to it."""
    async with served(script) as address, gateway_to(address, **options) as opened:
        yield opened


async def raised(call: Awaitable[object]) -> OpensqtError:
    """Return the error of a call that must fail with one of ours."""
    with pytest.raises(OpensqtError) as caught:
        await call
    return caught.value


async def _never(_request: object, _context: object) -> Any:
    await asyncio.Event().wait()


def _abort(code: grpc.StatusCode, text: str) -> Callable[[Any, Any], Awaitable[Any]]:
    async def answer(_request: Any, context: Any) -> None:
        await context.abort(code, text)

    return answer


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
    script = scripted(PlaceOrder=_abort(code, "ORDER_REJECTED"))
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        error = await raised(venue.place(order_plan()))
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_deadline_that_passes_is_an_unknown_outcome() -> None:
    """The connector has the order and says nothing."""
    script = scripted(PlaceOrder=_never)
    async with gateway(script, place_seconds=0.2) as venue:
        error = await raised(venue.place(order_plan()))
        await venue.profile()
    assert _unknown(error)
    assert len(script.requests["PlaceOrder"]) == 1


async def test_a_connection_cut_in_mid_call_is_an_unknown_outcome_and_sends_nothing_again() -> None:
    """The transport says UNAVAILABLE; on the next connection the order does not go out again."""
    script = scripted(PlaceOrder=_never)
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
    script = scripted(PlaceOrder=_never)
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


@pytest.mark.parametrize("answer", [_abort(grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND"), b"\xff"])
async def test_a_stranger_cannot_say_that_an_order_is_absent(answer: Answer) -> None:
    """A proxy without route answers NOT_FOUND as well."""
    script = scripted(GetOrder=answer)
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        error = await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False))
    assert isinstance(error, RetryableError)


async def test_a_silent_connector_is_asked_again_later() -> None:
    """A question has its deadline; it is not repeated behind the core's back."""
    script = scripted(GetOrder=_never)
    async with gateway(script, call_seconds=0.2) as venue:
        error = await raised(venue.get_order("BTCUSDT", "aorder1", use_margin=False))
    assert isinstance(error, RetryableError)
    assert len(script.requests["GetOrder"]) == 1


async def test_the_profile_is_read_once() -> None:
    """Kind, mode and fence do not change while a connector runs."""
    script = scripted()
    async with gateway(script) as venue:
        first, second = await venue.profile(), await venue.profile()
    assert first == second
    assert (first.name, first.kind) == (NAME, InstrumentKind.PERPETUAL)
    assert first.fence == timedelta(seconds=16)
    assert first.position_mode is PositionMode.ONE_WAY
    assert len(script.requests["GetType"]) == 1


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"GetName": exchange_pb2.GetNameResponse(name="another")}, "VENUE_MISMATCH"),
        (
            {
                "GetType": exchange_pb2.GetTypeResponse(
                    kind=instrument_pb2.INSTRUMENT_KIND_SPOT, fence=Duration(seconds=16)
                )
            },
            "VENUE_MISMATCH",
        ),
        ({"GetType": exchange_pb2.GetTypeResponse(fence=Duration(seconds=1))}, "VENUE_MISMATCH"),
        (
            {
                "GetType": exchange_pb2.GetTypeResponse(
                    kind=instrument_pb2.INSTRUMENT_KIND_PERPETUAL
                )
            },
            "CONNECTOR_INCOMPLETE",
        ),
    ],
    ids=["name", "kind", "no kind", "no fence"],
)
async def test_a_connector_of_another_venue_is_refused(
    answers: dict[str, Answer], reason: str
) -> None:
    """Two addresses swapped would sell where it should buy."""
    async with gateway(scripted(**answers)) as venue:
        error = await raised(venue.profile())
    assert isinstance(error, FatalError)
    assert error.reason == reason


async def test_rules_join_symbol_fees_and_leverage() -> None:
    """Three answers make the rules of one instrument."""
    async with gateway(scripted()) as venue:
        rules = await venue.rules("BTCUSDT", use_margin=False)
    assert rules == rules_from_proto(NAME, symbol_info(), [trading_fee()], 5, use_margin=False)
    assert rules.initial_margin_ratio == Decimal("0.2")


@pytest.mark.parametrize(
    ("answers", "kind", "reason"),
    [
        (
            {"GetSymbolInfo": NotFoundError("?", reason="SYMBOL_NOT_FOUND")},
            NotFoundError,
            "SYMBOL_NOT_FOUND",
        ),
        (
            {"GetTradingFees": exchange_pb2.GetTradingFeesResponse()},
            PreconditionError,
            "FEES_UNKNOWN",
        ),
        ({"GetSymbolInfo": symbol_info(symbol="ETHUSDT")}, FatalError, "CONNECTOR_INVALID"),
        ({"GetSymbolInfo": symbol_info(step_size="0")}, FatalError, "CONNECTOR_INVALID"),
    ],
    ids=["unknown symbol", "no fees", "another symbol", "no lot"],
)
async def test_rules_that_cannot_be_had_are_not_made_up(
    answers: dict[str, Answer], kind: type[OpensqtError], reason: str
) -> None:
    """The entry is refused with the cause."""
    async with gateway(scripted(**answers)) as venue:
        error = await raised(venue.rules("BTCUSDT", use_margin=False))
    assert type(error) is kind
    assert error.reason == reason


async def test_leverage_is_not_asked_of_spot_and_not_needed_of_a_perpetual() -> None:
    """A connector that cannot tell costs margin, not the entry."""
    cannot = scripted(GetAccountConfiguration=UnimplementedError("no"))
    async with gateway(cannot) as venue:
        assert (await venue.rules("BTCUSDT", use_margin=False)).initial_margin_ratio == 1
    spot = scripted(
        GetSymbolInfo=symbol_info(kind=instrument_pb2.INSTRUMENT_KIND_SPOT),
        GetAccountConfiguration=FatalError("never ask"),
    )
    async with gateway(spot, kind=InstrumentKind.SPOT) as venue:
        assert (await venue.rules("BTCUSDT", use_margin=False)).initial_margin_ratio == 1


async def test_the_book_is_asked_for_with_its_depth() -> None:
    """Each time anew."""
    script = scripted()
    async with gateway(script) as venue:
        book = await venue.book("BTCUSDT", 50)
        await venue.book("BTCUSDT", 50)
    assert book.bids[0].price == Decimal("99.5")
    asked = exchange_pb2.GetOrderBookRequest(symbol="BTCUSDT", depth=50)
    assert script.requests["GetOrderBook"] == [asked, asked]


async def test_a_read_is_asked_again_after_an_unreachable_moment() -> None:
    """Reads change nothing, so a moment's silence costs nothing."""
    script = scripted(GetOrderBook=[UnreachableError("a moment"), order_book()])
    async with gateway(script) as venue:
        assert (await venue.book("BTCUSDT", 5)).asks
    assert len(script.requests["GetOrderBook"]) == 2


async def test_a_read_nobody_answers_is_retryable() -> None:
    """The port promises the core this class."""
    async with served(scripted()) as address:
        pass
    async with gateway_to(address) as venue:
        assert isinstance(await raised(venue.book("BTCUSDT", 5)), RetryableError)
    async with gateway(scripted(GetOrderBook=_never), call_seconds=0.2) as venue:
        assert isinstance(await raised(venue.book("BTCUSDT", 5)), RetryableError)


async def test_a_reply_that_is_no_message_is_the_connectors_fault() -> None:
    """gRPC gives nothing in its place, and nothing is not an empty book."""
    script = scripted(GetOrderBook=b"\xff\xff")
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        assert (await raised(venue.book("BTCUSDT", 5))).reason == "CONNECTOR_INVALID"


def _positions(*rows: tuple[str, str | None]) -> exchange_pb2.GetPositionsResponse:
    return exchange_pb2.GetPositionsResponse(
        positions=[
            resources_pb2.Position(symbol=symbol, size=None if size is None else number(size))
            for symbol, size in rows
        ]
    )


async def test_a_position_is_the_sum_of_its_sides() -> None:
    """Hedge mode has two rows, other symbols do not count, no row is none."""
    rows = _positions(("BTCUSDT", "0.5"), ("BTCUSDT", "-0.2"), ("ETHUSDT", "9"))
    async with gateway(scripted(GetPositions=[rows, _positions()])) as venue:
        assert await venue.position("BTCUSDT") == Decimal("0.3")
        assert await venue.position("BTCUSDT") == 0


@pytest.mark.parametrize("size", [None, "", "NaN"])
async def test_a_position_of_unknown_size_is_refused(size: str | None) -> None:
    """It is not zero: the user's own position must never be taken for none."""
    async with gateway(scripted(GetPositions=_positions(("BTCUSDT", size)))) as venue:
        assert isinstance(await raised(venue.position("BTCUSDT")), FatalError)


async def test_the_free_balance_is_the_free_one() -> None:
    """Not what is locked; and absent is not zero."""
    balance = exchange_pb2.GetBalanceResponse(free=number("12.5"), locked=number("99"))
    empty = exchange_pb2.GetBalanceResponse(locked=number("99"))
    async with gateway(scripted(GetBalance=[balance, empty])) as venue:
        assert await venue.free_balance("USDT") == Decimal("12.5")
        error = await raised(venue.free_balance("USDT"))
    assert error.reason == "CONNECTOR_INCOMPLETE"


def _page(token: str, *ids: str) -> exchange_pb2.GetFundingPaymentsResponse:
    return exchange_pb2.GetFundingPaymentsResponse(
        payments=[funding_payment(payment_id=name) for name in ids], next_page_token=token
    )


async def test_funding_payments_are_read_to_the_last_page() -> None:
    """Each page is asked for by the token of the one before; an empty page is no end."""
    script = scripted(GetFundingPayments=[_page("a", "1", "2"), _page("b"), _page("", "3")])
    async with gateway(script) as venue:
        payments = await venue.funding_payments("BTCUSDT", SINCE)
    assert [payment.payment_id for payment in payments] == ["1", "2", "3"]
    requests = script.requests["GetFundingPayments"]
    assert [request.page_token for request in requests] == ["", "a", "b"]
    assert {request.symbol for request in requests} == {"BTCUSDT"}
    assert {from_timestamp(request.start_time) for request in requests} == {SINCE}


async def test_pages_that_go_round_are_refused() -> None:
    """They would never end, and book each payment without end."""
    script = scripted(GetFundingPayments=[_page("a", "1"), _page("b", "2"), _page("a", "1")])
    async with gateway(script) as venue:
        error = await raised(venue.funding_payments("BTCUSDT", SINCE))
    assert error.reason == "CONNECTOR_INVALID"
    assert len(script.requests["GetFundingPayments"]) == 3
