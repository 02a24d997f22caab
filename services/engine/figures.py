"""What the gauges show of the ledger: what is on, what is not hedged, what it has made so far.

Money is summed by quote asset, because amounts of two currencies have no sum. Sums take one
position after the other, so that who adds can let others run in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.neutrality import is_neutral
from services.engine.position import Position
from services.engine.risk_exposure import Marks, leg_exposures, leg_price, pair_notional
from services.engine.risk_result import fees_of_day, paid_fee, position_result, utc_day

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Earnings:
    """What a position made in its quote asset, and the funding and fees that are in it.

    `day_fees` are those of the orders of `day`, the UTC day of its last change, at worst.
    """

    quote_asset: str
    result: Decimal
    funding: Decimal
    fees: Decimal
    day: date
    day_fees: Decimal


def earnings_of(position: Position, marks: Marks) -> Earnings:
    """Return what one position has made, with what is held at its mark.

    Funding in another asset than the quote is left out.
    """
    quote, day = position.intent.long_rules.quote_asset, utc_day(position.update_time)
    return Earnings(
        quote,
        position_result(position, marks),
        sum((one.amount for one in position.funding.values() if one.asset == quote), _ZERO),
        sum(
            (
                paid_fee(record, position.rules(record.plan.leg), with_base=True)
                for record in position.orders.values()
            ),
            _ZERO,
        ),
        day,
        fees_of_day((position,), day),
    )


class EarningsBook:
    """Keeps what final positions have made: they are many, and change seldom."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, Earnings]] = {}

    def knows(self, position: Position) -> bool:
        """Return whether a final position was looked at as it is."""
        # A late payment gives even a closed position a new revision.
        known = self._kept.get(position.position_id)
        return known is not None and known[0] == position.revision

    def of(self, position: Position) -> Earnings:
        """Return what a final position has made."""
        if not self.knows(position):
            found = (position.revision, earnings_of(position, {}))
            self._kept[position.position_id] = found
        return self._kept[position.position_id][1]


class EarnedSum:
    """What positions have made, by quote asset; `day_fees` are those of the day it is made for."""

    def __init__(self, day: date) -> None:
        self._day = day
        self.results: dict[str, Decimal] = {}
        self.funding: dict[str, Decimal] = {}
        self.fees: dict[str, Decimal] = {}
        self.day_fees = _ZERO

    def add(self, one: Earnings) -> None:
        """Take one position."""
        asset = one.quote_asset
        self.results[asset] = self.results.get(asset, _ZERO) + one.result
        self.funding[asset] = self.funding.get(asset, _ZERO) + one.funding
        self.fees[asset] = self.fees.get(asset, _ZERO) + one.fees
        if one.day == self._day:
            self.day_fees += one.day_fees


class HeldSum:
    """What is on, in quote asset; the legs are signed and keyed by exchange, symbol and side.

    `residuals` are the signed values without a hedge, by symbol, booked dust left out; both legs
    at one price, so that the basis is no residual. `unhedged` sums their sizes where they are a
    lot or more, `notional` the dearer legs at worst, as bounds count them.
    """

    def __init__(self) -> None:
        self.legs: dict[tuple[str, str, str], Decimal] = {}
        self.residuals: dict[str, Decimal] = {}
        self.unhedged = _ZERO
        self.notional = _ZERO
        self.count = 0

    def add(self, position: Position, marks: Marks) -> None:
        """Take one position that is not final."""
        self.count += 1
        self.notional += pair_notional(leg_exposures((position,), marks))
        for leg in LegSide:
            key = (position.rules(leg).ref.exchange, position.symbol, leg.value)
            value = position.quantity(leg) * leg_price(position, leg, marks)
            self.legs[key] = self.legs.get(key, _ZERO) + value
        open_quantity = position.residual - position.total_dust
        value = open_quantity * leg_price(position, position.lead_leg, marks)
        self.residuals[position.symbol] = self.residuals.get(position.symbol, _ZERO) + value
        if not is_neutral(position.residual, position.larger_lot, position.total_dust):
            self.unhedged += abs(value)
