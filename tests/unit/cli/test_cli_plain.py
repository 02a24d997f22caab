"""Messages as JSON: exact figures, absent stays absent."""

from __future__ import annotations

import json

from cli.plain import to_line, to_plain
from opensqt.market_maker.v1 import engine_pb2, opportunity_pb2, stream_pb2


def test_figures_stay_exact_text_and_absent_ones_are_left_out() -> None:
    """A decimal is never a JSON number, and unknown is never zero."""
    position = engine_pb2.HedgedPosition(position_id="p")
    position.residual_quantity.value = "0.000000000000000001"
    plain = to_plain(position)
    assert plain["residual_quantity"] == "0.000000000000000001"
    assert "fees_paid" not in plain
    assert "funding_received" not in plain


def test_enums_lose_their_prefix_and_durations_are_seconds() -> None:
    """`STATE_OPEN` reads as OPEN; 12.5 ms reads as 0.0125."""
    position = engine_pb2.HedgedPosition(state=engine_pb2.HEDGED_POSITION_STATE_OPEN)
    position.unhedged_time.FromMicroseconds(12_500)
    plain = to_plain(position)
    assert plain["state"] == "OPEN"
    assert plain["unhedged_time"] == 0.0125


def test_an_enum_value_of_a_newer_server_shows_as_its_number() -> None:
    """An older client does not fail on what it does not know."""
    position = engine_pb2.HedgedPosition(state=99)  # type: ignore[arg-type]  # a newer value
    assert to_plain(position)["state"] == "99"


def test_maps_and_nested_messages_are_plain_too() -> None:
    """Costs by name become text by name, sorted."""
    opportunity = opportunity_pb2.Opportunity()
    opportunity.costs["b"].value = "0.2"
    opportunity.costs["a"].value = "0.1"
    opportunity.long_leg.exchange = "binance"
    plain = to_plain(opportunity)
    assert list(plain["costs"].items()) == [("a", "0.1"), ("b", "0.2")]
    assert plain["long_leg"]["exchange"] == "binance"


def test_times_are_rfc_3339() -> None:
    """Other programs can read them."""
    beat = stream_pb2.StreamHeartbeat()
    beat.server_time.FromJsonString("2026-03-20T03:30:00Z")
    assert to_plain(beat) == {"server_time": "2026-03-20T03:30:00Z"}


def test_a_line_is_one_line_of_json() -> None:
    """Text with line breaks does not break the line."""
    line = to_line({"why": "a\nb", "n": 1})
    assert "\n" not in line
    assert json.loads(line) == {"why": "a\nb", "n": 1}
