"""Commands to the engine, decoded: what an operator or a strategy may ask for.

Every command carries the caller's `request_id`; a repeat with the same content returns the first
answer, the same id with other content is refused with reason REQUEST_ID_REUSED.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from services.engine.instruments import InstrumentRef, LegSide
from services.engine.strategy_words import StrategyMode


@dataclass(frozen=True, slots=True)
class OpenCommand:
    """Enter a hedged position.

    Either `opportunity_id` or both legs; either `notional` (of one leg, quote asset) or `quantity`
    (base units). `lead_leg` None lets the thinner book lead. `slippage_bound_ratio` None takes the
    engine's setting. With `validate_only` nothing is journaled and nothing is sent.
    """

    request_id: str
    opportunity_id: str = ""
    long_leg: InstrumentRef | None = None
    short_leg: InstrumentRef | None = None
    notional: Decimal | None = None
    quantity: Decimal | None = None
    slippage_bound_ratio: Decimal | None = None
    lead_leg: LegSide | None = None
    validate_only: bool = False


@dataclass(frozen=True, slots=True)
class CloseCommand:
    """Exit a position; `slippage_bound_ratio` None takes the engine's setting."""

    request_id: str
    position_id: str
    slippage_bound_ratio: Decimal | None = None
    # Not of the content that a repeat must match: the first reason stands.
    reason: str = field(default="CLOSE_REQUESTED", repr=False)


@dataclass(frozen=True, slots=True)
class ReduceCommand:
    """Take the same base `quantity`, or the share `ratio` in (0, 1], off both legs."""

    request_id: str
    position_id: str
    quantity: Decimal | None = None
    ratio: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CloseAllCommand:
    """Exit every position that is not closed."""

    request_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HaltCommand:
    """Stop opening."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """Allow opening again."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReduceAllCommand:
    """Take the share `ratio` in (0, 1] off every position, or off those named, all together."""

    request_id: str
    ratio: Decimal
    reason: str = ""
    position_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchStrategyCommand:
    """Set who takes opportunities."""

    request_id: str
    mode: StrategyMode
    reason: str


Command = (
    OpenCommand
    | CloseCommand
    | ReduceCommand
    | CloseAllCommand
    | HaltCommand
    | ResumeCommand
    | ReduceAllCommand
    | SwitchStrategyCommand
)
