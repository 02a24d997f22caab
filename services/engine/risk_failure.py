"""One reason against an entry, as every check tells it."""

from __future__ import annotations

from dataclasses import dataclass

from services.engine.instruments import LegSide


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """One reason against an entry; `leg` is None where it concerns both."""

    reason: str
    leg: LegSide | None
    text: str

    def __str__(self) -> str:
        """Return the failure in words."""
        where = f"{self.leg.value} leg: " if self.leg is not None else ""
        return f"{where}{self.text}"
