"""One life of the whole system: a seed's plan and faults in a `World`, judged to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, TypeVar

from services.common.errors import OpensqtError
from services.engine import commands as cmd
from services.engine.instruments import LegSide
from services.engine.views import PositionStatus, PositionView
from services.simulator.core.faults import FaultRule
from simulation.evidence import VenueBooks
from simulation.invariants import Judge, Standards
from simulation.invariants_books import broken_symbols
from simulation.invariants_exposure import NotionalLimits, exits_are_taken
from simulation.invariants_service import (
    Ban,
    canaries_stay_inside,
    counts_are_bounded,
    entry_after_reconciliation,
)
from simulation.loop import SimHandle
from simulation.swarm import Deed, DeedAt, FaultMix, LifeReport, Plan, settle_bound
from simulation.swarm_account import BOUNDS, AccountBooks
from simulation.swarm_strikes import KINDS_OF_STRIKE, Strikes
from simulation.swarm_witness import DurableEvents, VenueWitness
from simulation.world import ENGINE, KINDS, DiedError, World, WorldConfig
from simulation.world_markets import API_SECRET, SYMBOLS
from simulation.world_trace import TraceEvent

T = TypeVar("T")
_PLACE: Final = {"operation": "place_order"}
_READ: Final = {"method": "GET"}
_EVENT: Final = {"operation": "order_event"}
_HTML: Final = "<html>"
_REJECT: Final = {"type": "reject", "code": -2010, "msg": "Account has insufficient balance"}
# Row by row what the simulator's venue does for a kind; `{figure}` is drawn within its bounds.
_ACTIONS: Final[Mapping[str, tuple[Mapping[str, str], Mapping[str, Any]]]] = {
    "request_lost": (_PLACE, {"type": "drop_before"}),
    "reply_lost": (_PLACE, {"type": "drop_after"}),
    "executes_late": (_PLACE, {"type": "late_execution", "seconds": "figure"}),
    "server_error_after": (
        _PLACE,
        {"type": "http_status", "status": 502, "body": _HTML, "when": "after"},
    ),
    "server_error_before": (_PLACE, {"type": "http_status", "status": 503, "body": ""}),
    "body_broken": (_PLACE, {"type": "truncate_body", "bytes": 40}),
    "body_empty": (_PLACE, {"type": "empty_body"}),
    "rate_limited": (_PLACE, {"type": "rate_limit", "status": 429, "retry_after": 1}),
    "banned": (_PLACE, {"type": "rate_limit", "status": 418, "retry_after": 1}),
    "waf_page": (_PLACE, {"type": "http_status", "status": 403, "body": _HTML}),
    "rejected": (_PLACE, _REJECT),
    "partial_fill": (_PLACE, {"type": "partial", "ratio": "figure"}),
    "zero_fill": (_PLACE, {"type": "zero_fill"}),
    "slow_reply": (_PLACE, {"type": "delay", "seconds": "figure", "when": "after"}),
    "read_fails": (_READ, {"type": "drop_before"}),
    "read_slow": (_READ, {"type": "delay", "seconds": "figure", "when": "before"}),
    "event_late": (_EVENT, {"type": "event_late", "seconds": "figure"}),
    "event_duplicate": (_EVENT, {"type": "event_duplicate"}),
    "event_reorder": (_EVENT, {"type": "event_reorder"}),
    "stream_cut": (_EVENT, {"type": "stream_cut"}),
}
_DISKS: Final = frozenset({"journal_full", "ledger_full"})
_DISK_SECONDS: Final = 0.5
KNOWN_KINDS: Final = frozenset(_ACTIONS) | _DISKS | {"channel_cut"} | KINDS_OF_STRIKE
"""Kinds of fault that this world can do."""

_SILENCES: Final = frozenset({"channel_cut", "engine_paused", "connector_paused"})
_LARGEST_LOT: Final = Decimal("0.001")
_ENTRIES_WITHIN: Final = Decimal("1.5")
_LIMIT_ROOM: Final = Decimal("1.05")
"""Prices of orders are worse than those that an entry was judged by."""

_MOVING: Final = (
    PositionStatus.OPENING,
    PositionStatus.UNWINDING,
    PositionStatus.REDUCING,
    PositionStatus.CLOSING,
)
_ENTRY_TRIES: Final = 3
_LOOK_SECONDS: Final = 0.05
_BAN_SECONDS: Final = 1.0
_TOLD_SECONDS: Final = 0.06
"""In which an answer has arrived, and whatever left before it too."""

_MARGIN_SECONDS: Final = 1.0
"""What a connector adds to the fence that its settings sum to."""


class SystemLife:
    """A `Life` in a whole system."""

    def __init__(self, plan: Plan, mix: FaultMix, config: WorldConfig | None = None) -> None:
        config = config or WorldConfig()
        policy = replace(config.policy, max_slice_notional=plan.slice_notional)
        self._plan = plan
        self._mix = mix
        self._bans: list[Ban] = []
        # Each entry alone is within it, two are not: what is open and in doubt must count.
        limits = replace(config.limits, max_total_notional=plan.notional * _ENTRIES_WITHIN)
        self.world = World(plan.seed, replace(config, policy=policy, limits=limits))
        journal = self.world.journal
        # Of the image alone: a circle through the life would keep it until garbage is collected.
        durable = DurableEvents(lambda: journal.rows)
        self.judge = Judge(
            durable,
            Standards(
                NotionalLimits(
                    plan.notional * _LIMIT_ROOM, plan.notional * _ENTRIES_WITHIN * _LIMIT_ROOM
                ),
                bans=self._bans,
                epoch=self.world.granted,
            ),
        )
        self._durable = durable
        self._disks: list[SimHandle] = []
        self._crashes = 0
        self._faults: Counter[str] = Counter()
        self._strikes = Strikes(self.world, mix, self._faults)
        self._account = AccountBooks(self.world)

    @property
    def bound(self) -> float:
        """Seconds after healing within which everything must be at rest."""
        config = self.world.config
        bound = settle_bound(config.fence + _MARGIN_SECONDS)
        if self._mix.shares.keys() & _SILENCES:
            # A call that a wire or a sleeper swallowed is known to be lost at its deadline only.
            bound += config.policy.place_timeout.total_seconds()
        if "position_taken" in self._mix.shares:
            policy = config.policy
            looks = policy.reconcile_interval + policy.reconcile_confirm_wait
            bound += looks.total_seconds()
        return bound

    def run(self) -> LifeReport:
        """Live the plan; see `swarm.Life`."""
        error = ""
        try:
            self.world.run(self._live)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        return LifeReport(
            seed=self._plan.seed,
            violations=tuple(self.judge.violations),
            faults=dict(+self._faults),
            order_count=len(self.judge.books.orders),
            crash_count=self._crashes,
            event_count=sum(self.world.trace.counts.values()),
            trace_hash=self.world.trace.hash,
            error=error,
        )

    async def _live(self, world: World) -> None:
        witness = VenueWitness(self.judge, world.loop.time, world.wires.rest.senders)
        self._account.begin()
        world.simulation.exchange.listeners.append(witness)
        world.trace.listeners.append(self._note_ban)
        await world.start()
        self._arm(only_orders=True)
        # A read that broke refuses the entry: nothing of it was sent, and it is asked for again.
        for _ in range(_ENTRY_TRIES):
            if await self._try_open() is not None:
                break
        self._arm(only_orders=False)
        self._strikes.begin()
        for deed in self._plan.deeds:
            await asyncio.sleep(deed.after)
            await self._do(deed)
        await asyncio.sleep(self._plan.faulty_seconds)
        await self._heal()
        await self._rest()
        await self._try(world.ask(lambda engine: engine.close_all(cmd.CloseAllCommand("last"))))
        await self._rest()
        if self.judge.is_halted:
            # Both instruments are free now: nothing but the halt refuses this one.
            await self._try_open("after all")
            await self._rest()
        rows = [row for name in KINDS for row in world.ledger_rows(name)]
        self.judge.books_agree(self._durable(), [str(row["client_order_id"]) for row in rows])
        texts = (body for _kind, body in world.journal.rows)
        self.judge.violations += canaries_stay_inside(texts, [API_SECRET])
        unclosed = [
            (view.position_id, view.status.value)
            for view in world.living_engine().positions()
            if not view.status.is_final
        ]
        self.judge.violations += exits_are_taken(unclosed)
        self._judge_services(witness)

    def _judge_services(self, witness: VenueWitness) -> None:
        """Judge account, profit, bounds and readiness once all is closed."""
        world, add = self.world, self.judge.violations.extend
        views = world.living_engine().positions()
        add(self._account.judge(views, self.judge.books, witness.traded))
        for at, is_reconciled in world.entries:
            add(entry_after_reconciliation(at, is_reconciled=is_reconciled))
        add(counts_are_bounded(world.counts(), BOUNDS))

    def _note_ban(self, event: TraceEvent) -> None:
        link = event.what.partition(" ")[0]
        if event.kind == "request" and event.what.endswith(" 418"):
            told = event.time + _TOLD_SECONDS
            self._bans.append(Ban(link, told, event.time + _BAN_SECONDS))
        elif event.kind == "crash":
            # Whoever died before it was told knows of no ban.
            self._bans[:] = [
                ban for ban in self._bans if ban.exchange != link or ban.start < event.time
            ]

    async def _try_open(
        self, request_id: str = "first", symbol: str = SYMBOLS[0]
    ) -> PositionView | None:
        return await self._try(
            self.world.open(
                symbol,
                notional=self._plan.notional,
                lead=self._plan.lead_leg,
                request_id=request_id,
            )
        )

    async def _try(self, work: Awaitable[T]) -> T | None:
        """Do what may be refused or die half-way; None then."""
        try:
            async with asyncio.timeout(self.bound):
                return await work
        except (OpensqtError, DiedError, TimeoutError):
            return None

    async def _do(self, deed: DeedAt) -> None:
        world = self.world
        match deed.deed:
            case Deed.CRASH_ENGINE:
                await self._crash(ENGINE)
            case Deed.CRASH_CONNECTOR:
                await self._crash(self._mix.random.choice(sorted(KINDS)))
            case Deed.HALT:
                halt = cmd.HaltCommand(f"halt {world.loop.time()}", "drill")
                told = await self._try(world.ask(lambda engine: engine.halt(halt)))
                self.judge.is_halted = self.judge.is_halted or told is not None
                await self._try_open("after the halt")
            case Deed.CLOSE | Deed.REDUCE:
                await self._shrink(deed.deed)
            case Deed.REPEAT:
                # Of the first command: it must be answered, not done again.
                await self._try_open()
            case Deed.OPEN:
                symbol = self._mix.random.choice(SYMBOLS)
                await self._try_open(f"open {world.loop.time()}", symbol)

    async def _shrink(self, deed: Deed) -> None:
        world = self.world
        with contextlib.suppress(DiedError):
            for view in world.living_engine().positions()[:1]:
                if deed is Deed.REDUCE:
                    await self._try(world.reduce(view.position_id, Decimal("0.5")))
                    continue
                try:
                    async with asyncio.timeout(self.bound):
                        # Twice, as an operator does who saw no answer: it is one command.
                        request_id = f"close {world.loop.time()}"
                        for _ in range(2):
                            await world.close(view.position_id, request_id=request_id)
                except OpensqtError as error:
                    # A full disk is told as such and tried again; anything else blocks an exit.
                    if error.reason != "JOURNAL_UNAVAILABLE":
                        self.judge.refused_exits.append((view.position_id, error.reason))
                except TimeoutError:
                    self.judge.refused_exits.append((view.position_id, "no answer"))

    async def _crash(self, name: str) -> None:
        self._crashes += 1
        self.world.crash(name)
        await self._revive(name)

    async def _revive(self, name: str) -> None:
        if self.world.process(name) is not None:
            return
        try:
            await self.world.restart(name)
        except Exception as error:
            # A disk that is full lets nobody start; whoever keeps processes alive tries again.
            self._faults[f"start failed: {type(error).__name__}"] += 1
            self.world.crash(name)

    def _arm(self, *, only_orders: bool) -> None:
        """Put the venue's faults of the mix in force; those of reads once the entry is taken."""
        rules = []
        for name, share in self._mix.shares.items():
            match, action = _ACTIONS.get(name, ({}, {}))
            if not action or (only_orders and match is not _PLACE):
                continue
            rules.append(self._rule(name, match, action, share))
        self.world.simulation.faults.add([rule for rule in rules if rule is not None])
        if not only_orders:
            self._arm_wires_and_disks()

    def _rule(
        self, name: str, match: Mapping[str, str], action: Mapping[str, Any], share: float
    ) -> FaultRule | None:
        if any(row["rule"]["id"] == name for row in self._counts()):
            return None
        drawn = self._mix.draw(name)
        settings = {key: _figure(value, drawn) for key, value in action.items()}
        seed = self._mix.random.getrandbits(32)
        return FaultRule.model_validate(
            {
                "id": name,
                "match": {**match, "probability": share, "seed": seed},
                "action": settings,
            }
        )

    def _counts(self) -> list[dict[str, Any]]:
        return self.world.simulation.faults.counts()

    def _arm_wires_and_disks(self) -> None:
        world = self.world
        if "channel_cut" in self._mix.shares:
            share = self._mix.shares["channel_cut"] / 3
            for name in KINDS:
                link = f"{ENGINE}-{name}"
                kept = world.network.links[link]
                world.network.links[link] = replace(kept, request_lost=share, reply_lost=share)
        victim = self._mix.random.choice(sorted(KINDS))
        disks = {"journal_full": world.journal, "ledger_full": world.connectors[victim].image}
        for name, disk in disks.items():
            begin = self._mix.random.uniform(0, _DISK_SECONDS)
            if name in self._mix.shares:
                self._faults[name] += 1
                end = begin + self._mix.draw(name)
                self._disks += [
                    world.loop.call_later(begin, setattr, disk, "is_full", True),
                    world.loop.call_later(end, setattr, disk, "is_full", False),
                ]

    async def _heal(self) -> None:
        for row in self._counts():
            self._faults[str(row["rule"]["id"])] += int(row["applied"])
        self._faults.update({f"wire {k}": n for k, n in self.world.network.injected.items()})
        await self._strikes.end()
        # A life without deeds heals before some disk was to fill.
        for timer in self._disks:
            timer.cancel()
        self._mix.heal()
        self.world.heal()
        for name in (*sorted(KINDS), ENGINE):
            await self._revive(name)

    async def _rest(self) -> None:
        """Wait until nothing moves, at most the bound, and judge what is then."""
        world = self.world
        begun = world.loop.time()
        end = world.loop.time() + self.bound
        while world.loop.time() < end and self._is_moving():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_LOOK_SECONDS)
        views = world.living_engine().positions()
        waited = world.loop.time() - begun
        self.judge.rested(views, healed_for=waited, bound=self.bound)

    def _is_moving(self) -> bool:
        engine = self.world.living_engine()
        views = engine.positions()
        moving = any(view.status in _MOVING for view in views)
        return moving or not engine.status().reconciled or self._is_robbed(views)

    def _is_robbed(self, views: Sequence[PositionView]) -> bool:
        """Whether what the venue closed by force is not told of, or its other leg is still on."""
        books = self.judge.books
        robbed = [v for v in views if any(key == v.position_id for key, _ in books.taken)]
        told = broken_symbols(self._durable())
        return any(
            abs(books.net_delta(view.position_id)) > abs(view.dust_quantity) + _LARGEST_LOT
            or not (view.symbol in told or _is_booked(view, books))
            for view in robbed
        )


def _is_booked(view: PositionView, books: VenueBooks) -> bool:
    legs = ((view.long_leg, LegSide.LONG), (view.short_leg, LegSide.SHORT))
    return all(books.quantity(view.position_id, side) == leg.quantity for leg, side in legs)


def _figure(value: Any, drawn: float) -> Any:
    return round(drawn, 6) if value == "figure" else value
