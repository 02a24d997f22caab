"""One reading of a venue laid beside the ledger, and what two readings say alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from services.engine.pockets import Pocket
from services.engine.reconcile_ledger import LedgerLine

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of a venue beside the ledger as it was before and after.

    `moving` are the pockets whose two numbers may be of different moments. `interest` is what is
    unpaid of a margin debt, or was until the ledger said so too.
    """

    lines: Mapping[Pocket, LedgerLine]
    told: Mapping[Pocket, Decimal]
    moving: frozenset[Pocket]
    interest: Mapping[Pocket, Decimal] = field(default_factory=dict)

    def joined(self, later: Look) -> Look:
        """Return what both looks say alike; pockets in which they differ are moving."""
        differing = {
            pocket
            for pocket in self.lines.keys() | later.lines.keys()
            if self.lines.get(pocket) != later.lines.get(pocket)
            or self.told.get(pocket) != later.told.get(pocket)
        }
        moving = self.moving | later.moving | differing
        interest = {
            pocket: max(owed, self.interest.get(pocket, _ZERO))
            for pocket, owed in later.interest.items()
        }
        return Look(later.lines, later.told, moving, interest)

    @property
    def quiet(self) -> frozenset[Pocket]:
        """The pockets whose numbers can be compared."""
        return frozenset(self.told) - self.moving

    @property
    def at_rest(self) -> dict[Pocket, Decimal]:
        """What is told of the quiet pockets."""
        return {pocket: self.told[pocket] for pocket in self.quiet}
