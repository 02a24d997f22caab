"""What left a leg at its venue without an order of ours: liquidated, deleveraged, closed by hand.

Two witnesses may tell of one event: the order stream names each forced fill, and a reading of the
venue's position says only how much is missing. Forced fills add up by the venue's id of each, the
reading is a total, and the larger of both counts: nothing is ever counted twice, and what one
witness missed the next reading adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, localcontext
from types import MappingProxyType

from services.engine.orders import GoneCause

_ZERO = Decimal(0)
_PRECISION = 60


@dataclass(frozen=True, slots=True)
class GoneFill:
    """One fill that the venue forced, cumulative; `price` None where it named none."""

    quantity: Decimal
    price: Decimal | None


@dataclass(frozen=True, slots=True)
class GoneRecord:
    """All that left one leg so; quantities unsigned, base units."""

    fills: Mapping[str, GoneFill] = field(default_factory=dict)
    read_total: Decimal = _ZERO
    causes: frozenset[GoneCause] = frozenset()

    @property
    def total(self) -> Decimal:
        """Quantity that left the leg, by the better of both witnesses."""
        return max(self._filled, self.read_total)

    @property
    def average_price(self) -> Decimal | None:
        """Average price of what left; None unless each part of it has a price."""
        prices = [(fill.quantity, fill.price) for fill in self.fills.values()]
        if not prices or self.read_total > self._filled:
            return None
        with localcontext() as context:
            context.prec = _PRECISION
            value = _ZERO
            for quantity, price in prices:
                if price is None:
                    return None
                value += quantity * price
            return value / self._filled

    @property
    def is_liquidated(self) -> bool:
        """Whether the venue took some of it to cover the account's own losses."""
        return GoneCause.LIQUIDATED in self.causes

    @property
    def _filled(self) -> Decimal:
        return sum((fill.quantity for fill in self.fills.values()), _ZERO)


def joined(
    record: GoneRecord,
    quantity: Decimal,
    evidence: str,
    cause: GoneCause,
    price: Decimal | None,
) -> GoneRecord:
    """Return the record after one more word; a repeated or older word changes nothing.

    `evidence` is the venue's id of a forced fill; empty for a reading, whose quantity is a total.
    """
    causes = record.causes | {cause}
    known = record.fills.get(evidence)
    if not evidence:
        record = replace(record, read_total=max(quantity, record.read_total))
    elif known is None or quantity > known.quantity:
        fills = {**record.fills, evidence: GoneFill(quantity, price)}
        record = replace(record, fills=MappingProxyType(fills))
    return record if causes == record.causes else replace(record, causes=causes)
