"""An exchange on the tiny market with one rich account, for the tests of the core."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from services.simulator.core.accounts import Account, Accounts, AccountSeed
from services.simulator.core.clock import MarketClock
from services.simulator.core.events import Event
from services.simulator.core.exchange import NO_INTERFERENCE, Exchange, Interference
from services.simulator.core.fees import FeeSchedule
from services.simulator.core.margin import MarginDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Liquidity
from services.simulator.core.orders import (
    Order,
    OrderRequest,
    OrderType,
    Product,
    Side,
    TimeInForce,
)
from tests.support.tiny_market import START, HandClock, TinyMarket


# Not frozen: collects events.
@dataclass
class Rig:
    """The exchange with everything a test may want to move or look at."""

    source: TinyMarket
    wire: HandClock
    exchange: Exchange
    account: Account
    events: list[Event] = field(default_factory=list)

    def place(
        self,
        side: Side = Side.BUY,
        quantity: str = "1",
        price: str | None = None,
        *,
        product: Product = Product.PERPETUAL,
        tif: TimeInForce = TimeInForce.GTC,
        interference: Interference = NO_INTERFERENCE,
        **fields: Any,
    ) -> Order:
        """Place an order: limit with a price, market without."""
        request = OrderRequest(
            product=product,
            symbol=fields.pop("symbol", "BTCUSDT"),
            side=side,
            type=fields.pop("type", OrderType.MARKET if price is None else OrderType.LIMIT),
            time_in_force=tif,
            quantity=Decimal(quantity),
            price=None if price is None else Decimal(price),
            **fields,
        )
        return self.exchange.place(self.account, request, interference)


def make_rig(**changes: Any) -> Rig:
    """Return a fresh exchange; keywords go to the tiny market."""
    source, wire = TinyMarket(**changes), HandClock()
    clock = MarketClock(wire, START)
    market = Market(source, clock, Liquidity(source, timedelta(seconds=10), 20))
    seed = AccountSeed(
        "trader",
        "key",
        "secret",
        spot={"USDT": Decimal(10_000), "BTC": Decimal(10)},
        margin={"USDT": Decimal(1_000)},
        futures={"USDT": Decimal(1_000)},
    )
    accounts = Accounts([seed])
    exchange = Exchange(
        market,
        wire,
        accounts,
        FeeSchedule(),
        MarginDesk(market, {}, Decimal("0.0001")),
        processing_bound=timedelta(seconds=10),
    )
    rig = Rig(source, wire, exchange, accounts.by_name("trader"))
    exchange.listeners.append(rig.events.append)
    return rig
