"""Facts of a status page: a calm hour, and one in which much goes wrong at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.engine.follower_offer import Offer
from services.engine.instruments import InstrumentKind, InstrumentRef
from services.engine.page.facts import (
    DoubtfulOrder,
    Level,
    Offers,
    PageEvent,
    PageFacts,
    PositionRow,
)
from services.engine.strategy_words import StrategyMode
from services.engine.views import EngineMode, PositionStatus, PositionView, VenueView
from tests.support.engine_views import leg_view, position_view, status_view

NOW = datetime(2026, 3, 20, 14, 3, 22, tzinfo=UTC)
_SPOT = InstrumentRef("binance", "BTCUSDT", InstrumentKind.SPOT)
_PERPETUAL = InstrumentRef("binanceusdm", "BTCUSDT", InstrumentKind.PERPETUAL)
_ALL_VENUES = (
    VenueView("binance", InstrumentKind.SPOT, reachable=True),
    VenueView("binanceusdm", InstrumentKind.PERPETUAL, reachable=True),
)


def open_view(
    symbol: str,
    quantity: str,
    entry: str,
    *,
    key: str = "pk8ky3jso9lk8yf7",
    funding: str = "6.5289",
) -> PositionView:
    """Return an open position that is matched."""
    amount = Decimal(quantity)
    long = leg_view(
        replace(_SPOT, symbol=symbol),
        quantity=amount,
        average_entry_price=Decimal(entry),
        funding_received=None,
        outcome_unknown=False,
    )
    short = leg_view(
        replace(_PERPETUAL, symbol=symbol),
        quantity=-amount,
        average_entry_price=Decimal(entry) * Decimal("1.0007"),
        funding_received=Decimal(funding),
        outcome_unknown=False,
    )
    return position_view(
        position_id=key,
        symbol=symbol,
        status=PositionStatus.OPEN,
        long_leg=long,
        short_leg=short,
        residual_quantity=Decimal(0),
        dust_quantity=Decimal(0),
        funding_received=Decimal(funding),
        fees_paid=Decimal("3.577968242"),
        trading_pnl=None,
        create_time=NOW - timedelta(hours=26, minutes=12),
        update_time=NOW - timedelta(minutes=4),
        close_time=None,
        state_reason="",
    )


def row_of(view: PositionView, *, result: str = "2.7637", is_neutral: bool = True) -> PositionRow:
    """Return a card's row of a position."""
    base = view.symbol.removesuffix("USDT")
    price = view.long_leg.average_entry_price or Decimal(1)
    notional = abs(view.long_leg.quantity) * price
    return PositionRow(view, base, "USDT", notional, Decimal(result), Decimal("0.2134"), is_neutral)


def offer(symbol: str, net: str, *, caveats: tuple[str, ...] = (), stale: bool = False) -> Offer:
    """Return an offer of spot against perpetual."""
    return Offer(
        opportunity_id=f"{symbol}:binance:binanceusdm",
        revision=3,
        symbol=symbol,
        long_leg=replace(_SPOT, symbol=symbol),
        short_leg=replace(_PERPETUAL, symbol=symbol),
        gross_apr=Decimal(net) + Decimal("0.043"),
        net_apr=Decimal(net),
        round_trip_cost_ratio=Decimal("0.0031"),
        current_apr=Decimal(net) * Decimal("0.8"),
        basis_ratio=Decimal("0.0004"),
        capacity_notional=Decimal("183456.7"),
        caveats=frozenset(caveats),
        expected_holding_time=timedelta(days=7),
        expire_time=NOW + timedelta(minutes=-1 if stale else 5),
        heard_at=0.0,
        lifetime=timedelta(minutes=5),
    )


def ended_view() -> PositionView:
    """Return a position that was closed this morning."""
    view = open_view("WIFUSDT", "812.4", "1.8432", key="pq2m4x7v1c9zd0a3", funding="11.0423")
    return replace(
        view,
        status=PositionStatus.CLOSED,
        trading_pnl=Decimal("-0.8125"),
        close_time=NOW - timedelta(hours=3),
        state_reason="STRATEGY CARRY_GONE",
    )


def calm_facts() -> PageFacts:
    """Return an engine with two matched positions, at peace."""
    status = status_view(
        mode=EngineMode.ACTIVE,
        reason="",
        mode_time=NOW - timedelta(days=4),
        open_position_count=2,
        unknown_client_order_ids=(),
        venues=_ALL_VENUES,
    )
    rows = (
        row_of(open_view("LOOMUSDT", "37419", "0.031705")),
        row_of(open_view("BTCUSDT", "0.0312", "64100.25", key="pa7d2k1m5n8q3r6t"), result="-0.4"),
    )
    filled = "entry: buy 37419 LOOMUSDT at binance spot: filled 37419 at 0.031705"
    return PageFacts(
        now=NOW,
        status=status,
        strategy=StrategyMode.AUTO,
        day_result=Decimal("12.3456"),
        positions=rows,
        summed=rows,
        unshown_count=0,
        is_whole=True,
        ended=(ended_view(),),
        doubtful=(),
        offers=Offers(
            (
                offer("WIFUSDT", "0.3127"),
                offer("PEPEUSDT", "0.2411", caveats=("FEE_DEFAULT", "WINDOW_PARTIAL")),
                offer("1000SATSUSDT", "0.1904", stale=True),
                offer("ETHUSDT", "0.0873"),
            )
        ),
        events=(
            PageEvent(NOW - timedelta(minutes=4), Level.GOOD, "LOOMUSDT", filled),
            PageEvent(NOW - timedelta(hours=3), Level.GOOD, "WIFUSDT", "closed: CARRY_GONE"),
            PageEvent(NOW - timedelta(days=4), Level.GOOD, "", "engine active"),
        ),
    )


def troubled_facts() -> PageFacts:
    """Return a halted engine with an unknown order, a leg without hedge and a silent venue."""
    calm = calm_facts()
    view = open_view("DOGEUSDT", "5120", "0.16382", key="pz1x2c3v4b5n6m7k")
    doubt = replace(
        view,
        status=PositionStatus.UNWINDING,
        short_leg=replace(view.short_leg, quantity=Decimal(0), outcome_unknown=True),
        residual_quantity=Decimal(5120),
        funding_received=None,
        fees_paid=None,
        create_time=NOW - timedelta(seconds=41),
        state_reason="the hedge did not fill within its bounds",
    )
    naked = replace(calm.positions[1].view, residual_quantity=Decimal("0.0312"))
    order = DoubtfulOrder(
        "pz1x2c3v4b5n6m7ksh0001",
        doubt.position_id,
        "sell 5120 DOGEUSDT at binanceusdm perpetual",
        NOW - timedelta(seconds=38),
    )
    status = replace(
        calm.status,
        mode=EngineMode.HALTED,
        reason="UNHEDGED_TOO_LONG: an order was unknown for longer than the unhedged budget",
        mode_time=NOW - timedelta(seconds=35),
        reconciled=False,
        open_position_count=53,
        unknown_client_order_ids=(order.client_order_id,),
        venues=(
            _ALL_VENUES[0],
            replace(_ALL_VENUES[1], reachable=False, problem="no answer within 3 s"),
        ),
    )
    event = PageEvent(order.since, Level.BAD, "DOGEUSDT", f"hedge: {order.text}: outcome unknown")
    rows = (
        row_of(doubt, result="-1.2", is_neutral=False),
        calm.positions[0],
        row_of(naked, result="-14.08", is_neutral=False),
    )
    return replace(
        calm,
        status=status,
        positions=rows,
        summed=rows + (calm.positions[0],) * 50,
        unshown_count=50,
        doubtful=(order,),
        offers=Offers(problem="the scanner does not answer"),
        events=(event, *calm.events),
    )
