"""What the strategy offers to callers, as a Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.engine.commands import SwitchStrategyCommand
from services.engine.events import DecisionTaken
from services.engine.strategy_words import StrategyMode


class StrategyApi(Protocol):
    """Mode and decisions of the strategy."""

    @property
    def mode(self) -> StrategyMode:
        """The mode in force."""
        ...

    async def switch(self, command: SwitchStrategyCommand) -> StrategyMode:
        """Set the mode, durably; raises `PreconditionError` (SCANNER_MISSING)."""
        ...

    def decisions(self) -> Sequence[DecisionTaken]:
        """Return the newest decisions, newest first."""
        ...
