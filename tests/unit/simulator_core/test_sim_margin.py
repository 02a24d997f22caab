"""Cross margin: borrowing for a short spot leg, interest by the hour, repayment by the buy."""

from __future__ import annotations

from decimal import Decimal

import pytest

from services.simulator.core.errors import VenueError
from services.simulator.core.orders import Product, Side, SideEffect
from tests.support.venue_rig import make_rig

MARGIN = Product.MARGIN
BORROW_REPAY = SideEffect.BORROW_REPAY


def test_selling_what_one_does_not_have_borrows_it() -> None:
    """The loan is exactly what is missing; the proceeds stay in the wallet."""
    rig = make_rig()
    rig.account.margin.credit("BTC", Decimal("0.4"))
    rig.place(Side.SELL, "1", product=MARGIN, side_effect=BORROW_REPAY)
    assert rig.account.loans.principal["BTC"] == Decimal("0.6")
    assert rig.account.margin.get("BTC").total == 0
    assert rig.account.margin.get("USDT").free > 1099


def test_without_the_side_effect_nothing_is_borrowed() -> None:
    """A plain margin sell of what is not there is refused."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.place(Side.SELL, "1", product=MARGIN)
    assert caught.value.code == -2010
    assert not rig.account.loans.assets()


def test_buying_back_repays_principal_and_interest() -> None:
    """After an hour a ten-thousandth is owed on top; a large enough buy clears both."""
    rig = make_rig()
    rig.place(Side.SELL, "1", product=MARGIN, side_effect=BORROW_REPAY)
    rig.wire.move(3600)
    rig.exchange.margin.accrue(rig.account)
    assert rig.account.loans.owed("BTC") == Decimal("1.0001")
    rig.place(Side.BUY, "1.002", product=MARGIN, side_effect=SideEffect.REPAY)
    assert rig.account.loans.owed("BTC") == 0
    assert rig.account.margin.get("BTC").free == Decimal("1.002") * Decimal("0.999") - Decimal(
        "1.0001"
    )
    kinds = [record.type for record in rig.exchange.margin.records]
    assert kinds == ["BORROW", "INTEREST", "REPAY"]


def test_a_buy_short_of_the_fee_leaves_the_rest_owed() -> None:
    """Buying back exactly what was sold repays it less the fee taken in the base coin."""
    rig = make_rig()
    rig.place(Side.SELL, "1", product=MARGIN, side_effect=BORROW_REPAY)
    rig.place(Side.BUY, "1", product=MARGIN, side_effect=SideEffect.REPAY)
    assert rig.account.loans.owed("BTC") == Decimal("0.001")


def test_no_more_is_lent_than_three_times_the_equity() -> None:
    """With 1000 USDT of equity the loan ends at 2000."""
    rig = make_rig()
    assert rig.exchange.margin.max_borrowable(rig.account, "BTC") == 20
    with pytest.raises(VenueError) as caught:
        rig.exchange.margin.borrow(rig.account, "BTC", Decimal("20.1"))
    assert caught.value.code == -3006
    rig.exchange.margin.borrow(rig.account, "BTC", Decimal(20))
    assert rig.exchange.margin.max_borrowable(rig.account, "BTC") == 0


def test_repaying_what_is_not_owed_is_refused() -> None:
    """The venue has nothing to take."""
    rig = make_rig()
    with pytest.raises(VenueError) as caught:
        rig.exchange.margin.repay(rig.account, "USDT", Decimal(1))
    assert caught.value.code == -3015


def test_margin_and_spot_wallets_are_apart() -> None:
    """A margin order leaves the user's own spot coins untouched."""
    rig = make_rig()
    rig.place(Side.SELL, "1", product=MARGIN, side_effect=BORROW_REPAY)
    assert rig.account.spot.get("BTC").total == 10
    assert rig.account.spot.get("USDT").total == 10_000
