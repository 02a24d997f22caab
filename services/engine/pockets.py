"""Where the fills of an order end up at a venue, and what a venue says is there.

A pocket is what can be read back: the position in a perpetual, the coins of a spot wallet, or the
coins of a margin account less its debt. Legs of several symbols share the pocket of their coin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from services.engine.instruments import InstrumentRules

_ZERO = Decimal(0)


class PocketKind(StrEnum):
    """Which of the venue's books a pocket is in."""

    PERPETUAL = "perpetual"
    SPOT = "spot"
    MARGIN = "margin"


@dataclass(frozen=True, slots=True, order=True)
class Pocket:
    """One signed quantity at one venue: `name` is the symbol of a perpetual, else the asset."""

    exchange: str
    kind: PocketKind
    name: str

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"{self.name} ({self.kind.value}) at {self.exchange}"


@dataclass(frozen=True, slots=True)
class Holdings:
    """What one account holds, read at once; what is not named is held at zero.

    `perpetuals` by symbol, both sides of hedge mode summed; `spot` by asset, free and locked
    together, so that a resting order changes nothing; `margin` by asset, below 0 where more is owed
    than held. None is a book the venue does not have or did not tell of. `interest` is the unpaid
    part of what `margin` owes.
    """

    perpetuals: Mapping[str, Decimal] | None = None
    spot: Mapping[str, Decimal] | None = None
    margin: Mapping[str, Decimal] | None = None
    interest: Mapping[str, Decimal] = field(default_factory=dict)

    def owed(self, pocket: Pocket) -> Decimal:
        """Return the interest that is owed in a pocket, unsigned."""
        if pocket.kind is not PocketKind.MARGIN:
            return _ZERO
        return self.interest.get(pocket.name, _ZERO)

    def told(self, pocket: Pocket) -> Decimal | None:
        """Return the signed quantity in a pocket; None where the venue did not tell."""
        books = {
            PocketKind.PERPETUAL: self.perpetuals,
            PocketKind.SPOT: self.spot,
            PocketKind.MARGIN: self.margin,
        }
        book = books[pocket.kind]
        return None if book is None else book.get(pocket.name, _ZERO)


def pocket_of(rules: InstrumentRules) -> Pocket:
    """Return the pocket that orders under these rules move."""
    if rules.is_perpetual:
        return Pocket(rules.ref.exchange, PocketKind.PERPETUAL, rules.ref.symbol)
    kind = PocketKind.MARGIN if rules.use_margin else PocketKind.SPOT
    return Pocket(rules.ref.exchange, kind, rules.base_asset)
