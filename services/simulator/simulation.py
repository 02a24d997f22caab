"""One running simulation: the venue core with its clocks, faults, limits and records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from services.simulator.core.accounts import Account
from services.simulator.core.clock import MarketClock, WireClock, millis
from services.simulator.core.exchange import Exchange, Interference
from services.simulator.core.faults import Call, FaultBook, LateExecution, Partial, Stage, ZeroFill
from services.simulator.core.limits import Limits
from services.simulator.core.listen_keys import ListenKeys
from services.simulator.core.market import Market
from services.simulator.core.money import ZERO
from services.simulator.core.orders import Order, OrderRequest
from services.simulator.kept_rows import KeptRows
from services.simulator.market.source import Candle
from services.simulator.settlement_blocks import RowEncoder, SettlementBlocks

MAX_ARRIVALS = 100_000
MAX_SERVED_PRICES = 20_000


# Not frozen: the fate is known only when the request has been handled.
@dataclass(slots=True)
class Arrival:
    """An order request that reached the venue: the witness of what was sent and how often."""

    time: datetime
    wire_time: datetime
    venue: str
    account: str
    parameters: dict[str, str]
    fate: str = "arrived"
    status: int = 0


@dataclass(frozen=True, slots=True)
class Cached:
    """Bytes of a bulk answer and the market instant they were made for."""

    key: object
    body: bytes


# Not frozen: the records and caches inside grow.
@dataclass(slots=True)
class Simulation:
    """Everything one simulator process holds; its parts change, it stays."""

    wire: WireClock
    clock: MarketClock
    market: Market
    exchange: Exchange
    faults: FaultBook
    limits: Limits
    listen_keys: ListenKeys
    listen_tokens: ListenKeys
    arrivals: list[Arrival] = field(default_factory=list)
    _cache: dict[str, Cached] = field(default_factory=dict)
    _blocks: dict[str, SettlementBlocks] = field(default_factory=dict)
    _rows: dict[str, KeptRows[Candle]] = field(default_factory=dict)
    _served: dict[tuple[str, str], set[Decimal]] = field(default_factory=dict)
    _update_id: int = 0

    def place(self, account: Account, venue: str, request: OrderRequest) -> Order:
        """Place an order as the faults in force let it; raises VenueError as Exchange.place."""
        call = Call(
            venue,
            "place_order",
            symbol=request.symbol,
            side=request.side.value,
            reduce_only=request.reduce_only,
        )
        return self.exchange.place(account, request, self._interference(call))

    def arrive(self, venue: str, account: str, parameters: dict[str, str]) -> Arrival:
        """Note that an order request has reached the venue."""
        arrival = Arrival(self.market.now(), self.wire.now(), venue, account, parameters)
        self.arrivals.append(arrival)
        # a bound, so that a simulator left running for days does not grow without end
        if len(self.arrivals) > MAX_ARRIVALS:
            del self.arrivals[: MAX_ARRIVALS // 10]
        return arrival

    def next_update_id(self) -> int:
        """Return a book update id: it grows with every call and with time."""
        # close to the clock, so that ids of a restarted simulator are higher than before
        self._update_id = max(self._update_id + 1, millis(self.wire.now()))
        return self._update_id

    def served_prices(self, venue: str, symbol: str) -> set[Decimal]:
        """Return the prices that snapshots of a book have shown, for the diff stream to clear."""
        prices = self._served.setdefault((venue, symbol), set())
        if len(prices) > MAX_SERVED_PRICES:
            prices.clear()
        return prices

    def cached(self, name: str, key: object, make: Callable[[], bytes]) -> bytes:
        """Return the bytes last made under `name` if `key` is unchanged, else make them."""
        row = self._cache.get(name)
        if row is None or row.key != key:
            row = Cached(key, make())
            self._cache[name] = row
        return row.body

    def settlement_blocks(self, name: str, encode_row: RowEncoder) -> SettlementBlocks:
        """Return the blocks of the settlements of all symbols as `name` encodes them."""
        blocks = self._blocks.get(name)
        if blocks is None:
            blocks = self._blocks[name] = SettlementBlocks(self.market.source, encode_row)
        return blocks

    def candle_rows(self, name: str, encode_row: Callable[[Candle], bytes]) -> KeptRows[Candle]:
        """Return the candles kept as `name` encodes them."""
        rows = self._rows.get(name)
        if rows is None:
            rows = self._rows[name] = KeptRows(encode_row)
        return rows

    def market_second(self) -> int:
        """Return the market clock in whole seconds, the key of what may be a second old."""
        return millis(self.market.now()) // 1000

    def _interference(self, call: Call) -> Interference:
        ratio: Decimal | None = None
        late: timedelta | None = None
        for action in self.faults.actions(Stage.ORDER, call):
            if isinstance(action, Partial):
                ratio = action.ratio
            elif isinstance(action, ZeroFill):
                ratio = ZERO
            elif isinstance(action, LateExecution):
                late = timedelta(seconds=action.seconds)
        return Interference(ratio, late)
