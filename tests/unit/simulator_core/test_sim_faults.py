"""Fault rules: what they match, how often they apply, and what is not a rule."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.simulator.core.faults import Call, FaultBook, FaultRule, Stage

ORDER = Call("binance", "place_order", "POST", "/api/v3/order", "BTCUSDT", "BUY", False)


def rule(action: dict[str, object], **match: object) -> FaultRule:
    """Return a rule as it would come over the control endpoint."""
    name = str(action["type"])
    return FaultRule.model_validate({"id": name, "match": match, "action": action})


def hits(book: FaultBook, call: Call = ORDER, times: int = 5) -> list[bool]:
    """Return for each of several calls whether a fault applied."""
    return [bool(book.actions(Stage.REQUEST, call)) for _ in range(times)]


def armed(**match: object) -> FaultBook:
    """Return a book with one dropping rule."""
    book = FaultBook()
    book.add([rule({"type": "drop_after"}, **match)])
    return book


@pytest.mark.parametrize(
    "match",
    [
        {},
        {"operation": "place_order"},
        {"venue": "binance", "symbol": "BTCUSDT"},
        {"method": "POST", "path": "/api/v3/order"},
        {"side": "BUY", "reduce_only": False},
    ],
)
def test_a_rule_applies_to_what_it_matches(match: dict[str, object]) -> None:
    """Every stated condition holds, what is left out matches anything."""
    assert all(hits(armed(**match)))


@pytest.mark.parametrize(
    "match",
    [
        {"operation": "cancel_order"},
        {"venue": "binanceusdm"},
        {"symbol": "ETHUSDT"},
        {"side": "SELL"},
        {"reduce_only": True},
        {"path": "/fapi/v1/order"},
    ],
)
def test_a_rule_leaves_the_rest_alone(match: dict[str, object]) -> None:
    """One condition that fails is enough."""
    book = armed(**match)
    assert not any(hits(book))
    assert book.counts()[0]["matched"] == 0


def test_nth_picks_one_call() -> None:
    """The third matching call and no other."""
    assert hits(armed(nth=3)) == [False, False, True, False, False]


def test_times_bounds_how_often() -> None:
    """The first two and no more; matches go on being counted."""
    book = armed(times=2)
    assert hits(book) == [True, True, False, False, False]
    assert (book.counts()[0]["matched"], book.counts()[0]["applied"]) == (5, 2)


def test_a_seed_draws_the_same_calls_again() -> None:
    """Probability with a seed fails the same calls each time, another seed others."""
    first = hits(armed(probability=0.5, seed=3), times=40)
    assert first == hits(armed(probability=0.5, seed=3), times=40)
    assert first != hits(armed(probability=0.5, seed=4), times=40)
    assert 5 < sum(first) < 35


def test_the_action_fixes_the_stage() -> None:
    """A partial fill belongs to the order, a late event to the stream, a drop to the request."""
    assert rule({"type": "partial", "ratio": "0.5"}).stage is Stage.ORDER
    assert rule({"type": "event_late", "seconds": 1}).stage is Stage.EVENT
    assert rule({"type": "drop_before"}).stage is Stage.REQUEST
    book = FaultBook()
    book.add([rule({"type": "zero_fill"})])
    assert not book.actions(Stage.REQUEST, ORDER)
    assert book.actions(Stage.ORDER, ORDER)


def test_a_rule_with_a_known_id_replaces_the_old_one() -> None:
    """Arming again starts the counting anew."""
    book = armed(nth=1)
    assert hits(book, times=1) == [True]
    book.add([rule({"type": "drop_after"}, nth=1)])
    assert hits(book, times=1) == [True]
    assert len(book.counts()) == 1


@pytest.mark.parametrize(
    "document",
    [
        {"id": "a", "action": {"type": "explode"}},
        {"id": "a", "action": {"type": "partial", "ratio": "1.5"}},
        {"id": "a", "action": {"type": "delay"}},
        {"id": "a", "action": {"type": "drop_after"}, "match": {"sybmol": "BTCUSDT"}},
        {"id": "a", "action": {"type": "drop_after"}, "match": {"nth": 0}},
        {"action": {"type": "drop_after"}},
    ],
)
def test_what_is_not_a_rule_is_refused(document: dict[str, object]) -> None:
    """A misspelt condition must not become a rule that matches everything."""
    with pytest.raises(ValidationError):
        FaultRule.model_validate(document)
