"""One bad row of market data costs itself, never its neighbours; account rows come all or none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from services.common.errors import UnreachableError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_logger = get_logger(__name__)

T = TypeVar("T")

_MALFORMED = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)


class RowObserver(Protocol):
    """Who counts rows that could not be read."""

    def count_bad_rows(self, kind: str, count: int) -> None:
        """Count malformed rows of a kind."""
        ...


# Not frozen: counted in place.
@dataclass(slots=True)
class RowQuarantine:
    """Converts rows and counts, by kind of row, those that could not be read."""

    counts: dict[str, int] = field(default_factory=dict)
    observer: RowObserver | None = None

    def collect(
        self, kind: str, rows: Any, convert: Callable[[Any], T | None], *, whole: bool = True
    ) -> list[T]:
        """Return the converted rows; None from `convert` means "not ours" and is left out.

        Raises UnreachableError with reason VENUE_ANSWER_BROKEN when `rows` is no list or when, with
        `whole`, every row is malformed: an empty list would say that there is nothing.
        """
        if not isinstance(rows, list):
            raise _broken(f"{kind}: expected a list of rows")
        found, bad = self._convert(kind, rows, convert)
        # Rows that are "not ours" count as read: a list of only those is empty, not broken.
        if bad and not found and whole and bad == len(rows):
            raise _broken(f"{kind}: none of {bad} rows could be read")
        return found

    def collect_all(self, kind: str, rows: Any, convert: Callable[[Any], T | None]) -> list[T]:
        """Return the converted rows of an answer in which every row counts.

        Raises UnreachableError with reason VENUE_ANSWER_BROKEN when one is malformed: a position or
        a balance that is left out would be believed to be none.
        """
        if not isinstance(rows, list):
            raise _broken(f"{kind}: expected a list of rows")
        found, bad = self._convert(kind, rows, convert)
        if bad:
            raise _broken(f"{kind}: {bad} of {len(rows)} rows could not be read")
        return found

    def one(self, kind: str, row: Any, convert: Callable[[Any], T]) -> T:
        """Return one converted row; raise UnreachableError (VENUE_ANSWER_BROKEN) when malformed."""
        try:
            return convert(row)
        except _MALFORMED as error:
            self._count(kind, 1)
            raise _broken(f"{kind}: {type(error).__name__}") from error

    def _convert(
        self, kind: str, rows: Iterable[Any], convert: Callable[[Any], T | None]
    ) -> tuple[list[T], int]:
        found: list[T] = []
        bad, example = 0, ""
        for row in rows:
            try:
                converted = convert(row)
            except _MALFORMED as error:
                bad += 1
                example = example or f"{type(error).__name__}: {error}; {str(row)[:120]}"
                continue
            if converted is not None:
                found.append(converted)
        if bad:
            self._count(kind, bad)
            _logger.warning("rows_quarantined", kind=kind, count=bad, example=example)
        return found, bad

    def _count(self, kind: str, count: int) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count
        if self.observer is not None:
            self.observer.count_bad_rows(kind, count)


def _broken(text: str) -> UnreachableError:
    return UnreachableError(f"the venue's answer is broken: {text}", reason="VENUE_ANSWER_BROKEN")
