"""What the command line says of refusals, of doubt, and of a venue without a fence."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration

from cli.advice import with_advice
from cli.doctor import fence_finding
from opensqt.market_maker.v1 import exchange_pb2


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("LEAD_REJECTED TRADING_HALTED", "arb resume --venue"),
        ("LEAD_REJECTED ORDER_TOO_LARGE", "[connector.limits]"),
        ("HEDGE_FAILED_LEAD_UNWOUND VENUE_BANNED", "arb doctor"),
        ("no entries in BTCUSDT: ORDER_OUTCOME_UNKNOWN_PAST_BUDGET", "at the venue"),
    ],
)
def test_a_reason_comes_with_what_to_do(reason: str, advice: str) -> None:
    """The reason stays whole, for errors.md is ordered by it."""
    told = with_advice(reason)
    assert told.startswith(reason)
    assert advice in told


@pytest.mark.parametrize("reason", ["", "CLOSE_REQUESTED", "asked by an operator"])
def test_what_needs_nothing_done_stays_as_it_is(reason: str) -> None:
    """No advice is better than a wrong one."""
    assert with_advice(reason) == reason


def test_a_venue_without_a_fence_is_told_of() -> None:
    """It is no fault, but its user must know who ends a doubt there."""
    fenced = fence_finding("x", exchange_pb2.GetTypeResponse(fence=Duration(seconds=16)))
    bare = fence_finding("x", exchange_pb2.GetTypeResponse())
    assert fenced.ok
    assert "16 s" in fenced.text
    assert bare.ok
    assert "stays unknown" in bare.text
