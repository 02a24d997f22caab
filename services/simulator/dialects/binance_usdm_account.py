"""Balances, positions, income and settings of a Binance USD-M account."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.core.clock import millis
from services.simulator.core.income import Income
from services.simulator.core.limits import Family
from services.simulator.core.money import ZERO, fixed, plain, text8
from services.simulator.core.orders import PositionSide
from services.simulator.core.positions import Position, initial_margin
from services.simulator.dialects.binance_common import page
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

# the highest position the one leverage bracket allows, in quote
MAX_NOTIONAL = "100000000"


def _spec(context: Context, symbol: str) -> InstrumentSpec:
    return context.simulation.market.spec(Kind.PERPETUAL, symbol)


def _assets(context: Context) -> list[str]:
    specs = context.simulation.market.instruments(Kind.PERPETUAL).values()
    settle = {spec.settle_asset or spec.quote_asset for spec in specs}
    # a wallet is shown before its first use: no row would read as no such asset
    return sorted(settle | set(context.account.futures.balances))


def position_row(context: Context, position: Position) -> dict[str, object]:
    """Return one position as positionRisk v3 shows it, with the v2 fields clients also read."""
    account = context.account
    spec = _spec(context, position.symbol)
    mark = context.simulation.market.mark(position.symbol)
    leverage = account.futures.leverage_of(spec.symbol, spec.max_leverage)
    notional = position.notional(mark)
    maintenance = abs(notional) * spec.maintenance_margin_ratio
    liquidation = context.simulation.exchange.perpetual.liquidation_price(account, position)
    is_isolated = spec.symbol in account.futures.isolated
    return {
        "symbol": spec.symbol,
        "positionSide": position.side.value,
        "positionAmt": fixed(position.quantity, spec.quantity_precision),
        "entryPrice": plain(position.entry_price.quantize(Decimal("1e-12")))
        if position.quantity
        else "0.0",
        "breakEvenPrice": plain(position.entry_price.quantize(Decimal("1e-12"))),
        "markPrice": text8(mark),
        "unRealizedProfit": text8(position.unrealized(mark)),
        "liquidationPrice": text8(liquidation) if liquidation else "0",
        "leverage": str(leverage),
        "marginType": "isolated" if is_isolated else "cross",
        "isolatedMargin": "0",
        "notional": text8(notional),
        "marginAsset": spec.settle_asset or spec.quote_asset,
        "isolatedWallet": "0",
        "initialMargin": text8(initial_margin(notional, leverage)),
        "maintMargin": text8(maintenance),
        "positionInitialMargin": text8(initial_margin(notional, leverage)),
        "openOrderInitialMargin": "0",
        "adl": 2 if position.quantity else 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": millis(position.update_time),
    }


def position_risk_v3(context: Context) -> object:
    """Answer the positions that are not flat."""
    context.simulation.exchange.advance()
    wanted = context.params.text("symbol")
    rows = context.account.futures.open_positions()
    # v3 has neither of the two fields; a client must read them from symbolConfig
    return [
        {
            name: value
            for name, value in position_row(context, position).items()
            if name not in {"leverage", "marginType"}
        }
        for position in rows
        if wanted in (None, position.symbol)
    ]


def position_risk_v2(context: Context) -> object:
    """Answer a row per symbol, flat ones included, as v2 does."""
    context.simulation.exchange.advance()
    wanted = context.params.text("symbol")
    specs = context.simulation.market.instruments(Kind.PERPETUAL)
    symbols = [_spec(context, wanted).symbol] if wanted else list(specs)
    futures = context.account.futures
    sides = (
        (PositionSide.LONG, PositionSide.SHORT) if futures.is_hedge_mode else (PositionSide.BOTH,)
    )
    return [
        # read with get: asking for a flat symbol must not open a row in the books
        position_row(context, futures.positions.get((symbol, side)) or Position(symbol, side))
        for symbol in symbols
        for side in sides
    ]


def asset_row(context: Context, asset: str) -> dict[str, object]:
    """Return one settle asset as the account answer shows it."""
    summary = context.simulation.exchange.perpetual.summary(context.account, asset)
    return {
        "asset": asset,
        "walletBalance": text8(summary.wallet),
        "unrealizedProfit": text8(summary.unrealized),
        "marginBalance": text8(summary.equity),
        "maintMargin": text8(summary.maintenance),
        "initialMargin": text8(summary.position_margin + summary.order_margin),
        "positionInitialMargin": text8(summary.position_margin),
        "openOrderInitialMargin": text8(summary.order_margin),
        "crossWalletBalance": text8(summary.wallet),
        "crossUnPnl": text8(summary.unrealized),
        "availableBalance": text8(summary.available),
        # unrealized profit backs positions but cannot leave
        "maxWithdrawAmount": text8(min(summary.available, max(summary.wallet, ZERO))),
        "marginAvailable": True,
        "updateTime": millis(context.simulation.market.now()),
    }


def account_v3(context: Context) -> object:
    """Answer the account: totals, assets, positions."""
    context.simulation.exchange.advance()
    assets = [asset_row(context, asset) for asset in _assets(context)]
    totals = {
        total: _sum(assets, field)
        for total, field in (
            ("totalInitialMargin", "initialMargin"),
            ("totalMaintMargin", "maintMargin"),
            ("totalWalletBalance", "walletBalance"),
            ("totalUnrealizedProfit", "unrealizedProfit"),
            ("totalMarginBalance", "marginBalance"),
            ("totalPositionInitialMargin", "positionInitialMargin"),
            ("totalOpenOrderInitialMargin", "openOrderInitialMargin"),
            ("totalCrossWalletBalance", "crossWalletBalance"),
            ("totalCrossUnPnl", "crossUnPnl"),
            ("availableBalance", "availableBalance"),
            ("maxWithdrawAmount", "maxWithdrawAmount"),
        )
    }
    positions = []
    for position in context.account.futures.open_positions():
        row = position_row(context, position)
        row["unrealizedProfit"] = row.pop("unRealizedProfit")
        row["isolated"] = row.pop("marginType") == "isolated"
        row["maxNotional"] = MAX_NOTIONAL
        positions.append(row)
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": context.account.can_withdraw,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        **totals,
        "assets": assets,
        "positions": positions,
    }


# each row is cut to eight places before it is added, as a reader of the answer would do
def _sum(rows: list[dict[str, object]], field: str) -> str:
    return text8(sum((Decimal(str(row[field])) for row in rows), ZERO))


def balance_v3(context: Context) -> object:
    """Answer the wallet balances."""
    context.simulation.exchange.advance()
    rows = []
    for asset in _assets(context):
        row = asset_row(context, asset)
        rows.append(
            {
                "accountAlias": "SgsR",
                "asset": asset,
                "balance": row["walletBalance"],
                "crossWalletBalance": row["crossWalletBalance"],
                "crossUnPnl": row["crossUnPnl"],
                "availableBalance": row["availableBalance"],
                "maxWithdrawAmount": row["maxWithdrawAmount"],
                "marginAvailable": True,
                "updateTime": row["updateTime"],
            }
        )
    return rows


def income(context: Context) -> object:
    """Answer the income history, ascending."""
    exchange = context.simulation.exchange
    exchange.advance()
    params = context.params
    symbol, type_ = params.text("symbol"), params.text("incomeType")
    rows = [
        row
        for row in exchange.income.rows(context.account.name)
        if symbol in (None, row.symbol) and type_ in (None, row.type.value)
    ]
    return [_income_row(row) for row in page(rows, params, lambda r: millis(r.time), 100, 1000)]


def _income_row(row: Income) -> dict[str, object]:
    return {
        "symbol": row.symbol,
        "incomeType": row.type.value,
        "income": text8(row.amount),
        "asset": row.asset,
        "info": row.type.value,
        "time": millis(row.time),
        "tranId": row.tran_id,
        "tradeId": "" if row.trade_id is None else str(row.trade_id),
    }


def _usdm(
    handler: Handler,
    operation: str,
    weight: Weight = 1,
    security: Security = Security.SIGNED,
) -> Endpoint:
    return Endpoint(handler, operation, weight, security, 0, Family.USDM, USDM_VENUE)


ROUTES: Routes = {
    ("GET", "/fapi/v3/account"): _usdm(account_v3, "get_account", 5),
    ("GET", "/fapi/v2/account"): _usdm(account_v3, "get_account", 5),
    ("GET", "/fapi/v3/balance"): _usdm(balance_v3, "get_balances", 5),
    ("GET", "/fapi/v2/balance"): _usdm(balance_v3, "get_balances", 5),
    ("GET", "/fapi/v3/positionRisk"): _usdm(position_risk_v3, "get_positions", 5),
    ("GET", "/fapi/v2/positionRisk"): _usdm(position_risk_v2, "get_positions", 5),
    ("GET", "/fapi/v1/income"): _usdm(income, "get_income", 30),
}
