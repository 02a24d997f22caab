"""The venues' accounts at the beginning and at the end of a life: what changed, and what should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from services.engine.views import PositionView
from services.simulator.core.orders import PositionSide
from simulation.evidence import VenueBooks, Violation
from simulation.invariants_books import account_is_sum, profit_is_equity_change
from simulation.world import PERPETUAL, SPOT, World
from simulation.world_markets import ACCOUNT

_ZERO: Final = Decimal(0)
_QUOTE: Final = "USDT"
_CENT: Final = Decimal("0.01")
BOUNDS: Final = {"tasks": 60, "calls": 40, "sockets": 12, "ready": 2_000}
"""What a process of a life has at most; a life at rest has a tenth of it."""


class AccountBooks:
    """One account's holdings as the venue has them, beside what its orders moved."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._began: dict[tuple[str, str], Decimal] = {}
        self._equity = _ZERO

    def begin(self) -> None:
        """Take down what is the user's own."""
        self._began = self._held()
        self._equity = self._quote()

    def judge(
        self,
        views: Sequence[PositionView],
        books: VenueBooks,
        prices: Mapping[tuple[str, str], Decimal],
    ) -> list[Violation]:
        """I17, I19: the account holds the user's own and our fills; profit is what it gained."""
        moved: dict[tuple[str, str], Decimal] = {}
        for order in books.orders.values():
            key = order.arrival.exchange, order.arrival.symbol
            moved[key] = moved.get(key, _ZERO) + order.change
        for view in views:
            for leg in (view.long_leg, view.short_leg):
                key = leg.instrument.exchange, leg.instrument.symbol
                side = "long" if leg is view.long_leg else "short"
                taken = [
                    v
                    for (p, at), v in books.taken.items()
                    if (p, at.value) == (view.position_id, side)
                ]
                moved[key] = moved.get(key, _ZERO) + sum(taken, _ZERO)
        held = self._held()
        found = account_is_sum(moved, self._began, held)
        return found if books.taken else found + self._profit(views, held, prices, books)

    def _profit(
        self,
        views: Sequence[PositionView],
        held: Mapping[tuple[str, str], Decimal],
        prices: Mapping[tuple[str, str], Decimal],
        books: VenueBooks,
    ) -> list[Violation]:
        figures = [(v.trading_pnl, v.fees_paid, v.funding_received or _ZERO) for v in views]
        profit = sum((p - f + i for p, f, i in figures if p is not None and f is not None), _ZERO)
        if any(p is None or f is None for p, f, _ in figures):
            return []
        rests = {k: v - self._began.get(k, _ZERO) for k, v in held.items()}
        if any(
            rests.get((exchange, symbol), _ZERO)
            for exchange, symbol in held
            if exchange == PERPETUAL
        ):
            return []
        kept = sum((rest * prices.get(key, _ZERO) for key, rest in rests.items()), _ZERO)
        change = self._quote() - self._equity + kept
        fills = sum(1 for order in books.orders.values() if order.executed)
        return profit_is_equity_change(profit, change, _CENT * (fills + 1))

    def _quote(self) -> Decimal:
        account = self._world.simulation.exchange.accounts.by_name(ACCOUNT)
        return account.spot.get(_QUOTE).total + account.futures.balance(_QUOTE)

    def _held(self) -> dict[tuple[str, str], Decimal]:
        account = self._world.simulation.exchange.accounts.by_name(ACCOUNT)
        held: dict[tuple[str, str], Decimal] = {}
        for symbol in SYMBOLS:
            held[SPOT, symbol] = account.spot.get(symbol.removesuffix(_QUOTE)).total
            position = account.futures.position(symbol, PositionSide.BOTH)
            held[PERPETUAL, symbol] = position.quantity
        return held


SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
"""What a life trades."""
