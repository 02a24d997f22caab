"""Settings of a Binance USD-M account: leverage, modes, fees, listen keys."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.errors import VenueError
from services.simulator.core.limits import Family
from services.simulator.core.money import plain
from services.simulator.core.orders import Product
from services.simulator.dialects.context import (
    USDM_VENUE,
    Context,
    Endpoint,
    Handler,
    Routes,
    Security,
    Weight,
)
from services.simulator.market.source import InstrumentSpec, Kind

MAX_NOTIONAL = Decimal(100_000_000)


def _spec(context: Context, symbol: str) -> InstrumentSpec:
    return context.simulation.market.spec(Kind.PERPETUAL, symbol)


def leverage_bracket(context: Context) -> object:
    """Answer one bracket per symbol: the simulator has no steps by notional."""
    wanted = context.params.text("symbol")
    specs = context.simulation.market.instruments(Kind.PERPETUAL)
    chosen = [_spec(context, wanted)] if wanted else list(specs.values())
    return [
        {
            "symbol": spec.symbol,
            "notionalCoef": 1.0,
            "brackets": [
                {
                    "bracket": 1,
                    "initialLeverage": spec.max_leverage,
                    "notionalCap": int(MAX_NOTIONAL),
                    "notionalFloor": 0,
                    # numbers, not texts: unlike prices and rates elsewhere on USD-M
                    "maintMarginRatio": float(spec.maintenance_margin_ratio),
                    "cum": 0.0,
                }
            ],
        }
        for spec in chosen
    ]


def set_leverage(context: Context) -> object:
    """Set the leverage of one symbol."""
    spec = _spec(context, context.params.require("symbol"))
    leverage = context.params.integer("leverage") or 0
    # no parameter at all counts as zero and is refused with the same code
    if not 1 <= leverage <= spec.max_leverage:
        raise VenueError(-4028, f"Leverage {leverage} is not valid")
    context.account.futures.leverage[spec.symbol] = leverage
    return {
        "symbol": spec.symbol,
        "leverage": leverage,
        "maxNotionalValue": plain(MAX_NOTIONAL),
    }


def set_margin_type(context: Context) -> object:
    """Set cross or isolated margin; the simulator reckons both as cross."""
    spec = _spec(context, context.params.require("symbol"))
    wanted = context.params.require("marginType").upper()
    if wanted not in {"ISOLATED", "CROSSED"}:
        raise VenueError(-4045, "Invalid margin type.")
    futures = context.account.futures
    is_isolated = wanted == "ISOLATED"
    # setting what is set already is an error here, which a client must take for success
    if (spec.symbol in futures.isolated) == is_isolated:
        raise VenueError(-4046, "No need to change margin type.")
    if any(position.symbol == spec.symbol for position in futures.open_positions()):
        raise VenueError(-4048, "Margin type cannot be changed if there exists position.")
    (futures.isolated.add if is_isolated else futures.isolated.discard)(spec.symbol)
    return {"code": 200, "msg": "success"}


def set_position_mode(context: Context) -> object:
    """Switch between one-way and hedge mode."""
    wanted = context.params.require("dualSidePosition").lower() == "true"
    futures = context.account.futures
    if futures.is_hedge_mode == wanted:
        raise VenueError(-4059, "No need to change position side.")
    store = context.simulation.exchange.store
    # orders before positions: a client mends one refusal at a time
    if store.open_orders(context.account.name, Product.PERPETUAL):
        raise VenueError(-4067, "Position side cannot be changed if there exists open orders.")
    if futures.open_positions():
        raise VenueError(-4068, "Position side cannot be changed if there exists position.")
    futures.is_hedge_mode = wanted
    return {"code": 200, "msg": "success"}


def position_mode(context: Context) -> object:
    """Answer the position mode."""
    return {"dualSidePosition": context.account.futures.is_hedge_mode}


def symbol_config(context: Context) -> object:
    """Answer leverage and margin type by symbol."""
    wanted = context.params.text("symbol")
    specs = context.simulation.market.instruments(Kind.PERPETUAL)
    chosen = [_spec(context, wanted)] if wanted else list(specs.values())
    futures = context.account.futures
    return [
        {
            "symbol": spec.symbol,
            "marginType": "ISOLATED" if spec.symbol in futures.isolated else "CROSSED",
            "isAutoAddMargin": False,
            "leverage": futures.leverage_of(spec.symbol, spec.max_leverage),
            "maxNotionalValue": plain(MAX_NOTIONAL),
        }
        for spec in chosen
    ]


def account_config(context: Context) -> object:
    """Answer modes and permissions of the account."""
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": context.account.can_withdraw,
        "dualSidePosition": context.account.futures.is_hedge_mode,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


def commission_rate(context: Context) -> object:
    """Answer the commission rates of one symbol."""
    fees = context.simulation.exchange.fees
    return {
        "symbol": _spec(context, context.params.require("symbol")).symbol,
        "makerCommissionRate": plain(fees.perpetual_maker),
        "takerCommissionRate": plain(fees.perpetual_taker),
    }


def create_listen_key(context: Context) -> object:
    """Make the key of the account's user stream, or extend the one it has."""
    return {"listenKey": context.simulation.listen_keys.create(context.account.name)}


def keep_listen_key(context: Context) -> object:
    """Extend the account's listen key."""
    return {"listenKey": context.simulation.listen_keys.keep_alive(context.account.name)}


def close_listen_key(context: Context) -> object:
    """Forget the account's listen key."""
    context.simulation.listen_keys.close(context.account.name)
    return {}


def _usdm(
    handler: Handler,
    operation: str,
    weight: Weight = 1,
    security: Security = Security.SIGNED,
) -> Endpoint:
    return Endpoint(handler, operation, weight, security, 0, Family.USDM, USDM_VENUE)


ROUTES: Routes = {
    ("GET", "/fapi/v1/leverageBracket"): _usdm(leverage_bracket, "get_leverage_brackets"),
    ("POST", "/fapi/v1/leverage"): _usdm(set_leverage, "set_leverage"),
    ("POST", "/fapi/v1/marginType"): _usdm(set_margin_type, "set_margin_type"),
    ("POST", "/fapi/v1/positionSide/dual"): _usdm(set_position_mode, "set_position_mode"),
    ("GET", "/fapi/v1/positionSide/dual"): _usdm(position_mode, "get_position_mode", 30),
    ("GET", "/fapi/v1/symbolConfig"): _usdm(symbol_config, "get_symbol_config", 5),
    ("GET", "/fapi/v1/accountConfig"): _usdm(account_config, "get_account_config", 5),
    ("GET", "/fapi/v1/commissionRate"): _usdm(commission_rate, "get_trading_fees", 20),
    ("POST", "/fapi/v1/listenKey"): _usdm(create_listen_key, "listen_key", 1, Security.KEY),
    ("PUT", "/fapi/v1/listenKey"): _usdm(keep_listen_key, "listen_key", 1, Security.KEY),
    ("DELETE", "/fapi/v1/listenKey"): _usdm(close_listen_key, "listen_key", 1, Security.KEY),
}
