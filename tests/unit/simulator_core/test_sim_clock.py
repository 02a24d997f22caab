"""The market clock: speed, jumps, and never backwards."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from services.simulator.core.clock import MarketClock, from_millis, millis
from tests.support.tiny_market import START, HandClock


def test_market_time_runs_at_its_speed() -> None:
    """A wire second is sixty market seconds at speed sixty, and one before the change."""
    wire = HandClock()
    clock = MarketClock(wire, START + timedelta(days=3))
    wire.move(10)
    clock.set_speed(Decimal(60))
    wire.move(10)
    assert clock.now() == START + timedelta(days=3, seconds=610)


def test_a_jump_moves_market_time_alone() -> None:
    """The wire clock stays where it is."""
    wire = HandClock()
    clock = MarketClock(wire, START)
    clock.jump(timedelta(hours=8))
    assert clock.now() - wire.now() == timedelta(hours=8)


def test_market_time_never_runs_backwards() -> None:
    """Neither by a jump, nor by a speed below zero, nor when the wire clock is set back."""
    wire = HandClock()
    clock = MarketClock(wire, START)
    with pytest.raises(ValueError, match="forward"):
        clock.jump(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="speed"):
        clock.set_speed(Decimal(-1))
    wire.move(-60)
    assert clock.now() == START


def test_milliseconds_go_there_and_back() -> None:
    """What the wire carries is whole milliseconds of the instant."""
    assert from_millis(millis(START)) == START
