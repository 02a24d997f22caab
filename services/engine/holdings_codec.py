"""What a connector says an account holds, as the engine compares it with its ledger."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from services.common.codec import decimal_from_proto
from services.engine.connector_codec import required_figure
from services.engine.pockets import Holdings

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2

_ZERO = Decimal(0)


def positions_from_proto(answer: exchange_pb2.GetPositionsResponse) -> Holdings:
    """Decode all positions of a perpetual account; raises FatalError for one without its size."""
    sizes: dict[str, Decimal] = {}
    for row in answer.positions:
        sizes[row.symbol] = sizes.get(row.symbol, _ZERO) + required_figure(row, "size")
    return Holdings(perpetuals=sizes)


def balances_from_proto(account: resources_pb2.Account) -> Holdings:
    """Decode all balances of a spot account; raises FatalError for one without its total.

    Of a separate margin account counts what it holds less what it owes: a short sale takes coins
    that lie there before it borrows any. In a unified account the coins that were sold short are
    missing from the one wallet.
    """
    totals = {row.asset: required_figure(row, "total") for row in account.balances}
    if account.is_unified:
        return Holdings(spot=totals, margin=totals)
    # No debt is believed to be zero where the margin account could not be read.
    are_known = all(row.HasField("borrowed") for row in account.balances)
    if not account.balances or not are_known:
        return Holdings(spot=totals)
    owed = {row.asset: decimal_from_proto(row, "interest") or _ZERO for row in account.balances}
    held = {row.asset: decimal_from_proto(row, "margin_total") or _ZERO for row in account.balances}
    net = {
        row.asset: held[row.asset] - required_figure(row, "borrowed") - owed[row.asset]
        for row in account.balances
    }
    return Holdings(spot=totals, margin=net, interest=owed)
