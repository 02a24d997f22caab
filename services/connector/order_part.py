"""The order half of the connector, put together by the composition root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2
    from services.connector.engine_epochs import EngineEpochs
    from services.connector.limits_guard import LimitsGuard
    from services.connector.order_desk import OrderDesk
    from services.connector.order_reader import OrderReader
    from services.connector.stream_hub import StreamHub
    from services.connector.trade_reader import TradeReader
    from services.connector.venue import Venue


@dataclass(frozen=True, slots=True)
class OrderPart:
    """What the order methods of the servicer call."""

    venue: Venue
    desk: OrderDesk
    reader: OrderReader
    trades: TradeReader
    hub: StreamHub[str, events_pb2.OrderUpdate]
    limits: LimitsGuard
    epochs: EngineEpochs
