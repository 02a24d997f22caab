"""Reads one venue's public data into the market that the core knows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from services.simulator.core.clock import WireClock, millis
from services.simulator.core.funding import SETTLEMENT_WINDOW
from services.simulator.market.source import Book, Kind
from services.simulator.mirror import binance_rows as rows
from services.simulator.mirror.data_client import DataAwayError, DataClient
from services.simulator.mirror.mirrored_market import MirroredMarket
from services.simulator.mirror.roll import Roll
from services.simulator.mirror.used_weight import Need

DEPTHS: Final = {Kind.SPOT: 100, Kind.PERPETUAL: 50}
"""The deepest books that cost the least weight: 5 on spot, 2 on USD-M."""
TRADES: Final = 500


class MirrorReader:
    """One reading each; raises DataAwayError where the venue does not answer as it should."""

    def __init__(self, client: DataClient, market: MirroredMarket, clock: WireClock) -> None:
        self._client = client
        self._market = market
        self._clock = clock
        self._rules: dict[str, rows.FundingRules] = {}

    async def read_instruments(self, kind: Kind) -> Roll:
        """Read the trading rules and return what instruments there are by them."""
        if kind is Kind.SPOT:
            answer = await self._client.read("/api/v3/exchangeInfo", Need.UPKEEP)
            specs = rows.read_rows(_list(answer, "symbols"), rows.spot_spec)
        else:
            info = await self._client.read("/fapi/v1/fundingInfo", Need.UPKEEP)
            self._rules = dict(rows.read_rows(_list(info), rows.funding_rules))
            answer = await self._client.read("/fapi/v1/exchangeInfo", Need.UPKEEP)
            read = partial(_perpetual, self._rules)
            specs = rows.read_rows(_list(answer, "symbols"), read)
        named = rows.read_rows(_list(answer, "symbols"), lambda row: str(row["symbol"]))
        return self._market.take_specs(kind, {spec.symbol: spec for spec in _some(specs)}, named)

    async def read_prices(self, kind: Kind) -> None:
        """Read what positions and orders are valued by, of all symbols at once."""
        now = self._clock.now()
        if kind is Kind.SPOT:
            answer = await self._client.read("/api/v3/ticker/price", Need.VALUE)
            self._market.take_prices(dict(_some(rows.read_rows(_list(answer), rows.price))), now)
            return
        answer = await self._client.read("/fapi/v1/premiumIndex", Need.VALUE)
        states = _some(
            rows.read_rows(
                _list(answer), lambda row: rows.funding_state(row, self._interval(row["symbol"]))
            )
        )
        self._market.take_states({state.symbol: state for state in states}, now)

    async def read_book(self, kind: Kind, symbol: str, need: Need) -> Book:
        """Read a book and return it."""
        now = self._clock.now()
        path = "/api/v3/depth" if kind is Kind.SPOT else "/fapi/v1/depth"
        answer = await self._client.read(path, need, symbol=symbol, limit=DEPTHS[kind])
        try:
            book = rows.book(answer)
        except rows.DAMAGE as error:
            raise DataAwayError(f"the book of {symbol} cannot be read") from error
        self._market.take_book(kind, symbol, book, now)
        return book

    async def read_trades(self, kind: Kind, symbol: str) -> list[rows.PublicTrade]:
        """Return the latest trades of others."""
        is_spot = kind is Kind.SPOT
        path = "/api/v3/aggTrades" if is_spot else "/fapi/v1/trades"
        answer = await self._client.read(path, Need.UPKEEP, symbol=symbol, limit=TRADES)
        return rows.read_rows(_list(answer), rows.spot_trade if is_spot else rows.perpetual_trade)

    async def read_settlement(self, symbol: str, time: datetime) -> None:
        """Read the rate that was paid at a settlement, if the venue lists it already."""
        first, last = time - SETTLEMENT_WINDOW, time + SETTLEMENT_WINDOW
        answer = await self._client.read(
            "/fapi/v1/fundingRate",
            Need.UPKEEP,
            symbol=symbol,
            startTime=millis(first),
            endTime=millis(last),
            limit=10,
        )
        read = partial(rows.settlement, interval=self._interval(symbol))
        for row in rows.read_rows(_list(answer), read):
            self._market.take_settlement(row)

    def _interval(self, symbol: Any) -> timedelta:
        return self._rules.get(str(symbol), rows.FundingRules()).interval


def _perpetual(rules: Mapping[str, rows.FundingRules], row: Any) -> Any:
    return rows.perpetual_spec(row, rules.get(str(row["symbol"]), rows.FundingRules()))


def _list(answer: Any, name: str | None = None) -> list[Any]:
    found = answer.get(name) if name is not None and isinstance(answer, dict) else answer
    if not isinstance(found, list):
        raise DataAwayError("an answer without its list")
    return found


def _some(found: list[Any]) -> list[Any]:
    if not found:
        raise DataAwayError("an answer without a row that can be read")
    return found
