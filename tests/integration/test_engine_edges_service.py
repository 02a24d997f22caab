"""EngineService over gRPC: every method, every bad field, pages, and methods not served."""

from __future__ import annotations

from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from opensqt.market_maker.v1 import (
    engine_pb2,
    engine_pb2_grpc,
    portfolio_pb2,
    position_pb2,
    risk_pb2,
)
from services.common.call_errors import translated
from services.common.errors import (
    Code,
    InvalidFieldError,
    OpensqtError,
    PreconditionError,
    UnimplementedError,
)
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
    ResumeCommand,
)
from services.engine.view_codec import position_to_proto, ref_to_proto, status_to_proto
from services.engine.views import EngineMode, PositionStatus
from tests.support.connector_messages import number
from tests.support.engine_api import FakeEngine, served_engine
from tests.support.engine_views import PERPETUAL, SPOT, position_view, status_view

REQUEST_ID = "0b0e7a4e-3c63-4d4f-9d43-1f5f6c0f9a11"
SERVICE = engine_pb2.DESCRIPTOR.services_by_name["EngineService"]
UNARY = [method for method in SERVICE.methods if not method.server_streaming]
# The strategy answers these, not the engine's use cases.
STRATEGY = {"SetStrategyMode", "ListDecisions"}
USE_CASES = [method for method in UNARY if method.name not in STRATEGY]
DECIMAL = "google.type.Decimal"
BAD_NUMBERS = ("NaN", "Infinity", "1e999999", "1_000", "١", "", "-1")


def sound(method: str) -> Message:
    """Return a request of a method that the engine takes."""
    requests: dict[str, Message] = {
        "OpenHedgedPosition": engine_pb2.OpenHedgedPositionRequest(
            request_id=REQUEST_ID,
            long_leg=ref_to_proto(SPOT),
            short_leg=ref_to_proto(PERPETUAL),
            notional=number("1000"),
        ),
        "CloseHedgedPosition": engine_pb2.CloseHedgedPositionRequest(
            request_id=REQUEST_ID, position_id="position-1"
        ),
        "ReduceHedgedPosition": engine_pb2.ReduceHedgedPositionRequest(
            request_id=REQUEST_ID, position_id="position-1", ratio=number("0.5")
        ),
        "CloseAllHedgedPositions": engine_pb2.CloseAllHedgedPositionsRequest(
            request_id=REQUEST_ID, reason="evening"
        ),
        "GetHedgedPosition": engine_pb2.GetHedgedPositionRequest(position_id="position-1"),
        "ListHedgedPositions": engine_pb2.ListHedgedPositionsRequest(),
        "Halt": engine_pb2.HaltRequest(request_id=REQUEST_ID, reason="odd"),
        "Resume": engine_pb2.ResumeRequest(request_id=REQUEST_ID, reason="fine"),
        "GetStatus": engine_pb2.GetStatusRequest(),
        "SetStrategyMode": engine_pb2.SetStrategyModeRequest(
            request_id=REQUEST_ID, mode=engine_pb2.STRATEGY_MODE_ADVISE, reason="try it"
        ),
    }
    return requests[method]


def call(channel: grpc.aio.Channel, method: str, request: Message) -> Awaitable[Any]:
    """Call a method of the engine by its name."""
    return getattr(engine_pb2_grpc.EngineServiceStub(channel), method)(request)  # type: ignore[no-any-return]  # found by name


async def failure(answer: Awaitable[Any]) -> OpensqtError:
    """Return the error of a call that must fail."""
    with pytest.raises(OpensqtError) as caught, translated():
        await answer
    return caught.value


async def bad_field(answer: Awaitable[Any]) -> str:
    """Return the field a call is refused for, by INVALID_ARGUMENT with FIELD_INVALID."""
    error = await failure(answer)
    assert isinstance(error, InvalidFieldError)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.reason == "FIELD_INVALID"
    return error.field


_POSITION = position_to_proto(position_view())
_HALTED = status_to_proto(status_view())
ANSWERS: dict[str, tuple[Any, Message]] = {
    "OpenHedgedPosition": (
        OpenCommand(REQUEST_ID, long_leg=SPOT, short_leg=PERPETUAL, notional=Decimal(1000)),
        engine_pb2.OpenHedgedPositionResponse(position=_POSITION),
    ),
    "CloseHedgedPosition": (
        CloseCommand(REQUEST_ID, "position-1"),
        engine_pb2.CloseHedgedPositionResponse(position=_POSITION),
    ),
    "ReduceHedgedPosition": (
        ReduceCommand(REQUEST_ID, "position-1", ratio=Decimal("0.5")),
        engine_pb2.ReduceHedgedPositionResponse(position=_POSITION),
    ),
    "CloseAllHedgedPositions": (
        CloseAllCommand(REQUEST_ID, "evening"),
        engine_pb2.CloseAllHedgedPositionsResponse(positions=[_POSITION]),
    ),
    "GetHedgedPosition": (None, engine_pb2.GetHedgedPositionResponse(position=_POSITION)),
    "ListHedgedPositions": (None, engine_pb2.ListHedgedPositionsResponse(positions=[_POSITION])),
    "Halt": (HaltCommand(REQUEST_ID, "odd"), engine_pb2.HaltResponse(status=_HALTED)),
    "Resume": (
        ResumeCommand(REQUEST_ID, "fine"),
        engine_pb2.ResumeResponse(
            status=status_to_proto(status_view(mode=EngineMode.ACTIVE, reason=""))
        ),
    ),
    "GetStatus": (None, engine_pb2.GetStatusResponse(status=_HALTED)),
}


@pytest.mark.parametrize("method", USE_CASES, ids=lambda method: method.name)
async def test_each_method_asks_its_use_case_and_sends_its_answer(
    method: MethodDescriptor,
) -> None:
    """Whole commands go in, whole views come out."""
    command, answer = ANSWERS[method.name]
    engine = FakeEngine()
    async with served_engine(engine) as channel:
        assert await call(channel, method.name, sound(method.name)) == answer
    assert engine.commands == ([] if command is None else [command])


@pytest.mark.parametrize("method", USE_CASES, ids=lambda method: method.name)
async def test_what_the_engine_refuses_reaches_the_caller(method: MethodDescriptor) -> None:
    """Reason and metadata pass whole, whichever method was called."""
    engine = FakeEngine()
    engine.failure = PreconditionError(
        "both legs", reason="ENTRY_CHECKS_FAILED", metadata={"failures": "A,B"}
    )
    async with served_engine(engine) as channel:
        error = await failure(call(channel, method.name, sound(method.name)))
    assert isinstance(error, PreconditionError)
    assert error.reason == "ENTRY_CHECKS_FAILED"
    assert error.metadata == {"failures": "A,B"}


# A size excludes the other way to say it; the field under test stands alone.
_INSTEAD_OF = {"quantity": ("notional", "ratio")}
DECIMAL_FIELDS = [
    (method.name, field.name)
    for method in SERVICE.methods
    for field in method.input_type.fields
    if field.message_type is not None and field.message_type.full_name == DECIMAL
]


def test_the_requests_have_the_decimals_they_are_tested_with() -> None:
    """The list comes from the contract; an empty one would test nothing."""
    assert len(DECIMAL_FIELDS) >= 6


@pytest.mark.parametrize(("method", "field"), DECIMAL_FIELDS)
async def test_a_bad_number_is_refused_by_its_field(method: str, field: str) -> None:
    """Present but not a plain positive number, the empty text included; nothing is asked."""
    engine = FakeEngine()
    async with served_engine(engine) as channel:
        for text in BAD_NUMBERS:
            request = sound(method)
            for other in _INSTEAD_OF.get(field, ()):
                if other in request.DESCRIPTOR.fields_by_name:
                    request.ClearField(other)
            getattr(request, field).value = text
            assert await bad_field(call(channel, method, request)) == field, text
    assert engine.commands == []


ID_METHODS = [method.name for method in UNARY if "request_id" in method.input_type.fields_by_name]


def test_every_method_that_changes_something_has_a_request_id() -> None:
    """Reads have none; a new mutation must have one."""
    reads = {"GetHedgedPosition", "ListHedgedPositions", "GetStatus", "ListDecisions"}
    assert set(ID_METHODS) == {method.name for method in UNARY} - reads


@pytest.mark.parametrize("method", ID_METHODS)
async def test_a_bad_request_id_is_refused(method: str) -> None:
    """A mutation without a proper id could not be repeated safely."""
    engine = FakeEngine()
    async with served_engine(engine) as channel:
        for text in ("", "not a uuid", REQUEST_ID[1:], f"{REQUEST_ID} "):
            request = sound(method)
            request.request_id = text  # type: ignore[attr-defined]  # these requests have one
            assert await bad_field(call(channel, method, request)) == "request_id"
    assert engine.commands == []


async def test_an_enum_outside_the_contract_is_refused_by_its_path() -> None:
    """Unspecified and unknown numbers alike, where a value is needed."""
    async with served_engine() as channel:
        for leg in ("long_leg", "short_leg"):
            for value in (0, 99):
                request = sound("OpenHedgedPosition")
                getattr(request, leg).kind = value
                answer = call(channel, "OpenHedgedPosition", request)
                assert await bad_field(answer) == f"{leg}.kind"
        entry: Any = sound("OpenHedgedPosition")
        entry.lead_leg = 99
        assert await bad_field(call(channel, "OpenHedgedPosition", entry)) == "lead_leg"
        for value in (0, 99):
            states: Any = engine_pb2.ListHedgedPositionsRequest(states=[value])  # type: ignore[list-item]  # a number outside the enum is the point
            assert await bad_field(call(channel, "ListHedgedPositions", states)) == "states"


@pytest.mark.parametrize(
    "method", ["GetHedgedPosition", "CloseHedgedPosition", "ReduceHedgedPosition"]
)
async def test_a_position_must_be_named(method: str) -> None:
    """An empty or unprintable id is refused before the engine sees it."""
    async with served_engine() as channel:
        for text in ("", "\x00", "p" * 200):
            request: Any = sound(method)
            request.position_id = text
            assert await bad_field(call(channel, method, request)) == "position_id"


async def test_an_unknown_position_is_not_found() -> None:
    """By the reason of its kind."""
    async with served_engine() as channel:
        request = engine_pb2.GetHedgedPositionRequest(position_id="nobody")
        error = await failure(call(channel, "GetHedgedPosition", request))
    assert (error.code, error.reason) == (Code.NOT_FOUND, "HEDGED_POSITION_NOT_FOUND")


async def _list(channel: grpc.aio.Channel, **fields: Any) -> tuple[list[str], str]:
    request = engine_pb2.ListHedgedPositionsRequest(**fields)
    answer = await call(channel, "ListHedgedPositions", request)
    return [row.position_id for row in answer.positions], answer.next_page_token


def _engine_with(count: int) -> FakeEngine:
    engine = FakeEngine()
    engine.held = [position_view(position_id=f"p{index}", orders=()) for index in range(count)]
    return engine


async def test_pages_follow_each_other_to_the_end() -> None:
    """50 rows where no size is asked; each row once; the last page has no token."""
    names: list[str] = []
    sizes: list[int] = []
    token = ""
    async with served_engine(_engine_with(120)) as channel:
        while not sizes or token:
            page, token = await _list(channel, page_token=token)
            names += page
            sizes.append(len(page))
    assert names == [f"p{index}" for index in range(120)]
    assert sizes == [50, 50, 20]


async def test_a_page_holds_500_rows_at_most() -> None:
    """More is taken as 500, a negative size is refused."""
    async with served_engine(_engine_with(501)) as channel:
        page, token = await _list(channel, page_size=2**31 - 1)
        rest, end = await _list(channel, page_size=500, page_token=token)
        request = engine_pb2.ListHedgedPositionsRequest(page_size=-1)
        assert await bad_field(call(channel, "ListHedgedPositions", request)) == "page_size"
    assert (len(page), len(rest), end) == (500, 1, "")


async def test_a_position_opened_between_two_pages_repeats_none() -> None:
    """The newest comes first and moves all others."""
    engine = _engine_with(4)
    async with served_engine(engine) as channel:
        first, token = await _list(channel, page_size=2)
        engine.held.insert(0, position_view(position_id="new", orders=()))
        second, _ = await _list(channel, page_size=2, page_token=token)
    assert first + second == ["p0", "p1", "p2", "p3"]


async def test_positions_are_kept_by_state() -> None:
    """Several states are an or; a token keeps to the states it was made with."""
    engine = FakeEngine()
    engine.held = [
        position_view(position_id=f"{status.value}{copy}", status=status, orders=())
        for status in PositionStatus
        for copy in range(2)
    ]
    open_state = engine_pb2.HEDGED_POSITION_STATE_OPEN
    flat_state = engine_pb2.HEDGED_POSITION_STATE_FLAT
    async with served_engine(engine) as channel:
        kept, _ = await _list(channel, states=[flat_state, open_state, open_state])
        _, token = await _list(channel, states=[open_state], page_size=1)
        for fields in ({"states": [flat_state]}, {}):
            other = engine_pb2.ListHedgedPositionsRequest(page_token=token, **fields)  # type: ignore[arg-type]  # a plain dict
            assert await bad_field(call(channel, "ListHedgedPositions", other)) == "page_token"
    assert kept == ["open0", "open1", "flat0", "flat1"]


async def test_a_token_of_nobody_is_refused() -> None:
    """Not an error of ours, and not the first page."""
    async with served_engine() as channel:
        for token in ("?", "AAAA", "é", "x" * 1000):
            request = engine_pb2.ListHedgedPositionsRequest(page_token=token)
            assert await bad_field(call(channel, "ListHedgedPositions", request)) == "page_token"


UNSERVED = [
    method
    for service in (
        risk_pb2.DESCRIPTOR.services_by_name["RiskService"],
        position_pb2.DESCRIPTOR.services_by_name["PositionService"],
        portfolio_pb2.DESCRIPTOR.services_by_name["PortfolioService"],
    )
    for method in service.methods
    if method.full_name.rpartition(".")[2] != "GetMarketScores"
]


@pytest.mark.parametrize("method", UNSERVED, ids=lambda method: method.full_name)
async def test_what_is_not_served_says_so(method: MethodDescriptor) -> None:
    """Streams and single replies alike, each by its name."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    codec: dict[str, Any] = {
        "request_serializer": GetMessageClass(method.input_type).SerializeToString,
        "response_deserializer": GetMessageClass(method.output_type).FromString,
    }
    request = GetMessageClass(method.input_type)()
    async with served_engine() as channel:
        answer: Any
        if method.server_streaming:
            answer = channel.unary_stream(path, **codec)(request).read()
        else:
            answer = channel.unary_unary(path, **codec)(request)
        error = await failure(answer)
    assert isinstance(error, UnimplementedError)
    assert error.reason == "METHOD_NOT_SERVED"
    assert f"{method.containing_service.name}.{method.name}" in error.message


def test_streams_are_among_the_methods_not_served() -> None:
    """Both shapes are tried above."""
    assert {method.server_streaming for method in UNSERVED} == {True, False}
