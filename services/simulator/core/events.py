"""What the core tells listeners: an order moved, a wallet changed, a loan changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from services.simulator.core.money import ZERO
from services.simulator.core.orders import Fill, Order, PositionSide, Product


class Execution(StrEnum):
    """Why an order event is sent, in the venue's words."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    CALCULATED = "CALCULATED"


class Reason(StrEnum):
    """Why a wallet changed."""

    ORDER = "ORDER"
    FUNDING_FEE = "FUNDING_FEE"
    DEPOSIT = "DEPOSIT"
    MARGIN_TRANSFER = "MARGIN_TRANSFER"


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """An order moved; `fill` is set for TRADE and CALCULATED."""

    account: str
    order: Order
    execution: Execution
    fill: Fill | None
    time: datetime


@dataclass(frozen=True, slots=True)
class WalletEvent:
    """Balances or positions of one product changed.

    `change` is the amount of the first asset where the cause is not a trade.
    """

    account: str
    product: Product
    reason: Reason
    assets: tuple[str, ...]
    positions: tuple[tuple[str, PositionSide], ...]
    time: datetime
    change: Decimal = ZERO


Event = OrderEvent | WalletEvent
# called in the middle of an order: it must neither raise nor place orders
Listener = Callable[[Event], None]
