"""Prices of a simulated market move where they are told to, on the grid, and nowhere else."""

from __future__ import annotations

from decimal import Decimal

from services.simulator.market.source import Kind
from simulation.loop_time import START
from simulation.moved_market import MovedMarket
from simulation.world_markets import market_source

D = Decimal
BTC, ETH = "BTCUSDT", "ETHUSDT"


def test_a_move_is_of_one_symbol_and_one_book() -> None:
    """The perpetual goes, its spot and the others stay; two moves follow one another."""
    source = market_source(2, 1)
    market = MovedMarket(source)
    market.move((Kind.PERPETUAL,), BTC, D("0.1"))
    market.move((Kind.PERPETUAL,), BTC, D("-0.5"))
    for kind, symbol in ((Kind.SPOT, BTC), (Kind.SPOT, ETH), (Kind.PERPETUAL, ETH)):
        assert market.book(kind, symbol, START) == source.book(kind, symbol, START)
        assert market.last_price(kind, symbol, START) == source.last_price(kind, symbol, START)
    before, after = (each.book(Kind.PERPETUAL, BTC, START) for each in (source, market))
    spec = source.instrument(Kind.PERPETUAL, BTC)
    assert spec is not None
    for old, new in zip((*before.bids, *before.asks), (*after.bids, *after.asks), strict=True):
        assert abs(new.price - old.price * D("0.55")) <= spec.tick_size / 2
        assert new.price % spec.tick_size == 0
        assert new.quantity == old.quantity
    assert abs(market.mark_price(BTC, START) / source.mark_price(BTC, START) - D("0.55")) < D(
        "1e-8"
    )
    assert market.funding_state(BTC, START).mark_price == market.mark_price(BTC, START)
    assert market.funding_state(BTC, START).last_rate == source.funding_state(BTC, START).last_rate
