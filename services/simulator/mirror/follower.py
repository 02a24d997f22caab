"""Keeps the mirror up to date: prices always, books and trades of what rests, rates when paid."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from services.common.logs import get_logger
from services.simulator.core.exchange import Exchange
from services.simulator.core.late_funding import LateFundingDesk
from services.simulator.market.source import Kind
from services.simulator.mirror.data_client import DataAwayError
from services.simulator.mirror.pace import (
    MirrorPace,
    confirm_seconds,
    retry_seconds,
    settlement_pause,
)
from services.simulator.mirror.reader import MirrorReader
from services.simulator.mirror.used_weight import Need

_logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Followed:
    """How far the trades of a symbol were read, and the orders that rested before they were."""

    newest: int
    order_ids: frozenset[int]


class Follower:
    """Reads again and again until cancelled; where the venue is away, what is known grows old."""

    def __init__(self, reader: MirrorReader, exchange: Exchange, pace: MirrorPace) -> None:
        self._reader = reader
        self._exchange = exchange
        self._pace = pace
        self._away: dict[str, str] = {}
        self._followed: dict[tuple[Kind, str], _Followed] = {}
        self._asked: dict[tuple[str, datetime], datetime] = {}
        self._given_up_count = 0

    @property
    def away(self) -> dict[str, str]:
        """Return what cannot be read now, and why."""
        return dict(self._away)

    async def run(self) -> None:
        """Read until cancelled."""
        pace = self._pace
        async with asyncio.TaskGroup() as group:
            for kind in Kind:
                for name, read, seconds in (
                    ("instruments", partial(self._instruments, kind), pace.reload_seconds),
                    ("prices", partial(self._reader.read_prices, kind), pace.price_seconds),
                ):
                    group.create_task(self._keep(f"{kind.lower()} {name}", read, seconds))
            group.create_task(self._keep("resting orders", self.follow, pace.follow_seconds))
            group.create_task(self._keep("settlements", self.settle, pace.price_seconds))

    async def follow(self) -> None:
        """Read books and trades of every symbol that an order rests in, and match by them."""
        resting = {
            (order.request.product.kind, order.request.symbol)
            for order in self._exchange.store.open_orders()
        }
        self._followed = {key: held for key, held in self._followed.items() if key in resting}
        # one after the other: a burst would take the weight that the connector's orders need
        await _each(partial(self._follow_one, kind, symbol) for kind, symbol in sorted(resting))

    async def settle(self) -> None:
        """Read the rates of the settlements that are owed or due."""
        desk, now = self._exchange.funding, self._exchange.market.now()
        if not isinstance(desk, LateFundingDesk):
            return
        for symbol, time in desk.given_up[self._given_up_count :]:
            # what the account has earned differs from a venue's by as much
            _logger.warning("settlement_given_up", symbol=symbol, time=time.isoformat())
        self._given_up_count = len(desk.given_up)
        owed = desk.unpaid
        self._asked = {row: asked for row, asked in self._asked.items() if row in owed}
        due = [
            row
            for row in owed
            if now - self._asked.get(row, row[1]) >= settlement_pause(now - row[1])
        ]
        await _each(partial(self._settle_one, *row, now) for row in due)

    async def _settle_one(self, symbol: str, time: datetime, now: datetime) -> None:
        await self._reader.read_settlement(symbol, time)
        self._asked[symbol, time] = now

    async def _follow_one(self, kind: Kind, symbol: str) -> None:
        await self._reader.read_book(kind, symbol, Need.UPKEEP)
        await self._match_trades(kind, symbol)

    async def _match_trades(self, kind: Kind, symbol: str) -> None:
        order_ids = frozenset(
            order.order_id
            for order in self._exchange.store.open_orders(symbol=symbol)
            if order.request.product.kind is kind
        )
        trades = await self._reader.read_trades(kind, symbol)
        newest = max((trade.trade_id for trade in trades), default=0)
        before = self._followed.get((kind, symbol), _Followed(newest, frozenset()))
        self._followed[kind, symbol] = _Followed(max(newest, before.newest), order_ids)
        # the first reading with an order only says where to begin: its trades may be older
        fresh = [trade.execution for trade in trades if trade.trade_id > before.newest]
        if fresh and before.order_ids:
            self._exchange.trade_through(kind, symbol, fresh, before.order_ids)

    async def _instruments(self, kind: Kind) -> None:
        if await self._read_roll(kind):
            # their prices are missing too: what is held of them cannot be valued until it is sure
            await asyncio.sleep(confirm_seconds(self._pace))
            await self._read_roll(kind)

    async def _read_roll(self, kind: Kind) -> bool:
        """Read the list of instruments once, and tell whether it lacks some that may be back."""
        roll, name = await self._reader.read_instruments(kind), kind.value
        if roll.doubted_count:
            _logger.warning("instrument_list_doubted", kind=name, missing=roll.doubted_count)
        if roll.missing:
            _logger.warning("instruments_missing", kind=name, symbols=sorted(roll.missing))
        if roll.vanished:
            _logger.warning("instruments_vanished", kind=name, symbols=sorted(roll.vanished))
        _logger.info("instruments_mirrored", kind=name, count=len(roll.specs))
        return bool(roll.missing)

    async def _keep(self, name: str, read: Callable[[], Awaitable[None]], seconds: float) -> None:
        failures = 0
        while True:
            wait = seconds
            try:
                await read()
            except DataAwayError as error:
                self._tell_away(name, str(error))
                failures += 1
                wait = retry_seconds(seconds, failures)
            except Exception:
                # a reading that broke must not end the others, nor itself for ever
                _logger.exception("mirror_reading_broke", what=name)
            else:
                failures = 0
                if self._away.pop(name, None) is not None:
                    _logger.info("venue_data_back", what=name)
            await asyncio.sleep(wait)

    def _tell_away(self, name: str, problem: str) -> None:
        # once, not at each try: a venue may be away for hours
        if name not in self._away:
            _logger.warning("venue_data_away", what=name, problem=problem)
        self._away[name] = problem


async def _each(reads: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all readings; then raise the last failure, so that one symbol holds back no other."""
    problem: DataAwayError | None = None
    for read in reads:
        try:
            await read()
        except DataAwayError as error:
            problem = error
    if problem is not None:
        raise problem
