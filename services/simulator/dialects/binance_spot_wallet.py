"""Wallet endpoints under /sapi that ccxt calls on its own or a doctor reads."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.events import Reason, WalletEvent
from services.simulator.core.income import IncomeType
from services.simulator.core.limits import Family
from services.simulator.core.money import plain
from services.simulator.core.orders import Product
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security
from services.simulator.market.source import Kind

# From, to and the venue's name of each transfer between an account's own wallets.
TRANSFERS = {
    "MAIN_UMFUTURE": (Product.SPOT, Product.PERPETUAL),
    "UMFUTURE_MAIN": (Product.PERPETUAL, Product.SPOT),
    "MAIN_MARGIN": (Product.SPOT, Product.MARGIN),
    "MARGIN_MAIN": (Product.MARGIN, Product.SPOT),
    "MARGIN_UMFUTURE": (Product.MARGIN, Product.PERPETUAL),
    "UMFUTURE_MARGIN": (Product.PERPETUAL, Product.MARGIN),
}


def currencies(context: Context) -> object:
    """Answer every coin with one network each, enough for a client's currency table."""
    assets: set[str] = set()
    for spec in context.simulation.market.instruments(Kind.SPOT).values():
        assets |= {spec.base_asset, spec.quote_asset}
    return [_currency(context, asset) for asset in sorted(assets)]


def _currency(context: Context, asset: str) -> dict[str, object]:
    balance = context.account.spot.get(asset)
    network = {
        "network": asset,
        "coin": asset,
        "name": asset,
        "isDefault": True,
        "depositEnable": True,
        "withdrawEnable": True,
        "withdrawFee": "0",
        "withdrawMin": "0",
        "withdrawMax": "1000000",
        "withdrawIntegerMultiple": "0.00000001",
        "minConfirm": 1,
        "unLockConfirm": 1,
    }
    return {
        "coin": asset,
        "depositAllEnable": True,
        "withdrawAllEnable": True,
        "name": asset,
        "free": plain(balance.free),
        "locked": plain(balance.locked),
        "freeze": "0",
        "withdrawing": "0",
        "ipoing": "0",
        "ipoable": "0",
        "storage": "0",
        "isLegalMoney": False,
        "trading": True,
        "networkList": [network],
    }


def trade_fee(context: Context) -> object:
    """Answer commission rates of one symbol or of all."""
    market = context.simulation.market
    fees = context.simulation.exchange.fees
    wanted = context.params.text("symbol")
    symbols = (
        [market.spec(Kind.SPOT, wanted).symbol] if wanted else list(market.instruments(Kind.SPOT))
    )
    return [
        {
            "symbol": symbol,
            "makerCommission": plain(fees.spot_maker),
            "takerCommission": plain(fees.spot_taker),
        }
        for symbol in symbols
    ]


def api_restrictions(context: Context) -> object:
    """Answer what the API key may do."""
    return {
        "ipRestrict": True,
        "createTime": 1_600_000_000_000,
        "enableReading": True,
        "enableSpotAndMarginTrading": True,
        "enableWithdrawals": context.account.can_withdraw,
        "enableInternalTransfer": False,
        "enableMargin": True,
        "enableFutures": True,
        "permitsUniversalTransfer": True,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": True,
        "enablePortfolioMarginTrading": False,
    }


def transfer(context: Context) -> object:
    """Move an asset between two wallets of the account."""
    params = context.params
    route = TRANSFERS.get(params.require("type"))
    amount = params.decimal("amount")
    if route is None or not amount:
        raise VenueError(-1102, "Mandatory parameter 'type' or 'amount' was malformed.")
    asset = params.require("asset")
    exchange = context.simulation.exchange
    exchange.advance()
    # taken first: it is what can be refused, and then nothing has been given
    _take(context, route[0], asset, amount)
    _give(context, route[1], asset, amount)
    now = context.simulation.market.now()
    name, reason = context.account.name, Reason.MARGIN_TRANSFER
    for product, change in zip(route, (-amount, amount), strict=True):
        exchange.emit(WalletEvent(name, product, reason, (asset,), (), now, change))
    return {"tranId": 13_526_853_623 + millis(now) % 1_000_000}


def _take(context: Context, product: Product, asset: str, value: Decimal) -> None:
    account, exchange = context.account, context.simulation.exchange
    if product is not Product.PERPETUAL:
        exchange.spot.wallet(account, product).debit(asset, value)
        return
    summary = exchange.perpetual.summary(account, asset)
    # profit not yet realized backs positions but cannot leave: it is not in the wallet
    if min(summary.available, summary.wallet) < value:
        raise VenueError(-5013, "Asset transfer failed: insufficient balance")
    account.futures.credit(asset, -value)
    now = context.simulation.market.now()
    exchange.income.add(account.name, IncomeType.TRANSFER, "", asset, -value, now)


def _give(context: Context, product: Product, asset: str, value: Decimal) -> None:
    account, exchange = context.account, context.simulation.exchange
    if product is not Product.PERPETUAL:
        exchange.spot.wallet(account, product).credit(asset, value)
        return
    account.futures.credit(asset, value)
    now = context.simulation.market.now()
    exchange.income.add(account.name, IncomeType.TRANSFER, "", asset, value, now)


def _sapi(handler: Handler, operation: str, weight: int = 1) -> Endpoint:
    return Endpoint(handler, operation, weight, Security.SIGNED, family=Family.SAPI)


ROUTES: Routes = {
    ("GET", "/sapi/v1/capital/config/getall"): _sapi(currencies, "get_currencies", 10),
    ("GET", "/sapi/v1/asset/tradeFee"): _sapi(trade_fee, "get_trading_fees"),
    ("GET", "/sapi/v1/account/apiRestrictions"): _sapi(api_restrictions, "get_key_permissions"),
    ("POST", "/sapi/v1/asset/transfer"): _sapi(transfer, "transfer"),
}
