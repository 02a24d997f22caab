"""Cross margin of Binance under /sapi: orders, loans, interest, the margin account."""

from __future__ import annotations

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.limits import Family
from services.simulator.core.margin import LoanRecord
from services.simulator.core.money import plain, text8
from services.simulator.core.orders import Product
from services.simulator.dialects.binance_common import page
from services.simulator.dialects.binance_spot_trade import (
    all_orders_as,
    cancel_all_as,
    cancel_as,
    open_orders_as,
    place_as,
    query_as,
    trades_as,
)
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security, Weight
from services.simulator.market.source import Kind

_MARGIN = Product.MARGIN


def all_pairs(context: Context) -> object:
    """Answer the pairs that can be traded on cross margin."""
    return [
        {
            "id": 351_637_150_000_000_000 + number,
            "symbol": spec.symbol,
            "base": spec.base_asset,
            "quote": spec.quote_asset,
            "isMarginTrade": True,
            "isBuyAllowed": True,
            "isSellAllowed": True,
        }
        for number, spec in enumerate(context.simulation.market.instruments(Kind.SPOT).values())
        if spec.margin_allowed
    ]


def place(context: Context) -> object:
    """Place a margin order, borrowing and repaying as `sideEffectType` says."""
    symbol = context.params.require("symbol")
    if not context.simulation.market.spec(Kind.SPOT, symbol).margin_allowed:
        raise VenueError(-3021, "Margin account are not allowed to trade this trading pair.")
    exchange, account = context.simulation.exchange, context.account
    # the store of records only grows, so what follows this length belongs to this call
    before = len(exchange.margin.records)
    row = place_as(context, _MARGIN)
    borrowed = [r for r in exchange.margin.records[before:] if r.type == "BORROW"]
    # told only when something was borrowed for this very order
    if borrowed and account.name == borrowed[0].account:
        row["marginBuyBorrowAmount"] = plain(borrowed[0].principal)
        row["marginBuyBorrowAsset"] = borrowed[0].asset
    row["isIsolated"] = False
    return row


def account(context: Context) -> object:
    """Answer the margin account with debts and level."""
    simulation = context.simulation
    simulation.exchange.advance()
    caller, desk = context.account, simulation.exchange.margin
    # interest is charged when somebody looks; without this a quiet account would owe none
    desk.accrue(caller)
    collateral = desk.collateral(caller)
    bitcoin = simulation.market.value_in_usdt("BTC")
    assets = sorted({*caller.margin.balances, *caller.loans.assets()})
    return {
        "created": True,
        "borrowEnabled": True,
        "marginLevel": text8(collateral.level),
        "collateralMarginLevel": text8(collateral.level),
        "totalAssetOfBtc": text8(collateral.assets / bitcoin) if bitcoin else "0",
        "totalLiabilityOfBtc": text8(collateral.liabilities / bitcoin) if bitcoin else "0",
        "totalNetAssetOfBtc": text8(collateral.equity / bitcoin) if bitcoin else "0",
        "totalCollateralValueInUSDT": text8(collateral.assets),
        "tradeEnabled": True,
        "transferInEnabled": True,
        "transferOutEnabled": True,
        "accountType": "MARGIN_1",
        "userAssets": [_asset_row(context, asset) for asset in assets],
    }


def _asset_row(context: Context, asset: str) -> dict[str, object]:
    balance, loans = context.account.margin.get(asset), context.account.loans
    return {
        "asset": asset,
        "borrowed": text8(loans.principal[asset]),
        "free": text8(balance.free),
        "interest": text8(loans.interest[asset]),
        "locked": text8(balance.locked),
        # below zero while something is borrowed and sold: that is how a short on spot looks
        "netAsset": text8(balance.total - loans.owed(asset)),
    }


def borrow_repay(context: Context) -> object:
    """Borrow or repay by hand."""
    params = context.params
    asset, amount = params.require("asset"), params.decimal("amount")
    if not amount:
        raise VenueError(-1102, "Mandatory parameter 'amount' was not sent, was empty/null.")
    desk = context.simulation.exchange.margin
    act = {"BORROW": desk.borrow, "REPAY": desk.repay}.get(params.require("type"))
    if act is None:
        raise VenueError(-1102, "Mandatory parameter 'type' was malformed.")
    return {"tranId": act(context.account, asset, amount)}


def max_borrowable(context: Context) -> object:
    """Answer how much more of an asset may be borrowed."""
    desk = context.simulation.exchange.margin
    amount = desk.max_borrowable(context.account, context.params.require("asset"))
    return {"amount": text8(amount), "borrowLimit": text8(amount)}


def interest_rates(context: Context) -> object:
    """Answer the daily interest rate of an asset: one row, today's."""
    asset = context.params.require("asset")
    desk = context.simulation.exchange.margin
    return [
        {
            "asset": asset,
            "dailyInterestRate": text8(desk.hourly_rate(asset) * 24),
            "timestamp": millis(context.simulation.market.now()),
            "vipLevel": 0,
        }
    ]


def cross_margin_data(context: Context) -> object:
    """Answer interest and borrowability by asset."""
    wanted = context.params.text("coin")
    desk = context.simulation.exchange.margin
    coins = sorted(
        {
            spec.base_asset
            for spec in context.simulation.market.instruments(Kind.SPOT).values()
            if spec.margin_allowed
        }
        | {"USDT"}
    )
    return [
        {
            "vipLevel": 0,
            "coin": coin,
            "transferIn": True,
            "borrowable": True,
            "dailyInterest": text8(desk.hourly_rate(coin) * 24),
            "yearlyInterest": text8(desk.hourly_rate(coin) * 24 * 365),
            "borrowLimit": text8(desk.max_borrowable(context.account, coin)),
            "marginablePairs": [f"{coin}USDT"],
        }
        for coin in coins
        if wanted in (None, coin)
    ]


def loan_records(context: Context) -> object:
    """Answer borrowings or repayments, newest last."""
    params = context.params
    rows = _records(context, params.require("type"))
    return {
        "rows": [
            {
                "txId": row.tran_id,
                "asset": row.asset,
                "principal": text8(row.principal),
                "interest": text8(row.interest),
                "amount": text8(row.principal + row.interest),
                "timestamp": millis(row.time),
                "status": "CONFIRMED",
                "type": "MANUAL",
            }
            for row in rows
        ],
        "total": len(rows),
    }


def interest_history(context: Context) -> object:
    """Answer interest charges."""
    rows = _records(context, "INTEREST")
    return {
        "rows": [
            {
                "txId": row.tran_id,
                "interestAccuredTime": millis(row.time),
                "asset": row.asset,
                "rawAsset": row.asset,
                "principal": text8(row.principal),
                "interest": text8(row.interest),
                "interestRate": text8(row.rate),
                "type": "PERIODIC",
                "isolatedSymbol": "",
            }
            for row in rows
        ],
        "total": len(rows),
    }


def listen_token(context: Context) -> object:
    """Make the token with which a WebSocket subscribes to the margin user stream."""
    tokens = context.simulation.listen_tokens
    expires = context.simulation.wire.now() + tokens.lifetime
    return {"token": tokens.create(context.account.name), "expirationTime": millis(expires)}


def _records(context: Context, type_: str) -> list[LoanRecord]:
    desk = context.simulation.exchange.margin
    desk.accrue(context.account)
    asset = context.params.text("asset")
    rows = [
        row
        for row in desk.records
        if row.account == context.account.name and row.type == type_ and asset in (None, row.asset)
    ]
    return page(rows, context.params, lambda row: millis(row.time), 100, 100)


def _sapi(handler: Handler, operation: str, weight: Weight = 10, orders: int = 0) -> Endpoint:
    return Endpoint(handler, operation, weight, Security.SIGNED, orders, Family.SAPI)


ROUTES: Routes = {
    ("GET", "/sapi/v1/margin/allPairs"): Endpoint(
        all_pairs, "get_margin_pairs", 1, Security.KEY, family=Family.SAPI
    ),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): Endpoint(
        lambda _: [], "get_margin_pairs", 1, Security.KEY, family=Family.SAPI
    ),
    # Weights of /sapi are per address in a window of their own, twice as wide as spot's.
    ("POST", "/sapi/v1/margin/order"): _sapi(place, "place_order", 6, 1),
    ("DELETE", "/sapi/v1/margin/order"): _sapi(lambda c: cancel_as(c, _MARGIN), "cancel_order"),
    ("GET", "/sapi/v1/margin/order"): _sapi(lambda c: query_as(c, _MARGIN), "get_order"),
    ("DELETE", "/sapi/v1/margin/openOrders"): _sapi(
        lambda c: cancel_all_as(c, _MARGIN), "cancel_all_orders", 1
    ),
    ("GET", "/sapi/v1/margin/openOrders"): _sapi(
        lambda c: open_orders_as(c, _MARGIN), "get_open_orders"
    ),
    ("GET", "/sapi/v1/margin/allOrders"): _sapi(
        lambda c: all_orders_as(c, _MARGIN), "get_orders", 200
    ),
    ("GET", "/sapi/v1/margin/myTrades"): _sapi(lambda c: trades_as(c, _MARGIN), "get_trades"),
    ("POST", "/sapi/v1/userListenToken"): Endpoint(
        listen_token, "listen_key", 1, Security.KEY, family=Family.SAPI
    ),
    ("GET", "/sapi/v1/margin/account"): _sapi(account, "get_account"),
    ("POST", "/sapi/v1/margin/borrow-repay"): _sapi(borrow_repay, "borrow_repay", 1),
    ("GET", "/sapi/v1/margin/borrow-repay"): _sapi(loan_records, "get_loans"),
    ("GET", "/sapi/v1/margin/maxBorrowable"): _sapi(max_borrowable, "get_max_borrowable", 50),
    ("GET", "/sapi/v1/margin/interestRateHistory"): _sapi(interest_rates, "get_interest_rates", 1),
    ("GET", "/sapi/v1/margin/interestHistory"): _sapi(interest_history, "get_interest", 1),
    ("GET", "/sapi/v1/margin/crossMarginData"): _sapi(cross_margin_data, "get_interest_rates", 1),
}
