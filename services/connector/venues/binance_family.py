"""What Binance spot and Binance USD-M have in common: id form, order parameters, trading states."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from services.connector.instruments import TradingStatus
from services.connector.order_types import TimeInForce
from services.connector.profile import ClientIdForm
from services.connector.venue_client_ids import derive_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.order_types import OrderIntent

CLIENT_IDS: Final = ClientIdForm(
    # newClientOrderId of both, spot rest-api.md and USD-M New-Order.
    pattern=re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII),
    # Ids of orders the venue itself places at a liquidation, an ADL or a settlement.
    reserved_prefixes=("autoclose-", "adl_autoclose", "settlement_autoclose-"),
    derive=derive_plain,
)

COMMON_OPTIONS: Final[dict[str, Any]] = {
    # Both would sign hidden calls to /sapi at every load of the markets.
    "fetchCurrencies": False,
    "fetchMargins": False,
    "adjustForTimeDifference": False,
    "timeDifference": 0,
    "warnOnFetchOpenOrdersWithoutSymbol": False,
    # Every user stream, that of orders too, would read positions unbidden, compare text with a
    # number and leave the watcher of positions waiting for ever.
    "watchPositions": {"fetchPositionsSnapshot": False, "awaitPositionsSnapshot": False},
    # A market order with a price would else become quoteOrderQty: another order than asked.
    "createOrder": {"quoteOrderQty": False},
}

_STATES: Final = {
    "TRADING": TradingStatus.TRADING,
    "BREAK": TradingStatus.BREAK,
    "HALT": TradingStatus.BREAK,
    "AUCTION_MATCH": TradingStatus.BREAK,
    "PRE_TRADING": TradingStatus.BREAK,
    "POST_TRADING": TradingStatus.BREAK,
    "PENDING_TRADING": TradingStatus.BREAK,
    "END_OF_DAY": TradingStatus.BREAK,
}


def trading_status(market: Mapping[str, Any]) -> TradingStatus:
    """Return the state of a market; unknown words (SETTLING, DELIVERING, CLOSE) mean ended."""
    information = market.get("info") or {}
    word = information.get("status") or information.get("contractStatus")
    return _STATES.get(str(word), TradingStatus.ENDED)


def order_params(intent: OrderIntent, venue_client_id: str) -> dict[str, Any]:
    """Return ccxt's params for an order: client id, time in force, reduce-only, margin."""
    # Always ours: without one ccxt puts in its broker's id, which nobody could ask by.
    params: dict[str, Any] = {"newClientOrderId": venue_client_id}
    if intent.post_only or intent.time_in_force is TimeInForce.GTX:
        # ccxt words it as the venue wants: LIMIT_MAKER on spot, GTX on USD-M.
        params["postOnly"] = True
    elif intent.time_in_force is not None and intent.price is not None:
        params["timeInForce"] = intent.time_in_force.value
    if intent.use_margin:
        params["marginMode"] = "cross"
        # The margin account knows no reduce-only; not borrowing is the nearest to it.
        params["sideEffectType"] = "AUTO_REPAY" if intent.reduce_only else "AUTO_BORROW_REPAY"
    elif intent.reduce_only:
        params["reduceOnly"] = True
    return params
