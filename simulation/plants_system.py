"""Bugs that only a whole system shows: epochs, limits, readiness, profit, bounds."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, Final

from services.common.errors import PreconditionError
from simulation.plants import Part, Plant, Replacement

_ZERO: Final = Decimal(0)
_LONG_SECONDS: Final = 3_600.0
_leaked: set[asyncio.Task[None]] = set()


def _admits_all(_sound: Any) -> Any:
    def check(self: Any, principal: str, epoch: int) -> None:
        return None

    return check


def _no_limits(_sound: Any) -> Any:
    def check(*_given: Any, **_named: Any) -> list[Any]:
        return []

    return check


def _fills_only(_sound: Any) -> Any:
    def quantity(position: Any, leg: Any) -> Decimal:
        held: Decimal = abs(position.quantity(leg))
        return held

    return quantity


def _ready_at_once(sound: Any) -> Any:
    def check(self: Any) -> None:
        try:
            sound(self)
        except PreconditionError as error:
            if error.reason != "ENGINE_NOT_RECONCILED":
                raise

    return check


def _no_fees(_sound: Any) -> Any:
    return lambda position: _ZERO


def _task_left_behind(sound: Any) -> Any:
    async def read(*given: Any, **named: Any) -> Any:
        _leaked.add(asyncio.get_running_loop().create_task(asyncio.sleep(_LONG_SECONDS)))
        return await sound(*given, **named)

    return read


def _plant(name: str, place: str, stands_for: str, breaks: str, replacement: Replacement) -> Plant:
    rules = tuple(breaks.split())
    return Plant(name, Part.SYSTEM, f"services.{place}", stands_for, rules, replacement)


PLANTS: Final = (
    _plant(
        "epochs_not_checked",
        "connector.engine_epochs:EngineEpochs.check",
        "an engine that was paused and overtaken goes on sending",
        "I6",
        _admits_all,
    ),
    _plant(
        "limits_not_checked",
        "engine.pretrade:check_limits",
        "entries beyond every limit",
        "I11 I12",
        _no_limits,
    ),
    _plant(
        "limits_by_fills",
        "engine.risk_exposure:worst_case_quantity",
        "limits count what has filled, not what may still",
        "I11",
        _fills_only,
    ),
    _plant(
        "ready_at_once",
        "engine.engine:Engine._check_mode",
        "entries are taken before the books are compared",
        "I25",
        _ready_at_once,
    ),
    _plant(
        "fees_not_counted",
        "engine.position_view:_fees_paid",
        "profit is told without its fees",
        "I19",
        _no_fees,
    ),
    _plant(
        "task_left_behind",
        "common.call_errors:retry_read",
        "each read leaves a task that waits for ever",
        "I24",
        _task_left_behind,
    ),
)
"""Every bug of a whole system."""
