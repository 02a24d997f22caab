"""Comparisons of ledger and venues that somebody asked for: started, bounded, read afterwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from services.common.clock import Clock
from services.common.errors import NotFoundError
from services.common.ids import Ids
from services.common.logs import get_logger
from services.engine.owned_tasks import OwnedTasks
from services.engine.pockets import Pocket
from services.engine.reconciler import PocketFigures

_KEPT = 64
_ZERO = Decimal(0)
_log = get_logger(__name__)


class ComparisonState(StrEnum):
    """How far a comparison is; the words of the wire."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SymbolComparison:
    """One symbol over all venues, signed; `told` is None where one of them could not be read."""

    symbol: str
    expected: Decimal
    told: Decimal | None
    is_equal: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison that was asked for; `rows` are there once it is completed."""

    comparison_id: str
    state: ComparisonState
    start_time: datetime
    end_time: datetime | None
    rows: tuple[SymbolComparison, ...]


@dataclass(slots=True)
class _Run:
    """One reading of all venues; mutable: it ends."""

    start_time: datetime
    state: ComparisonState = ComparisonState.RUNNING
    end_time: datetime | None = None
    rows: tuple[SymbolComparison, ...] = ()


def rows_of(
    figures: Iterable[PocketFigures], broken: Iterable[Pocket]
) -> tuple[SymbolComparison, ...]:
    """Return a row per symbol: the sums of its pockets, equal where each was told and none broke.

    Two symbols of one coin share its pocket, and each row has all of it.
    """
    stopped, by_symbol = set(broken), dict[str, list[PocketFigures]]()
    for one in figures:
        for name in one.symbols:
            by_symbol.setdefault(name, []).append(one)
    rows = []
    for name, group in sorted(by_symbol.items()):
        told = [one.told for one in group if one.told is not None]
        is_whole = len(told) == len(group)
        rows.append(
            SymbolComparison(
                name,
                sum((one.expected for one in group), _ZERO),
                sum(told, _ZERO) if is_whole else None,
                is_whole and stopped.isdisjoint(one.pocket for one in group),
            )
        )
    return tuple(rows)


class ReconcileDesk:
    """Reads the venues once for all who ask meanwhile: asking often costs nothing at a venue."""

    def __init__(
        self,
        compare: Callable[[], Awaitable[tuple[PocketFigures, ...]]],
        broken: Callable[[], Iterable[Pocket]],
        clock: Clock,
        ids: Ids,
        tasks: OwnedTasks,
    ) -> None:
        self._compare = compare
        self._broken = broken
        self._clock = clock
        self._ids = ids
        self._tasks = tasks
        self._newest: _Run | None = None
        self._asked: OrderedDict[str, tuple[str, _Run]] = OrderedDict()

    def trigger(self, symbol: str) -> Comparison:
        """Start a comparison of a symbol, or of all where it is empty; read it with `get`."""
        run = self._newest
        if run is None or run.state is not ComparisonState.RUNNING:
            run = self._newest = _Run(self._clock.now())
            self._tasks.spawn(self._read(run), "comparison")
        key = self._ids.new_uuid()
        self._asked[key] = (symbol, run)
        while len(self._asked) > _KEPT:
            self._asked.popitem(last=False)
        return self.get(key)

    def get(self, comparison_id: str) -> Comparison:
        """Return a comparison; raises `NotFoundError` (RECONCILIATION_NOT_FOUND)."""
        found = self._asked.get(comparison_id)
        if found is None:
            raise NotFoundError(
                f"no comparison {comparison_id}, or too many were asked for since",
                reason="RECONCILIATION_NOT_FOUND",
            )
        symbol, run = found
        rows = tuple(row for row in run.rows if symbol in ("", row.symbol))
        return Comparison(comparison_id, run.state, run.start_time, run.end_time, rows)

    async def _read(self, run: _Run) -> None:
        try:
            run.rows = rows_of(await self._compare(), self._broken())
            run.state = ComparisonState.COMPLETED
        except Exception:
            # Somebody polls for the end of it: it must not run for ever.
            _log.exception("comparison_failed")
            run.state = ComparisonState.FAILED
        run.end_time = self._clock.now()
