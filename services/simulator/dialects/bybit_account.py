"""Wallet, positions, fees and settings of a Bybit unified trading account."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.exchange import Exchange
from services.simulator.core.money import ZERO, down8, plain
from services.simulator.core.orders import PositionSide, Product
from services.simulator.core.positions import Position
from services.simulator.dialects.bybit_common import product_of, spec_of
from services.simulator.dialects.bybit_rows import position_row
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security

_MOST_LEVERAGE_DIGITS: Final = 3


def coin_row(exchange: Exchange, account: Account, coin: str) -> dict[str, object]:
    """Return one coin of the unified wallet: what the spot and the futures wallet hold together."""
    balance = account.spot.balances.get(coin)
    spot, locked = (balance.total, balance.locked) if balance else (ZERO, ZERO)
    futures = exchange.perpetual.summary(account, coin)
    wallet = spot + futures.wallet
    equity = wallet + futures.unrealized
    return {
        "coin": coin,
        "equity": plain(down8(equity)),
        "usdValue": plain(down8(equity * exchange.market.value_in_usdt(coin))),
        "walletBalance": plain(wallet),
        "free": plain(down8(spot - locked + futures.available)),
        "locked": plain(locked),
        "availableToWithdraw": "",
        "availableToBorrow": "",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "accruedInterest": "0",
        "totalOrderIM": plain(down8(futures.order_margin)),
        "totalPositionIM": plain(down8(futures.position_margin)),
        "totalPositionMM": plain(down8(futures.maintenance)),
        "unrealisedPnl": plain(down8(futures.unrealized)),
        "cumRealisedPnl": "0",
        "bonus": "0",
        "collateralSwitch": True,
        "marginCollateral": True,
    }


def wallet_row(exchange: Exchange, account: Account) -> dict[str, object]:
    """Return the whole wallet, totals in USD, as answers and the stream show it."""
    names = sorted({*account.spot.balances, *account.futures.balances})
    coins = [coin_row(exchange, account, name) for name in names]
    equity = _total(coins, "usdValue")
    initial = _total(coins, "totalOrderIM") + _total(coins, "totalPositionIM")
    maintenance = _total(coins, "totalPositionMM")
    return {
        "accountType": "UNIFIED",
        "totalEquity": plain(equity),
        "totalWalletBalance": plain(equity - _total(coins, "unrealisedPnl")),
        "totalMarginBalance": plain(equity),
        "totalAvailableBalance": plain(equity - initial),
        "totalPerpUPL": plain(_total(coins, "unrealisedPnl")),
        "totalInitialMargin": plain(initial),
        "totalMaintenanceMargin": plain(maintenance),
        "accountIMRate": plain((initial / equity).quantize(Decimal("1e-8"))) if equity else "0",
        "accountMMRate": plain((maintenance / equity).quantize(Decimal("1e-8"))) if equity else "0",
        "accountLTV": "0",
        "coin": coins,
    }


def _total(coins: list[dict[str, object]], name: str) -> Decimal:
    return sum((Decimal(str(coin[name])) for coin in coins), ZERO)


def wallet_balance(context: Context) -> object:
    """Answer the wallet, narrowed to the coins asked for."""
    context.simulation.exchange.advance()
    if context.params.text("accountType") != "UNIFIED":
        raise VenueError(10001, "accountType only support UNIFIED.", 200)
    row = wallet_row(context.simulation.exchange, context.account)
    wanted = context.params.text("coin")
    if wanted is not None:
        names = wanted.split(",")
        row["coin"] = [coin_row(context.simulation.exchange, context.account, n) for n in names]
    return {"list": [row]}


def account_info(context: Context) -> object:
    """Answer margin mode and kind of the account: unified 2.0, cross margin."""
    return {
        "unifiedMarginStatus": 5,
        "marginMode": "REGULAR_MARGIN",
        "isMasterTrader": False,
        "spotHedgingStatus": "OFF",
        "dcpStatus": "OFF",
        "timeWindow": 10,
        "smpGroup": 0,
        "updatedTime": str(millis(context.simulation.wire.now())),
    }


def key_information(context: Context) -> object:
    """Answer what the API key may do."""
    account = context.account
    now = context.simulation.wire.now()
    return {
        "id": "1",
        "note": account.name,
        "apiKey": account.api_key,
        "readOnly": 0,
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": ["SpotTrade"],
            "Wallet": ["AccountTransfer", *(["Withdraw"] if account.can_withdraw else [])],
            "Options": [],
            "Derivatives": ["DerivativesTrade"],
            "Exchange": ["ExchangeHistory"],
        },
        "ips": ["*"],
        "type": 1,
        "unified": 0,
        "uta": 1,
        "userID": 1,
        "inviterID": 0,
        "isMaster": True,
        "createdAt": now.isoformat(),
        "expiredAt": now.isoformat(),
    }


def fee_rates(context: Context) -> object:
    """Answer maker and taker rates of one symbol, or of all."""
    product, fees = product_of(context), context.simulation.exchange.fees
    if context.params.text("symbol"):
        symbols = [spec_of(context, product).symbol]
    else:
        symbols = list(context.simulation.market.instruments(product.kind))
    return {
        "category": context.params.text("category"),
        "list": [
            {
                "symbol": symbol,
                "baseCoin": "",
                "makerFeeRate": plain(fees.rate(product, is_maker=True)),
                "takerFeeRate": plain(fees.rate(product, is_maker=False)),
            }
            for symbol in symbols
        ],
    }


def positions(context: Context) -> object:
    """Answer open positions; a symbol asked for has a row although it is flat, as on the venue."""
    exchange, account = context.simulation.exchange, context.account
    exchange.advance()
    # Categories that nothing is listed in here: nobody holds a position there.
    if context.params.text("category") in ("inverse", "option"):
        return {"list": [], "nextPageCursor": "", "category": context.params.text("category")}
    _perpetual_only(context)
    symbol, settle = context.params.text("symbol"), context.params.text("settleCoin")
    if symbol is None and settle is None:
        raise VenueError(10001, "params error: symbol or settleCoin is required", 200)
    if symbol is not None:
        spec = spec_of(context, Product.PERPETUAL)
        held = account.futures.positions.get((spec.symbol, PositionSide.BOTH))
        rows = [held or Position(spec.symbol, PositionSide.BOTH)]
    else:
        specs = context.simulation.market.instruments(Product.PERPETUAL.kind)
        rows = [
            row
            for row in account.futures.open_positions()
            if specs[row.symbol].settle_asset == settle
        ]
    return {
        "list": [position_row(exchange, account, row) for row in rows],
        "nextPageCursor": "",
        "category": "linear",
    }


def set_leverage(context: Context) -> object:
    """Set the leverage of a symbol, both sides alike; unchanged is a refusal, 110043."""
    _perpetual_only(context)
    spec = spec_of(context, Product.PERPETUAL)
    text = context.params.text("buyLeverage") or ""
    plain_digits = text.isascii() and text.isdigit() and len(text) <= _MOST_LEVERAGE_DIGITS
    if not plain_digits or not 1 <= int(text) <= spec.max_leverage:
        raise VenueError(10001, "params error: leverage invalid", 200)
    futures = context.account.futures
    if futures.leverage_of(spec.symbol, spec.max_leverage) == int(text):
        raise VenueError(110043, "Set leverage has not been modified.", 200)
    futures.leverage[spec.symbol] = int(text)
    return {}


def coins(context: Context) -> object:
    """Answer the coins of the market, without chains: nothing is deposited here."""
    market = context.simulation.market
    names = {
        name
        for product in (Product.SPOT, Product.PERPETUAL)
        for spec in market.instruments(product.kind).values()
        for name in (spec.base_asset, spec.quote_asset)
    }
    return {
        "rows": [
            {"name": name, "coin": name, "remainAmount": "0", "chains": []}
            for name in sorted(names)
        ]
    }


def _perpetual_only(context: Context) -> None:
    if product_of(context) is not Product.PERPETUAL:
        raise VenueError(10001, "params error: category invalid", 200)


def _signed(handler: Handler, operation: str) -> Endpoint:
    return Endpoint(handler, operation, 1, Security.SIGNED)


ROUTES: Routes = {
    ("GET", "/v5/account/wallet-balance"): _signed(wallet_balance, "get_account"),
    ("GET", "/v5/account/info"): _signed(account_info, "get_account_config"),
    ("GET", "/v5/account/fee-rate"): _signed(fee_rates, "get_fees"),
    ("GET", "/v5/user/query-api"): _signed(key_information, "get_key_permissions"),
    ("GET", "/v5/position/list"): _signed(positions, "get_positions"),
    ("POST", "/v5/position/set-leverage"): _signed(set_leverage, "set_leverage"),
    ("GET", "/v5/asset/coin/query-info"): _signed(coins, "get_coins"),
}
