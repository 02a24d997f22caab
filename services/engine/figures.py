"""What the gauges show of the ledger: what is on, what is not hedged, what it has made so far.

Money is summed by quote asset, because amounts of two currencies have no sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.neutrality import is_neutral
from services.engine.position import Position
from services.engine.risk_exposure import Marks, leg_price
from services.engine.risk_result import paid_fee, position_result

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Earnings:
    """Money of positions in one quote asset: all of it, and the funding and fees that are in it."""

    result: Decimal = _ZERO
    funding: Decimal = _ZERO
    fees: Decimal = _ZERO

    def plus(self, other: Earnings) -> Earnings:
        """Return the sum."""
        return Earnings(
            self.result + other.result, self.funding + other.funding, self.fees + other.fees
        )


@dataclass(frozen=True, slots=True)
class HeldFigures:
    """What is on, in quote asset; the legs are signed and keyed by exchange, symbol and side.

    `residuals` are the signed values without a hedge, by symbol, booked dust left out; both legs
    at one price, so that the basis is no residual. `unhedged` sums their sizes where they are a
    lot or more.
    """

    legs: Mapping[tuple[str, str, str], Decimal] = field(default_factory=dict)
    residuals: Mapping[str, Decimal] = field(default_factory=dict)
    unhedged: Decimal = _ZERO


def held_figures(positions: Iterable[Position], marks: Marks) -> HeldFigures:
    """Return what positions that are not closed hold."""
    legs: dict[tuple[str, str, str], Decimal] = {}
    residuals: dict[str, Decimal] = {}
    unhedged = _ZERO
    for position in positions:
        if position.status.is_final:
            continue
        for leg in LegSide:
            key = (position.rules(leg).ref.exchange, position.symbol, leg.value)
            value = position.quantity(leg) * leg_price(position, leg, marks)
            legs[key] = legs.get(key, _ZERO) + value
        open_quantity = position.residual - position.total_dust
        value = open_quantity * leg_price(position, position.lead_leg, marks)
        residuals[position.symbol] = residuals.get(position.symbol, _ZERO) + value
        if not is_neutral(position.residual, position.larger_lot, position.total_dust):
            unhedged += abs(value)
    return HeldFigures(legs, residuals, unhedged)


class EarningsBook:
    """Sums what positions have made; final ones are computed once, for they are many."""

    def __init__(self) -> None:
        self._final: dict[str, tuple[int, Earnings]] = {}

    def total(self, positions: Iterable[Position], marks: Marks) -> Mapping[str, Earnings]:
        """Return the sums by quote asset."""
        totals: dict[str, Earnings] = {}
        for position in positions:
            quote = position.intent.long_rules.quote_asset
            totals[quote] = totals.get(quote, Earnings()).plus(self._of(position, marks))
        return totals

    def _of(self, position: Position, marks: Marks) -> Earnings:
        if not position.status.is_final:
            return earnings_of(position, marks)
        known = self._final.get(position.position_id)
        # A late payment gives even a closed position a new revision.
        if known is None or known[0] != position.revision:
            known = (position.revision, earnings_of(position, {}))
            self._final[position.position_id] = known
        return known[1]


def earnings_of(position: Position, marks: Marks) -> Earnings:
    """Return what one position has made, with what is held at its mark.

    Funding in another asset than the quote is left out.
    """
    quote = position.intent.long_rules.quote_asset
    return Earnings(
        position_result(position, marks),
        sum((one.amount for one in position.funding.values() if one.asset == quote), _ZERO),
        sum(
            (
                paid_fee(record, position.rules(record.plan.leg), with_base=True)
                for record in position.orders.values()
            ),
            _ZERO,
        ),
    )
