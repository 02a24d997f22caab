"""Requests as commands: what is asked arrives exactly, what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from google.type import decimal_pb2

from opensqt.market_maker.v1 import engine_pb2, instrument_pb2
from services.common.errors import InvalidFieldError
from services.engine import command_codec as decode
from services.engine.commands import (
    CloseAllCommand,
    CloseCommand,
    HaltCommand,
    OpenCommand,
    ReduceCommand,
    ResumeCommand,
)
from services.engine.instruments import LegSide
from services.engine.view_codec import ref_to_proto
from tests.support.engine_views import PERPETUAL, SPOT

REQUEST_ID = "0b0e7a4e-3c63-4d4f-9d43-1f5f6c0f9a11"


def number(text: str) -> decimal_pb2.Decimal:
    """Return a wire decimal with any text."""
    return decimal_pb2.Decimal(value=text)


def open_request(**changes: Any) -> engine_pb2.OpenHedgedPositionRequest:
    """Return a sound entry of both legs; a change to None leaves the field out."""
    fields: dict[str, Any] = {
        "request_id": REQUEST_ID,
        "long_leg": ref_to_proto(SPOT),
        "short_leg": ref_to_proto(PERPETUAL),
        "notional": number("1000.5"),
    }
    fields.update(changes)
    return engine_pb2.OpenHedgedPositionRequest(**fields)


def problem_field(call: Callable[[], object]) -> str:
    """Return the field that a call refuses."""
    with pytest.raises(InvalidFieldError) as caught:
        call()
    return caught.value.field


def test_an_entry_of_both_legs_arrives_whole() -> None:
    """Every field of the command comes from its own field of the request."""
    request = open_request(
        slippage_bound_ratio=number("0.0025"),
        lead_leg=engine_pb2.LEG_SIDE_SHORT,
        validate_only=True,
    )
    assert decode.open_command(request) == OpenCommand(
        request_id=REQUEST_ID,
        long_leg=SPOT,
        short_leg=PERPETUAL,
        notional=Decimal("1000.5"),
        slippage_bound_ratio=Decimal("0.0025"),
        lead_leg=LegSide.SHORT,
        validate_only=True,
    )


def test_an_entry_of_an_opportunity_leaves_the_rest_to_the_engine() -> None:
    """Absent stays absent: the engine's settings decide."""
    request = engine_pb2.OpenHedgedPositionRequest(
        request_id=REQUEST_ID, opportunity_id="opportunity-9", quantity=number("0.1")
    )
    assert decode.open_command(request) == OpenCommand(
        request_id=REQUEST_ID, opportunity_id="opportunity-9", quantity=Decimal("0.1")
    )


def test_the_same_uuid_in_capitals_is_the_same_request() -> None:
    """Two spellings of one id must not trade twice."""
    command = decode.open_command(open_request(request_id=REQUEST_ID.upper()))
    assert command.request_id == REQUEST_ID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        REQUEST_ID[:-1],
        REQUEST_ID + "0",
        REQUEST_ID.replace("-", ""),
        f"{{{REQUEST_ID}}}",
        f" {REQUEST_ID}",
        f"{REQUEST_ID}\n",
        REQUEST_ID.replace("0", "٠"),
    ],
)
def test_a_request_id_that_is_no_uuid_is_refused_by_every_mutation(text: str) -> None:
    """Without it a repeat could not be told from a second wish."""
    for call in (
        lambda: decode.open_command(open_request(request_id=text)),
        lambda: decode.close_command(
            engine_pb2.CloseHedgedPositionRequest(request_id=text, position_id="p")
        ),
        lambda: decode.reduce_command(
            engine_pb2.ReduceHedgedPositionRequest(
                request_id=text, position_id="p", ratio=number("1")
            )
        ),
        lambda: decode.close_all_command(
            engine_pb2.CloseAllHedgedPositionsRequest(request_id=text)
        ),
        lambda: decode.halt_command(engine_pb2.HaltRequest(request_id=text, reason="why")),
        lambda: decode.resume_command(engine_pb2.ResumeRequest(request_id=text, reason="why")),
    ):
        assert problem_field(call) == "request_id"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"opportunity_id": "o"}, "opportunity_id"),
        ({"opportunity_id": "o", "long_leg": None}, "opportunity_id"),
        ({"long_leg": None, "short_leg": None}, "long_leg"),
        ({"long_leg": None}, "long_leg"),
        ({"short_leg": None}, "short_leg"),
        ({"opportunity_id": "o" * 129, "long_leg": None, "short_leg": None}, "opportunity_id"),
        ({"opportunity_id": "o\n", "long_leg": None, "short_leg": None}, "opportunity_id"),
        ({"notional": None}, "notional"),
        ({"quantity": number("1")}, "notional"),
        ({"slippage_bound_ratio": number("1")}, "slippage_bound_ratio"),
        ({"slippage_bound_ratio": number("0")}, "slippage_bound_ratio"),
        ({"notional": number("0")}, "notional"),
        ({"notional": number("-1")}, "notional"),
        ({"lead_leg": 99}, "lead_leg"),
    ],
)
def test_an_entry_that_cannot_be_meant_names_the_field(changes: dict[str, Any], field: str) -> None:
    """Which of the fields to mend is part of the answer."""
    assert problem_field(lambda: decode.open_command(open_request(**changes))) == field


@pytest.mark.parametrize("leg", ["long_leg", "short_leg"])
@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("exchange", ""),
        ("exchange", "x" * 129),
        ("exchange", "binänce"),
        ("symbol", ""),
        ("symbol", "BTC\tUSDT"),
        ("kind", instrument_pb2.INSTRUMENT_KIND_UNSPECIFIED),
        ("kind", 77),
    ],
)
def test_a_bad_part_of_a_leg_is_named_by_its_path(leg: str, part: str, value: Any) -> None:
    """A caller with two legs is told which."""
    request = open_request()
    setattr(getattr(request, leg), part, value)
    assert problem_field(lambda: decode.open_command(request)) == f"{leg}.{part}"


def test_an_exit_arrives_whole() -> None:
    """With and without a bound of its own."""
    request = engine_pb2.CloseHedgedPositionRequest(request_id=REQUEST_ID, position_id="p")
    assert decode.close_command(request) == CloseCommand(REQUEST_ID, "p")
    request.slippage_bound_ratio.value = "0.01"
    assert decode.close_command(request) == CloseCommand(REQUEST_ID, "p", Decimal("0.01"))


def test_a_reduction_takes_a_quantity_or_a_share() -> None:
    """Either of the two, never both, never neither; the whole is a share too."""

    def request(**sizes: Any) -> engine_pb2.ReduceHedgedPositionRequest:
        return engine_pb2.ReduceHedgedPositionRequest(
            request_id=REQUEST_ID, position_id="p", **sizes
        )

    by_quantity = decode.reduce_command(request(quantity=number("0.2")))
    by_ratio = decode.reduce_command(request(ratio=number("1")))
    assert by_quantity == ReduceCommand(REQUEST_ID, "p", quantity=Decimal("0.2"))
    assert by_ratio == ReduceCommand(REQUEST_ID, "p", ratio=Decimal(1))
    both = request(quantity=number("1"), ratio=number("1"))
    assert problem_field(lambda: decode.reduce_command(request())) == "ratio"
    assert problem_field(lambda: decode.reduce_command(both)) == "ratio"
    over = request(ratio=number("1.000000000000000001"))
    assert problem_field(lambda: decode.reduce_command(over)) == "ratio"


@pytest.mark.parametrize("position_id", ["", "p" * 129, "p\x00", "é"])
def test_a_position_id_that_cannot_be_one_is_refused(position_id: str) -> None:
    """It would end in logs and in the journal."""
    close = engine_pb2.CloseHedgedPositionRequest(request_id=REQUEST_ID, position_id=position_id)
    reduce = engine_pb2.ReduceHedgedPositionRequest(
        request_id=REQUEST_ID, position_id=position_id, ratio=number("0.5")
    )
    assert problem_field(lambda: decode.close_command(close)) == "position_id"
    assert problem_field(lambda: decode.reduce_command(reduce)) == "position_id"


def test_reasons_arrive_as_they_were_said() -> None:
    """The journal keeps the operator's own words, in any language."""
    halt = engine_pb2.HaltRequest(request_id=REQUEST_ID, reason="Wartung läuft")
    resume = engine_pb2.ResumeRequest(request_id=REQUEST_ID, reason="done")
    close_all = engine_pb2.CloseAllHedgedPositionsRequest(request_id=REQUEST_ID, reason="evening")
    assert decode.halt_command(halt) == HaltCommand(REQUEST_ID, "Wartung läuft")
    assert decode.resume_command(resume) == ResumeCommand(REQUEST_ID, "done")
    assert decode.close_all_command(close_all) == CloseAllCommand(REQUEST_ID, "evening")


def test_only_the_exit_of_everything_needs_no_reason() -> None:
    """In haste nobody writes one."""
    close_all = engine_pb2.CloseAllHedgedPositionsRequest(request_id=REQUEST_ID)
    assert decode.close_all_command(close_all) == CloseAllCommand(REQUEST_ID)


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_halt_and_a_resume_say_why(blank: str) -> None:
    """Who reads the journal later wants to know."""
    halt = engine_pb2.HaltRequest(request_id=REQUEST_ID, reason=blank)
    resume = engine_pb2.ResumeRequest(request_id=REQUEST_ID, reason=blank)
    assert problem_field(lambda: decode.halt_command(halt)) == "reason"
    assert problem_field(lambda: decode.resume_command(resume)) == "reason"


@pytest.mark.parametrize("reason", ["x" * 501, "line\nbreak", "bell\x07", "\u202eturned"])
def test_a_reason_that_would_spoil_the_journal_is_refused(reason: str) -> None:
    """Control characters and novels stay out."""
    halt = engine_pb2.HaltRequest(request_id=REQUEST_ID, reason=reason)
    close_all = engine_pb2.CloseAllHedgedPositionsRequest(request_id=REQUEST_ID, reason=reason)
    assert problem_field(lambda: decode.halt_command(halt)) == "reason"
    assert problem_field(lambda: decode.close_all_command(close_all)) == "reason"
