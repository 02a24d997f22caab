"""The venue's own books as the control endpoint shows them: the witness in tests."""

from __future__ import annotations

from services.simulator.core.clock import millis
from services.simulator.core.money import plain
from services.simulator.core.orders import Fill, Order
from services.simulator.simulation import Simulation


def order_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return every order that was accepted, oldest first."""
    return [_order(order) for order in simulation.exchange.store]


def trade_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return every fill in trade id order."""
    # closed orders included: the store forgets nothing
    fills = [fill for order in simulation.exchange.store for fill in order.fills]
    return [_fill(fill) for fill in sorted(fills, key=lambda fill: fill.trade_id)]


def position_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return every position that is not flat."""
    return [
        {
            "account": account.name,
            "symbol": position.symbol,
            "position_side": position.side.value,
            "quantity": plain(position.quantity),
            "entry_price": plain(position.entry_price),
        }
        for account in simulation.exchange.accounts.all()
        for position in account.futures.open_positions()
    ]


def balance_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return every wallet of every account."""
    return [
        {
            "account": account.name,
            # free and locked together: what is locked still belongs to the account
            "spot": {a: plain(b.total) for a, b in account.spot.balances.items()},
            "margin": {a: plain(b.total) for a, b in account.margin.balances.items()},
            "owed": {a: plain(account.loans.owed(a)) for a in account.loans.assets()},
            "futures": {a: plain(amount) for a, amount in account.futures.balances.items()},
        }
        for account in simulation.exchange.accounts.all()
    ]


def income_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return the income of every futures account."""
    return [
        {
            "account": account.name,
            "type": row.type.value,
            "symbol": row.symbol,
            "asset": row.asset,
            "amount": plain(row.amount),
            "time": millis(row.time),
            "tran_id": row.tran_id,
        }
        for account in simulation.exchange.accounts.all()
        for row in simulation.exchange.income.rows(account.name)
    ]


def request_records(simulation: Simulation) -> list[dict[str, object]]:
    """Return every order request that arrived, whatever became of it."""
    return [
        {
            "venue": arrival.venue,
            "account": arrival.account,
            "client_order_id": arrival.parameters.get("newClientOrderId", ""),
            "symbol": arrival.parameters.get("symbol", ""),
            "side": arrival.parameters.get("side", ""),
            "parameters": arrival.parameters,
            "time": millis(arrival.time),
            "wire_time": millis(arrival.wire_time),
            "fate": arrival.fate,
            "status": arrival.status,
        }
        for arrival in simulation.arrivals
    ]


def _order(order: Order) -> dict[str, object]:
    request = order.request
    return {
        "account": order.account,
        "product": request.product.value,
        "symbol": request.symbol,
        "order_id": order.order_id,
        "client_order_id": request.client_order_id,
        "side": request.side.value,
        "type": request.type.value,
        "time_in_force": request.time_in_force.value,
        "reduce_only": request.reduce_only,
        "position_side": request.position_side.value,
        "status": order.status.value,
        "quantity": plain(order.quantity),
        "price": None if request.price is None else plain(request.price),
        "executed": plain(order.executed),
        "quote": plain(order.quote),
        "time": millis(order.create_time),
    }


def _fill(fill: Fill) -> dict[str, object]:
    return {
        "account": fill.account,
        "product": fill.request.product.value,
        "symbol": fill.request.symbol,
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "client_order_id": fill.request.client_order_id,
        "side": fill.request.side.value,
        "price": plain(fill.price),
        "quantity": plain(fill.quantity),
        "fee": plain(fill.fee),
        "fee_asset": fill.fee_asset,
        "is_maker": fill.is_maker,
        "realized_pnl": plain(fill.realized_pnl),
        "time": millis(fill.time),
    }
