"""Offers, positions and situations a strategy decides about, made by hand."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from services.engine.follower_offer import Offer
from services.engine.instruments import InstrumentKind, InstrumentRef
from services.engine.strategy_facts import Held, Quoted, Situation, quotes_of
from services.engine.views import PositionStatus
from tests.support.virtual_clock import START

D = Decimal


def ref(exchange: str, symbol: str = "BTCUSDT") -> InstrumentRef:
    """Return an instrument; venues whose name starts with "spot" have spot."""
    kind = InstrumentKind.SPOT if exchange.startswith("spot") else InstrumentKind.PERPETUAL
    return InstrumentRef(exchange, symbol, kind)


def make_offer(name: str = "one", symbol: str = "BTCUSDT", **changes: object) -> Offer:
    """Return an offer of 30 % a year at a round trip of 0.2 %, good for a minute."""
    values: dict[str, object] = {
        "opportunity_id": name,
        "revision": 7,
        "symbol": symbol,
        "long_leg": ref("spot", symbol),
        "short_leg": ref("perp", symbol),
        "gross_apr": D("0.30"),
        "net_apr": D("0.25"),
        "round_trip_cost_ratio": D("0.002"),
        "current_apr": D("0.28"),
        "basis_ratio": D("0.001"),
        "capacity_notional": D(10_000),
        "caveats": frozenset(),
        "expected_holding_time": timedelta(days=7),
        "expire_time": START + timedelta(minutes=1),
        "heard_at": 0.0,
        "lifetime": timedelta(minutes=1),
    }
    return Offer(**{**values, **changes})  # type: ignore[arg-type]  # test builder


def make_held(name: str = "p1", symbol: str = "BTCUSDT", **changes: object) -> Held:
    """Return an open position of the strategy's own, 1000 a leg."""
    values: dict[str, object] = {
        "position_id": name,
        "symbol": symbol,
        "long_leg": ref("spot", symbol),
        "short_leg": ref("perp", symbol),
        "status": PositionStatus.OPEN,
        "notional": D(1000),
        "is_own": True,
    }
    return Held(**{**values, **changes})  # type: ignore[arg-type]  # test builder


def situation(*offers: Offer | Quoted, held: tuple[Held, ...] = (), **changes: object) -> Situation:
    """Return a situation with these offers, all standing unless quoted otherwise."""
    quotes = quotes_of(o if isinstance(o, Quoted) else Quoted(o) for o in offers)
    values: dict[str, object] = {"now": START, "quotes": quotes, "held": held, "is_whole": True}
    return Situation(**{**values, **changes})  # type: ignore[arg-type]  # test builder
