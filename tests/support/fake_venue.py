"""A small venue account with scripted faults, as the engine's gateway sees one.

It keeps its own books, which are the witness: fills, ids that arrived, and the account's totals
with coins and positions of the user's own in them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import (
    NotFoundError,
    OutcomeUnknownError,
    RejectedError,
    RetryableError,
    UnreachableError,
)
from services.engine.instruments import (
    Book,
    BookLevel,
    InstrumentKind,
    InstrumentRules,
    PositionMode,
)
from services.engine.orders import AssetAmount, OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.pockets import Holdings
from services.engine.ports import FundingPayment, OrderEvent, VenueProfile
from services.engine.pricing import is_within
from services.engine.sizing import floor_to_lot


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one order.

    `fill_ratio` of the quantity fills at once; with `late_ratio` that much more after `late_after`
    seconds, the answer being "not closed" until then. `reject` is a definite refusal (`retryable`
    perhaps), in the words of `refusal` where one is given. `lost` loses the request before it
    arrives, `reply_lost` only the answer; `arrives_after` delays a request whose answer was already
    given up. With `answers_closed` the answer waits for the late part, as a connector's does.
    """

    fill_ratio: Decimal = Decimal(1)
    late_ratio: Decimal = Decimal(0)
    late_after: float = 0.5
    reject: bool = False
    retryable: bool = False
    refusal: Exception | None = None
    lost: bool = False
    reply_lost: bool = False
    arrives_after: float = 0.0
    latency: float = 0.01
    answers_closed: bool = False


@dataclass(slots=True)
class FakeOrder:
    """An order in the venue's books; mutable: it fills."""

    plan: OrderPlan
    executed: Decimal
    closed: bool
    price: Decimal
    at: datetime
    rejected: bool = False


Chooser = Callable[[OrderPlan], Fault]


@dataclass(slots=True, eq=False)
class FakeVenue:
    """One account; mutable: the test scripts it while it runs.

    Without a `fence` no waiting proves absence; `absence_word` is the reason by which the connector
    tells of it, if it does. With `fee_coin` the account pays its fees in that coin, whatever the
    rules let expect.
    """

    name: str
    kind: InstrumentKind
    clock: Clock
    instrument: InstrumentRules
    price: Decimal = Decimal(100)
    depth: Decimal = Decimal(1000)
    fence: float | None = 3.0
    absence_word: str = ""
    foreign: Decimal = Decimal(0)
    funds: Decimal = Decimal(10_000_000)
    mode: PositionMode | None = None
    fee_coin: str | None = None
    script: deque[Fault] = field(default_factory=deque)
    choose: Chooser | None = None
    reads_fail: Callable[[], bool] = lambda: False
    on_arrival: Callable[[OrderPlan], None] = lambda _: None
    answer_holdings: Callable[[Holdings], Holdings] = lambda held: held
    orders: dict[str, FakeOrder] = field(default_factory=dict)
    arrivals: list[str] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    payments: list[FundingPayment] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    fills_in_cancel: Decimal = Decimal(0)
    cancel_reply_lost: bool = False
    tell: Callable[[OrderEvent], None] = lambda _: None
    takers: Callable[[OrderPlan], Sequence[tuple[float, Decimal]]] = lambda _: ()
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def profile(self) -> VenueProfile:
        """Answer kind, mode and fence."""
        await self._read()
        fence = None if self.fence is None else timedelta(seconds=self.fence)
        return VenueProfile(self.name, self.kind, fence, self.mode)

    async def rules(self, symbol: str, *, use_margin: bool) -> InstrumentRules:
        """Answer the rules of the instrument, which are the same for every symbol."""
        await self._read()
        return replace(self.instrument, ref=replace(self.instrument.ref, symbol=symbol))

    async def book(self, symbol: str, depth: int) -> Book:
        """Answer one level on each side, a tick apart."""
        await self._read()
        ask = self.price + self.instrument.tick_size
        return Book((BookLevel(self.price, self.depth),), (BookLevel(ask, self.depth),))

    async def position(self, symbol: str) -> Decimal:
        """Answer the account's whole position in a symbol, foreign part included."""
        await self._read()
        return self.foreign + self.filled(symbol=symbol)

    async def free_balance(self, asset: str) -> Decimal:
        """Answer the funds."""
        await self._read()
        return self.funds

    async def funding_payments(self, symbol: str, since: datetime) -> Sequence[FundingPayment]:
        """Answer the payments from `since` on."""
        await self._read()
        return [p for p in self.payments if p.settle_time >= since]

    async def holdings(self) -> Holdings:
        """Answer the account, foreign part included."""
        await self._read()
        rules = self.instrument
        if rules.is_perpetual:
            symbols = {order.plan.instrument.symbol for order in self.orders.values()}
            held = {name: self.filled(symbol=name) for name in symbols}
            own = rules.ref.symbol
            own_held = self.foreign + held.get(own, Decimal(0))
            return self.answer_holdings(Holdings(perpetuals={**held, own: own_held}))
        coins = {rules.base_asset: self.foreign + self.filled()}
        is_margin = rules.use_margin
        return self.answer_holdings(Holdings(margin=coins) if is_margin else Holdings(spot=coins))

    async def place(self, plan: OrderPlan) -> OrderOutcome:
        """Take one order; the fault decides what arrives and what is answered."""
        if plan.client_order_id in self.offered:
            self.problems.append(f"id offered twice: {plan.client_order_id}")
        self.offered.add(plan.client_order_id)
        fault = self._fault(plan)
        if fault.lost or fault.arrives_after:
            if fault.arrives_after:
                self._spawn(self._arrive_later(plan, fault))
            await self.clock.sleep(fault.latency)
            raise OutcomeUnknownError("lost", client_order_id=plan.client_order_id)
        task = self._spawn(self._arrive_later(plan, fault))
        await asyncio.shield(task)
        if fault.answers_closed:
            await self.clock.sleep(fault.late_after)
        if fault.reply_lost:
            raise OutcomeUnknownError("no reply", client_order_id=plan.client_order_id)
        order = self.orders[plan.client_order_id]
        if order.rejected:
            if fault.refusal is not None:
                raise fault.refusal
            if fault.retryable:
                raise RetryableError("slow down")
            raise RejectedError("refused")
        return self._outcome(order)

    async def cancel_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Close a resting order; what `fills_in_cancel` names of it fills just before."""
        await self._read()
        order = self.orders.get(client_order_id)
        if order is None or order.rejected or order.closed:
            raise RejectedError("no such live order", reason="ORDER_NOT_FOUND")
        self.cancels.append(client_order_id)
        crossing = min(self.fills_in_cancel, order.plan.quantity - order.executed)
        order.executed += crossing
        order.closed = True
        self._tell(order)
        if self.cancel_reply_lost:
            raise OutcomeUnknownError("no reply", client_order_id=client_order_id)
        return self._outcome(order)

    def fill_resting(self, quantity: Decimal) -> str:
        """Let the one resting order fill by this much; returns its id."""
        (key,) = [key for key, order in self.orders.items() if not order.closed]
        order = self.orders[key]
        order.executed += quantity
        order.closed = order.executed >= order.plan.quantity
        self._tell(order)
        return key

    @property
    def resting(self) -> tuple[FakeOrder, ...]:
        """Orders that may still fill."""
        return tuple(order for order in self.orders.values() if not order.closed)

    async def get_order(
        self, symbol: str, client_order_id: str, *, use_margin: bool
    ) -> OrderOutcome | None:
        """Answer what the books have; None, or the connector's word, for what does not live."""
        await self._read()
        order = self.orders.get(client_order_id)
        if order is not None and not order.rejected:
            return self._outcome(order)
        if self.absence_word:
            raise NotFoundError("not here", reason=self.absence_word)
        return None

    def filled(self, *classes: OrderClass, symbol: str | None = None) -> Decimal:
        """Return the signed base quantity that orders moved, net of base fees.

        Of these classes only, where any is named, and of one symbol.
        """
        return sum(
            (
                self._change(order)
                for order in self.orders.values()
                if (not classes or order.plan.order_class in classes)
                and symbol in (None, order.plan.instrument.symbol)
            ),
            Decimal(0),
        )

    async def close(self) -> None:
        """End what is still on its way."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _fault(self, plan: OrderPlan) -> Fault:
        if self.choose is not None:
            return self.choose(plan)
        return self.script.popleft() if self.script else Fault()

    async def _read(self) -> None:
        await self.clock.sleep(0.001)
        if self.reads_fail():
            raise UnreachableError("nobody answers")

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _arrive_later(self, plan: OrderPlan, fault: Fault) -> None:
        await self.clock.sleep(fault.arrives_after or fault.latency / 2)
        self._arrive(plan, fault)
        if not fault.arrives_after:
            await self.clock.sleep(fault.latency / 2)

    def _arrive(self, plan: OrderPlan, fault: Fault) -> None:
        key = plan.client_order_id
        if key in self.arrivals:
            self.problems.append(f"id sent twice: {key}")
        self.arrivals.append(key)
        self.on_arrival(plan)
        self._check(plan)
        if fault.reject:
            self.orders[key] = FakeOrder(
                plan, Decimal(0), True, self.price, self.clock.now(), rejected=True
            )
            return
        if plan.post_only:
            self._rest(plan)
            return
        crosses = plan.worst_price is None or is_within(
            plan.side, self._touch(plan.side), plan.worst_price
        )
        ratio = fault.fill_ratio if crosses else Decimal(0)
        executed = self._lots(plan.quantity * ratio)
        late = self._lots(plan.quantity * fault.late_ratio) if crosses else Decimal(0)
        late = min(late, plan.quantity - executed)
        order = FakeOrder(plan, executed, late == 0, self._touch(plan.side), self.clock.now())
        self.orders[key] = order
        self._tell(order)
        if late:
            self._spawn(self._fill_late(order, late, fault.late_after))

    def _rest(self, plan: OrderPlan) -> None:
        """Take a post-only order; one that would execute at once is refused."""
        live = [key for key, order in self.orders.items() if not order.closed]
        if live:
            self.problems.append(f"two live leads: {live} and {plan.client_order_id}")
        price = plan.worst_price or Decimal(0)
        crosses = is_within(plan.side, self._touch(plan.side), price)
        self.orders[plan.client_order_id] = FakeOrder(
            plan, Decimal(0), crosses, price, self.clock.now(), rejected=crosses
        )
        self._spawn(self._take_resting(self.orders[plan.client_order_id]))

    async def _take_resting(self, order: FakeOrder) -> None:
        """Let others take the order in shares of it, each after some seconds."""
        for seconds, share in self.takers(order.plan):
            await self.clock.sleep(seconds)
            if order.closed:
                return
            left = order.plan.quantity - order.executed
            order.executed += min(self._lots(order.plan.quantity * share), left)
            order.closed = order.executed == order.plan.quantity
            self._tell(order)

    def _tell(self, order: FakeOrder) -> None:
        order.at = self.clock.now()
        ref = order.plan.instrument
        self.tell(OrderEvent(ref.exchange, ref.symbol, self._outcome(order)))

    async def _fill_late(self, order: FakeOrder, quantity: Decimal, after: float) -> None:
        await self.clock.sleep(after)
        order.executed += quantity
        order.closed = True
        self._tell(order)

    def _check(self, plan: OrderPlan) -> None:
        """Note what a real venue would refuse, and what would touch what is not the position's."""
        rules = self.instrument
        if plan.quantity % rules.lot_size or plan.quantity < rules.min_quantity:
            self.problems.append(f"not a whole lot: {plan}")
        if plan.worst_price is not None and plan.worst_price % rules.tick_size:
            self.problems.append(f"price off the tick: {plan}")
        if plan.reduce_only:
            left = self.filled(symbol=plan.instrument.symbol)
            after = left + (plan.quantity if plan.side is OrderSide.BUY else -plan.quantity)
            if left * after < 0:
                self.problems.append(f"reduce-only crosses zero: {plan}")

    def _lots(self, quantity: Decimal) -> Decimal:
        return floor_to_lot(quantity, self.instrument.lot_size)

    def _touch(self, side: OrderSide) -> Decimal:
        return self.price + (self.instrument.tick_size if side is OrderSide.BUY else 0)

    def _net(self, order: FakeOrder) -> Decimal:
        takes_base = order.plan.side is OrderSide.BUY and self.fee_coin is None
        fee = self.instrument.base_fee_ratio if takes_base else Decimal(0)
        return order.executed * (1 - fee)

    def _change(self, order: FakeOrder) -> Decimal:
        return self._net(order) if order.plan.side is OrderSide.BUY else -order.executed

    def _outcome(self, order: FakeOrder) -> OrderOutcome:
        base_fee = order.executed - self._net(order)
        quote = order.executed * order.price
        fee = (
            AssetAmount(self.instrument.base_asset, base_fee)
            if base_fee
            else AssetAmount(
                self.fee_coin or self.instrument.quote_asset,
                quote * self.instrument.taker_fee_ratio,
            )
        )
        return OrderOutcome(
            client_order_id=order.plan.client_order_id,
            closed=order.closed,
            executed=order.executed,
            net=self._net(order),
            average_price=order.price if order.executed else None,
            fees=(fee,) if order.executed else (),
            cumulative_quote=quote if order.executed else None,
            update_time=order.at,
            quantity=order.plan.quantity,
        )
