"""Positions and balances of a connector as the pockets of an account."""

from __future__ import annotations

from decimal import Decimal

import pytest
from google.type import decimal_pb2

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.errors import FatalError
from services.engine.holdings_codec import balances_from_proto, positions_from_proto
from services.engine.pockets import Pocket, PocketKind

D = Decimal


def figure(text: str) -> decimal_pb2.Decimal:
    """Return a figure of the wire."""
    return decimal_pb2.Decimal(value=text)


def balance(asset: str, total: str, borrowed: str | None = None) -> resources_pb2.AssetBalance:
    """Return one row of an account."""
    row = resources_pb2.AssetBalance(asset=asset, total=figure(total))
    if borrowed is not None:
        row.borrowed.CopyFrom(figure(borrowed))
    return row


def test_positions_are_summed_by_symbol() -> None:
    """Hedge mode has two rows of one symbol."""
    rows = [("BTCUSDT", "1.5"), ("BTCUSDT", "-0.5"), ("ETHUSDT", "-3")]
    positions = [resources_pb2.Position(symbol=s, size=figure(q)) for s, q in rows]
    held = positions_from_proto(exchange_pb2.GetPositionsResponse(positions=positions))
    assert held.perpetuals == {"BTCUSDT": D(1), "ETHUSDT": D(-3)}
    assert held.spot is held.margin is None


def test_a_position_without_its_size_is_refused() -> None:
    """Read as zero it would be a leg that is gone."""
    broken = exchange_pb2.GetPositionsResponse(positions=[resources_pb2.Position(symbol="BTCUSDT")])
    with pytest.raises(FatalError):
        positions_from_proto(broken)


def test_a_margin_account_of_its_own_tells_its_debt() -> None:
    """The coins of the wallet are the user's and the long legs'."""
    rows = [balance("BTC", "2", "0.75"), balance("USDT", "100", "0")]
    held = balances_from_proto(resources_pb2.Account(balances=rows))
    assert held.spot == {"BTC": D(2), "USDT": D(100)}
    assert held.margin == {"BTC": D("-0.75"), "USDT": D(0)}


def test_coins_on_margin_count_and_interest_is_owed() -> None:
    """A short sale takes the coins that lie there before it borrows any."""
    row = balance("BTC", "2", "0.75")
    row.interest.CopyFrom(figure("0.05"))
    row.margin_total.CopyFrom(figure("0.3"))
    held = balances_from_proto(resources_pb2.Account(balances=[row]))
    assert held.margin == {"BTC": D("-0.5")}
    assert held.owed(Pocket("spot", PocketKind.MARGIN, "BTC")) == D("0.05")
    assert held.owed(Pocket("spot", PocketKind.SPOT, "BTC")) == 0


def test_an_unread_margin_account_is_no_debt_of_zero() -> None:
    """Nor is one of an account that names no balance at all."""
    held = balances_from_proto(resources_pb2.Account(balances=[balance("BTC", "2")]))
    assert held.spot == {"BTC": D(2)}
    assert held.margin is None
    assert balances_from_proto(resources_pb2.Account()).margin is None


def test_in_one_wallet_a_short_sale_is_missing_coins() -> None:
    """A unified account has no second book."""
    rows = [balance("BTC", "-0.75", "0.75")]
    held = balances_from_proto(resources_pb2.Account(balances=rows, is_unified=True))
    assert held.spot == held.margin == {"BTC": D("-0.75")}
