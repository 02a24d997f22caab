"""Account rows of the venue: signs, hedge mode, debts, health, and what is wrong with settings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.connector.account_mapping import (
    MarginDebt,
    SymbolConfig,
    is_held,
    to_borrow_rate,
    to_funding_payment,
    to_futures_account,
    to_futures_balance,
    to_position,
    to_positions_of_event,
    to_spot_balance,
    to_symbol_config,
    to_trading_fee,
)
from services.connector.account_problems import AccountFacts, find_problems
from services.connector.instruments import Instrument, InstrumentBook, InstrumentKind, TradingStatus


def perpetual(symbol: str, multiplier: int) -> Instrument:
    """Return a perpetual listed by `multiplier` coins."""
    prefix = str(multiplier) if multiplier != 1 else ""
    base = symbol.removesuffix("USDT")
    return Instrument(
        symbol=symbol,
        exchange_symbol=f"{prefix}{symbol}",
        unified=f"{prefix}{base}/USDT:USDT",
        kind=InstrumentKind.PERPETUAL,
        base_asset=base,
        quote_asset="USDT",
        settle_asset="USDT",
        contract_size=Decimal(1),
        base_multiplier=Decimal(multiplier),
        lot_size=Decimal(1),
        tick_size=Decimal(1),
        min_quantity=None,
        max_quantity=None,
        max_market_quantity=None,
        min_notional=None,
        status=TradingStatus.TRADING,
        margin_allowed=False,
        price_precision=0,
        quantity_precision=0,
        venue_base_asset=f"{prefix}{base}",
    )


PEPE, BTC = perpetual("PEPEUSDT", 1000), perpetual("BTCUSDT", 1)
BOOK = InstrumentBook([PEPE, BTC])


def row(**changes: Any) -> dict[str, Any]:
    """Return a positionRisk v3 row."""
    return {
        "symbol": "BTCUSDT",
        "positionSide": "BOTH",
        "positionAmt": "-0.5",
        "entryPrice": "100",
        "markPrice": "90",
        "unRealizedProfit": "5",
        "liquidationPrice": "180",
        "isolatedMargin": "0",
        "initialMargin": "2.25",
        "maintMargin": "0.4",
        "updateTime": 1_700_000_000_000,
        **changes,
    }


@pytest.mark.parametrize(
    ("side", "amount", "size"),
    [
        ("BOTH", "0.5", "0.5"),
        ("BOTH", "-0.5", "-0.5"),
        ("LONG", "0.5", "0.5"),
        ("SHORT", "-0.5", "-0.5"),
        ("SHORT", "0.5", "-0.5"),
    ],
)
def test_sizes_are_signed_in_both_position_modes(side: str, amount: str, size: str) -> None:
    """Long is above zero, the short side of hedge mode below, however the venue signs it."""
    position = to_position(row(positionSide=side, positionAmt=amount), BTC, SymbolConfig())
    assert position.size.value == size


def test_a_position_of_a_multiplier_symbol_is_per_single_coin() -> None:
    """Size times a thousand, prices through a thousand, profit and margin unchanged."""
    position = to_position(
        row(symbol="1000PEPEUSDT", positionAmt="-7", entryPrice="0.01", markPrice="0.02"),
        PEPE,
        SymbolConfig(5, "cross"),
    )
    assert position.symbol == "PEPEUSDT"
    assert position.size.value == "-7000"
    assert (position.entry_price.value, position.mark_price.value) == ("0.00001", "0.00002")
    assert position.unrealized_pnl.value == "5"
    assert (position.leverage, position.margin_type) == (5, "cross")
    assert not position.HasField("isolated_margin")


def test_a_liquidation_price_of_zero_cannot_be_reached() -> None:
    """Zero is the venue's word for none."""
    assert not to_position(row(liquidationPrice="0"), BTC, SymbolConfig()).HasField(
        "liquidation_price"
    )


@pytest.mark.parametrize("amount", ["", None, "NaN", "1_0"])
def test_a_position_without_a_plain_size_is_malformed(amount: object) -> None:
    """An unreadable size is never a zero."""
    with pytest.raises(ValueError):  # noqa: PT011 - the quarantine looks at no more
        to_position(row(positionAmt=amount), BTC, SymbolConfig())


def test_an_account_event_names_positions_and_a_zero_size_closes() -> None:
    """Rows of symbols that are not ours are left out."""
    event = {
        "e": "ACCOUNT_UPDATE",
        "E": 2,
        "T": 1_700_000_000_000,
        "a": {
            "P": [
                {"s": "BTCUSDT", "pa": "0", "ep": "0", "up": "0", "mt": "cross", "ps": "BOTH"},
                {
                    "s": "1000PEPEUSDT",
                    "pa": "3",
                    "ep": "0.01",
                    "up": "1",
                    "mt": "isolated",
                    "iw": "4",
                    "ps": "SHORT",
                },
                {"s": "OTHERUSDT", "pa": "1", "ep": "1", "up": "0", "mt": "cross", "ps": "BOTH"},
            ]
        },
    }
    closed, short = to_positions_of_event(event, BOOK, {"BTCUSDT": SymbolConfig(20, "cross")})
    assert (closed.symbol, closed.size.value, closed.leverage) == ("BTCUSDT", "0", 20)
    assert not closed.HasField("entry_price")
    assert (short.size.value, short.entry_price.value) == ("-3000", "0.00001")
    assert (short.margin_type, short.isolated_margin.value) == ("isolated", "4")
    assert short.update_time.seconds == 1_700_000_000


def test_a_spot_balance_is_free_and_locked_with_its_debt() -> None:
    """Debt is unknown, not zero, when the margin account was not read."""
    held = {"asset": "BTC", "free": "1.5", "locked": "0.5"}
    debt = MarginDebt(Decimal("0.2"), Decimal("0.01"), Decimal("0.7"))
    known = to_spot_balance(held, {"BTC": debt})
    assert (known.total.value, known.borrowed.value, known.interest.value) == ("2", "0.2", "0.01")
    assert known.margin_total.value == "0.7"
    assert to_spot_balance(held, {}).borrowed.value == "0"
    unread = to_spot_balance(held, None)
    assert not unread.HasField("borrowed")
    assert not unread.HasField("margin_total")


def test_an_asset_that_is_only_owed_is_held() -> None:
    """A short spot leg has nothing in the wallet and a debt."""
    nothing = {"asset": "BTC", "free": "0", "locked": "0"}
    debt = {"BTC": MarginDebt(Decimal(1), Decimal(0), Decimal(0))}
    assert is_held(to_spot_balance(nothing, debt))
    coins = {"BTC": MarginDebt(Decimal(0), Decimal(0), Decimal(1))}
    assert is_held(to_spot_balance(nothing, coins))
    assert not is_held(to_spot_balance(nothing, {}))


def account_row(**changes: str) -> dict[str, Any]:
    """Return a futures account answer."""
    return {
        "totalWalletBalance": "100",
        "totalMarginBalance": "80",
        "availableBalance": "60",
        "totalMaintMargin": "20",
        **changes,
    }


@pytest.mark.parametrize(
    ("equity", "maintenance", "health"), [("80", "20", "0.75"), ("80", "0", "1"), ("10", "20", "0")]
)
def test_health_is_the_distance_from_liquidation(
    equity: str, maintenance: str, health: str
) -> None:
    """1 - maintenance / margin balance, not below zero."""
    changed = account_row(totalMarginBalance=equity, totalMaintMargin=maintenance)
    assert to_futures_account(changed, [], []).health_score.value == health


def test_an_account_without_equity_has_no_health() -> None:
    """Nothing to divide by: unknown."""
    changed = account_row(totalMarginBalance="0")
    assert not to_futures_account(changed, [], []).HasField("health_score")


def test_empty_assets_are_left_out_of_the_account() -> None:
    """A venue lists every asset it knows."""
    balances = [
        to_futures_balance({"asset": "USDT", "walletBalance": "5", "availableBalance": "4"}),
        to_futures_balance({"asset": "USDC", "walletBalance": "0", "availableBalance": "0"}),
    ]
    account = to_futures_account(account_row(), balances, [])
    assert [balance.asset for balance in account.balances] == ["USDT"]


@pytest.mark.parametrize("amount", ["-0.25", "0.25"])
def test_funding_keeps_the_sign_of_the_venue(amount: str) -> None:
    """Above zero was received, below was paid."""
    payment = to_funding_payment(
        {"symbol": "1000PEPEUSDT", "asset": "USDT", "income": amount, "time": 5, "tranId": 77}, BOOK
    )
    assert (payment.symbol, payment.amount.value, payment.payment_id) == ("PEPEUSDT", amount, "77")


def test_fees_are_read_in_both_of_the_venues_forms() -> None:
    """Spot says makerCommission, futures makerCommissionRate; a fee of zero is a known zero."""
    spot = to_trading_fee({"makerCommission": "0", "takerCommission": "0.001"}, BTC)
    futures = to_trading_fee({"makerCommissionRate": "0", "takerCommissionRate": "0.0005"}, BTC)
    assert (spot.maker_fee_ratio.value, spot.taker_fee_ratio.value) == ("0", "0.001")
    assert (futures.maker_fee_ratio.value, futures.taker_fee_ratio.value) == ("0", "0.0005")


def test_what_cannot_be_borrowed_has_no_price() -> None:
    """Left out, not priced at zero."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    priced = {"coin": "BTC", "borrowable": True, "yearlyInterest": "0.05"}
    rate = to_borrow_rate(priced, now)
    assert rate is not None
    assert rate.annualized_rate.value == "0.05"
    assert to_borrow_rate({**priced, "borrowable": False}, now) is None


def test_margin_types_have_two_words() -> None:
    """CROSSED is cross."""
    assert to_symbol_config({"symbol": "A", "marginType": "CROSSED", "leverage": 20}) == (
        "A",
        SymbolConfig(20, "cross"),
    )


GOOD = AccountFacts(
    is_perpetual=True,
    can_read=True,
    can_trade=True,
    can_withdraw=False,
    ip_restricted=True,
    hedge_mode=False,
    margin_type="cross",
    clock_skew=timedelta(milliseconds=20),
)


def test_a_good_account_has_no_problems() -> None:
    """Nothing to say."""
    assert find_problems(GOOD) == []


def test_unknown_settings_are_no_problems_of_their_own() -> None:
    """What was not told is not accused."""
    assert find_problems(AccountFacts(is_perpetual=False)) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"can_withdraw": True}, "withdraw"),
        ({"ip_restricted": False}, "any address"),
        ({"can_trade": False}, "futures trading"),
        ({"can_read": False}, "read"),
        ({"hedge_mode": True}, "one-way"),
        ({"margin_type": "isolated"}, "cross margin"),
        ({"clock_skew": timedelta(seconds=-3)}, "-3.0 s"),
        ({"unread": ("the position mode (VENUE_UNREACHABLE)",)}, "the position mode"),
        ({"unread": ("the position mode (VENUE_UNREACHABLE)",)}, "check the key"),
        ({"unread": ("the position mode (VENUE_RATE_LIMITED)",)}, "again in a minute"),
    ],
)
def test_each_wrong_setting_is_one_sentence(changes: dict[str, Any], word: str) -> None:
    """And it says what to do."""
    facts = {name: getattr(GOOD, name) for name in AccountFacts.__dataclass_fields__}
    (problem,) = find_problems(AccountFacts(**{**facts, **changes}))
    assert word in problem
