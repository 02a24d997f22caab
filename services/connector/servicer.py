"""`ExchangeService`: the order, account and market methods in one servicer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import exchange_pb2_grpc
from services.connector.call_deadline import bound_by_deadline
from services.connector.servicers.account import AccountMethods
from services.connector.servicers.market import MarketMethods
from services.connector.servicers.order_entry import OrderEntryMethods
from services.connector.servicers.orders import OrderMethods
from services.connector.servicers.trading_state import TradingStateMethods

if TYPE_CHECKING:
    from services.connector.data_part import DataPart
    from services.connector.order_part import OrderPart

SERVICE_NAME = "opensqt.market_maker.v1.ExchangeService"


@bound_by_deadline
class ExchangeServicer(
    OrderMethods,
    OrderEntryMethods,
    AccountMethods,
    MarketMethods,
    TradingStateMethods,
    exchange_pb2_grpc.ExchangeServiceServicer,
):
    """Decode, call one part, encode."""

    def __init__(self, orders: OrderPart, data: DataPart) -> None:
        self._orders = orders
        self._data = data
