"""What the ledger says of each pocket: the sum of all journaled changes of its legs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.pockets import Pocket, PocketKind, pocket_of
from services.engine.position import Position

_ZERO = Decimal(0)
# A repayment pays the interest first and leaves as much of the debt, which no fill tells of.
_INTEREST_RATIO = Decimal("0.002")


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One pocket by the ledger, signed.

    Two equal lines of one pocket, neither with `doubts`, tell that no order of ours filled on it
    between them. `orders` counts those that filled anything, `live` positions that are not closed;
    a difference below `tolerance` is rounding.
    """

    quantity: Decimal = _ZERO
    orders: int = 0
    doubts: int = 0
    live: int = 0
    tolerance: Decimal = _ZERO
    symbols: tuple[str, ...] = ()


def shares_of(position: Position) -> Iterator[tuple[Pocket, LedgerLine]]:
    """Yield what one position adds to its pockets, fees that took other coins included."""
    for leg in LegSide:
        rules, records = position.rules(leg), position.of(leg)
        pocket = pocket_of(rules)
        tolerance = rules.lot_size
        if pocket.kind is PocketKind.MARGIN:
            sold = sum((record.executed for record in records), _ZERO)
            tolerance += sold * _INTEREST_RATIO
        yield (
            pocket,
            LedgerLine(
                quantity=position.quantity(leg),
                # One that filled nothing moved nothing: an exit that is refused again and again
                # must not hide that its leg is gone.
                orders=sum(record.executed > 0 for record in records),
                doubts=sum(not record.is_resolved for record in records),
                live=int(not position.status.is_final),
                tolerance=tolerance,
                symbols=(position.symbol,),
            ),
        )
        # A fee in the base coin is in the leg's quantity already; one in quote leaves a pocket that
        # is never traded here.
        if pocket.kind is not PocketKind.SPOT:
            continue
        for fee in (fee for record in records for fee in record.fees):
            if fee.asset not in (rules.base_asset, rules.quote_asset):
                paid = Pocket(rules.ref.exchange, PocketKind.SPOT, fee.asset)
                yield paid, LedgerLine(quantity=-fee.amount)


def moving_pockets(
    before: Mapping[Pocket, LedgerLine],
    after: Mapping[Pocket, LedgerLine],
    doubted: Collection[Pocket],
) -> frozenset[Pocket]:
    """Return the pockets whose reading may be of another moment than their line.

    Those an order of ours worked on while the reading was under way, those with an order in flight
    or in doubt, and the `doubted`, whose orders the ledger may not know of at all.
    """
    return frozenset(
        pocket
        for pocket, line in after.items()
        if line.doubts or line != before.get(pocket, LedgerLine()) or pocket in doubted
    )


class PocketLedger:
    """Sums of all positions per pocket, kept up with what changed; mutable: it is a running sum."""

    def __init__(self) -> None:
        self._seen: dict[str, Position] = {}
        self._lines: dict[Pocket, LedgerLine] = {}

    def update(self, positions: Iterable[Position]) -> dict[Pocket, LedgerLine]:
        """Take positions as they are now and return the line of every pocket so far."""
        for position in positions:
            before = self._seen.get(position.position_id)
            # Positions are immutable: the same object has changed nothing.
            if before is position:
                continue
            if before is not None:
                self._add(before, -1)
            self._add(position, 1)
            self._seen[position.position_id] = position
        return dict(self._lines)

    def _add(self, position: Position, sign: int) -> None:
        for pocket, share in shares_of(position):
            line = self._lines.get(pocket, LedgerLine())
            self._lines[pocket] = LedgerLine(
                quantity=line.quantity + sign * share.quantity,
                orders=line.orders + sign * share.orders,
                doubts=line.doubts + sign * share.doubts,
                live=line.live + sign * share.live,
                # These two only grow: a rest of any position may still be in the pocket.
                tolerance=max(line.tolerance, share.tolerance),
                symbols=tuple(sorted({*line.symbols, *share.symbols})),
            )
