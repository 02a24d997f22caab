"""What all open positions come to, by quote asset: two currencies have no sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from services.engine.page.facts import PositionRow

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Totals:
    """Money in one quote asset; `funding` is None where nothing was told of any position."""

    notional: Decimal = _ZERO
    funding: Decimal | None = None
    result: Decimal = _ZERO


def totals_of(rows: Iterable[PositionRow]) -> Mapping[str, Totals]:
    """Return the sums of these positions by quote asset, in the order of the alphabet."""
    totals: dict[str, Totals] = {}
    for row in rows:
        known, told = totals.get(row.quote_asset, Totals()), row.view.funding_received
        funding = known.funding if told is None else (known.funding or _ZERO) + told
        totals[row.quote_asset] = Totals(
            known.notional + row.notional, funding, known.result + row.result
        )
    return dict(sorted(totals.items()))
