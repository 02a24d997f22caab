"""Balances, positions, bills, fees and settings of an OKX account.

The core's two wallets (spot and futures) are shown as one trading account; an order still pays out
of its own. Source: OKX API v5 "Trading Account".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from services.simulator.core.accounts import Account
from services.simulator.core.clock import millis
from services.simulator.core.errors import VenueError
from services.simulator.core.exchange import Exchange
from services.simulator.core.income import Income, IncomeType
from services.simulator.core.money import ZERO, plain
from services.simulator.core.orders import PositionSide, Product
from services.simulator.dialects.context import Context, Endpoint, Handler, Routes, Security
from services.simulator.dialects.okx_common import (
    Row,
    done,
    in_time,
    kind_of,
    name_of,
    page,
    parameter_error,
    required,
    spec_of,
)
from services.simulator.dialects.okx_rows import position_row
from services.simulator.market.source import Kind

_MOST_LEVERAGE_DIGITS: Final = 3
_FUNDING_BILL: Final = "8"
_SUBTYPES: Final = {True: "174", False: "173"}


def coin_row(exchange: Exchange, account: Account, coin: str) -> Row:
    """Return one currency: what the spot and the futures wallet hold together."""
    balance = account.spot.balances.get(coin)
    spot, locked = (balance.total, balance.locked) if balance else (ZERO, ZERO)
    futures = exchange.perpetual.summary(account, coin)
    cash = spot + futures.wallet
    equity = cash + futures.unrealized
    frozen = locked + futures.order_margin + futures.position_margin
    return {
        "ccy": coin,
        "eq": plain(equity),
        "cashBal": plain(cash),
        "availBal": plain(max(ZERO, cash - frozen)),
        "availEq": plain(max(ZERO, equity - frozen)),
        "frozenBal": plain(frozen),
        "ordFrozen": plain(locked + futures.order_margin),
        "upl": plain(futures.unrealized),
        "eqUsd": plain(equity * exchange.market.value_in_usdt(coin)),
        "imr": plain(futures.position_margin + futures.order_margin),
        "mmr": plain(futures.maintenance),
        "liab": "0",
        "interest": "0",
        "isoEq": "0",
        "uTime": str(millis(exchange.market.now())),
    }


def balance_row(exchange: Exchange, account: Account, wanted: str | None = None) -> Row:
    """Return the whole account, totals in USD, as answers and the stream show it."""
    names = sorted({*account.spot.balances, *account.futures.balances})
    if wanted is not None:
        names = [name for name in names if name in wanted.split(",")]
    coins = [coin_row(exchange, account, name) for name in names]
    equity, initial, maintenance = (_total(coins, name) for name in ("eqUsd", "imr", "mmr"))
    ratio = (equity / maintenance).quantize(Decimal("1e-8")) if maintenance else None
    return {
        "uTime": str(millis(exchange.market.now())),
        "totalEq": plain(equity),
        "adjEq": plain(equity),
        "isoEq": "0",
        "ordFroz": plain(_total(coins, "ordFrozen")),
        "imr": plain(initial),
        "mmr": plain(maintenance),
        "mgnRatio": "" if ratio is None else plain(ratio),
        "upl": plain(_total(coins, "upl")),
        "notionalUsd": "0",
        "borrowFroz": "0",
        "details": coins,
    }


def _total(coins: list[Row], name: str) -> Decimal:
    return sum((Decimal(str(coin[name])) for coin in coins), ZERO)


def balance(context: Context) -> object:
    """Answer the account, narrowed to the currencies asked for."""
    exchange = context.simulation.exchange
    exchange.advance()
    return done([balance_row(exchange, context.account, context.params.text("ccy"))])


def positions(context: Context) -> object:
    """Answer open positions; a symbol that was once held has a row although it is flat."""
    exchange, futures = context.simulation.exchange, context.account.futures
    exchange.advance()
    name, rows = context.params.text("instId"), futures.open_positions()
    if kind_of(context) is Kind.SPOT:
        return done([])
    if name is not None:
        symbol = spec_of(context).symbol
        held = futures.positions.get((symbol, PositionSide.BOTH))
        rows = [] if held is None else [held]
    return done([position_row(exchange, context.account, row) for row in rows])


def config(context: Context) -> object:
    """Answer modes of the account and what the API key may do."""
    account = context.account
    is_hedged = account.futures.is_hedge_mode
    row: Row = {
        "uid": "1",
        "mainUid": "1",
        "acctLv": "2",
        "posMode": "long_short_mode" if is_hedged else "net_mode",
        "autoLoan": False,
        "greeksType": "PA",
        "level": "Lv1",
        "ctIsoMode": "automatic",
        "mgnIsoMode": "automatic",
        "label": account.name,
        "perm": "read_only,trade" + (",withdraw" if account.can_withdraw else ""),
        "ip": "",
        "roleType": "0",
        "type": "0",
    }
    return done([row])


def fee_rates(context: Context) -> object:
    """Answer the rates of a kind of instrument: below zero is what is paid."""
    kind, fees = kind_of(context), context.simulation.exchange.fees
    is_swap = kind is Kind.PERPETUAL
    product = Product.PERPETUAL if is_swap else Product.SPOT
    maker, taker = (plain(-fees.rate(product, is_maker=flag)) for flag in (True, False))
    row: Row = {
        "category": "1",
        "instType": required(context, "instType"),
        "level": "Lv1",
        # Contracts margined in USDT have fields of their own.
        "maker": "" if is_swap else maker,
        "taker": "" if is_swap else taker,
        "makerU": maker if is_swap else "",
        "takerU": taker if is_swap else "",
        "makerUSDC": maker,
        "takerUSDC": taker,
        "delivery": "",
        "exercise": "",
        "ts": str(millis(context.simulation.wire.now())),
    }
    return done([row])


def leverage(context: Context) -> object:
    """Answer the leverage of one or several instruments."""
    mode, names = required(context, "mgnMode"), required(context, "instId").split(",")
    rows = []
    for name in names:
        spec = spec_of(_with(context, name))
        value = context.account.futures.leverage_of(spec.symbol, spec.max_leverage)
        told = {"posSide": "net", "mgnMode": mode, "lever": str(value), "ccy": ""}
        rows.append({"instId": name, **told})
    return done(rows)


def _with(context: Context, name: str) -> Context:
    values = {**context.params.values, "instId": name}
    return Context(context.simulation, type(context.params)(values), context.caller)


def set_leverage(context: Context) -> object:
    """Set the leverage of an instrument; setting what is set already is no error."""
    spec, text = spec_of(context), required(context, "lever")
    mode = required(context, "mgnMode")
    plain_digits = text.isascii() and text.isdigit() and len(text) <= _MOST_LEVERAGE_DIGITS
    if not plain_digits or not 1 <= int(text) <= spec.max_leverage:
        raise VenueError(51000, "Parameter lever error", 400)
    futures = context.account.futures
    futures.leverage[spec.symbol] = int(text)
    (futures.isolated.add if mode == "isolated" else futures.isolated.discard)(spec.symbol)
    return done([{"instId": name_of(spec), "lever": text, "mgnMode": mode, "posSide": "net"}])


def set_position_mode(context: Context) -> object:
    """Switch between net and long/short mode; refused while something is open."""
    wanted = required(context, "posMode")
    if wanted not in ("net_mode", "long_short_mode"):
        raise parameter_error("posMode")
    futures, store = context.account.futures, context.simulation.exchange.store
    is_hedged = wanted == "long_short_mode"
    if is_hedged != futures.is_hedge_mode and (
        futures.open_positions() or store.open_orders(context.account.name, Product.PERPETUAL)
    ):
        raise VenueError(59000, "Setting failed. Cancel any open orders, close positions", 200)
    futures.is_hedge_mode = is_hedged
    return done([{"posMode": wanted}])


def bills(context: Context) -> object:
    """Answer changes of the account, newest first: funding alone has bills here."""
    exchange = context.simulation.exchange
    exchange.advance()
    if context.params.text("type") not in (None, _FUNDING_BILL):
        return done([])
    name = context.params.text("instId")
    symbol = None if name is None else spec_of(context).symbol
    found = [
        row
        for row in exchange.income.rows(context.account.name)
        if row.type is IncomeType.FUNDING_FEE and symbol in (None, row.symbol)
    ]
    rows = page(
        context, in_time(context, found[::-1], lambda r: millis(r.time)), lambda r: r.tran_id
    )
    return done([_bill(context, row) for row in rows])


def _bill(context: Context, row: Income) -> Row:
    spec = context.simulation.market.spec(Kind.PERPETUAL, row.symbol)
    stamp = str(millis(row.time))
    return {
        "billId": str(row.tran_id),
        "instType": "SWAP",
        "instId": name_of(spec),
        "type": _FUNDING_BILL,
        "subType": _SUBTYPES[row.amount > 0],
        "ccy": row.asset,
        "balChg": plain(row.amount),
        "bal": "",
        "pnl": plain(row.amount),
        "fee": "0",
        "sz": "",
        "px": "",
        "mgnMode": "cross",
        "ordId": "",
        "ts": stamp,
        "fillTime": stamp,
    }


def currencies(context: Context) -> object:
    """Answer the currencies of the market, one chain each: nothing is deposited here."""
    market = context.simulation.market
    names = {
        name
        for kind in (Kind.SPOT, Kind.PERPETUAL)
        for spec in market.instruments(kind).values()
        for name in (spec.base_asset, spec.quote_asset)
    }
    return done(
        [
            {"ccy": name, "name": name, "chain": f"{name}-{name}", "canDep": False, "canWd": False}
            for name in sorted(names)
        ]
    )


def _signed(handler: Handler, operation: str, limit: int = 10) -> Endpoint:
    return Endpoint(handler, operation, limit, Security.SIGNED)


ROUTES: Routes = {
    ("GET", "/api/v5/account/balance"): _signed(balance, "get_account"),
    ("GET", "/api/v5/account/positions"): _signed(positions, "get_positions"),
    ("GET", "/api/v5/account/config"): _signed(config, "get_account_config", 5),
    ("GET", "/api/v5/account/trade-fee"): _signed(fee_rates, "get_fees", 5),
    ("GET", "/api/v5/account/leverage-info"): _signed(leverage, "get_leverage", 20),
    ("POST", "/api/v5/account/set-leverage"): _signed(set_leverage, "set_leverage", 40),
    ("POST", "/api/v5/account/set-position-mode"): _signed(
        set_position_mode, "set_position_mode", 5
    ),
    ("GET", "/api/v5/account/bills"): _signed(bills, "get_income", 10),
    ("GET", "/api/v5/account/bills-archive"): _signed(bills, "get_income", 10),
    ("GET", "/api/v5/asset/currencies"): _signed(currencies, "get_coins", 12),
}
