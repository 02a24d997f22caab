"""Words of the strategy: its mode, its actions and the figures a decision was made by."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class StrategyMode(StrEnum):
    """Who takes opportunities."""

    MANUAL = "manual"
    """Nobody but the operator; nothing is decided."""
    ADVISE = "advise"
    """Decisions are made, journaled and shown; nothing is sent."""
    AUTO = "auto"
    """Decisions are made, journaled and carried out."""


class DecisionAction(StrEnum):
    """What was decided about one opportunity or one position."""

    ENTER = "enter"
    HOLD = "hold"
    REDUCE = "reduce"
    EXIT = "exit"
    PASS = "pass"  # noqa: S105 - an opportunity that is not taken, no secret
    """An opportunity is not taken."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One named number a decision was made by; ratios are fractions, money is in quote asset."""

    name: str
    value: Decimal
