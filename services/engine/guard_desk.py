"""The guards at work: figures read at a bounded rate, judged by pure rules, acted upon at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.engine.events import GuardActed
from services.engine.guard_basis import guard_basis
from services.engine.guard_delta import guard_delta
from services.engine.guard_facts import (
    GuardAction,
    GuardFinding,
    GuardLimits,
    GuardPace,
    PairAccount,
    PairMarket,
)
from services.engine.guard_forced_fill import guard_forced_fill
from services.engine.guard_funding import guard_funding, hourly_carry
from services.engine.guard_health import GuardHealth
from services.engine.guard_liquidation import guard_liquidation
from services.engine.guard_margin import guard_margin
from services.engine.guard_memory import GuardMemory
from services.engine.guard_ports import AlertSink, GuardHands, RiskReader
from services.engine.guard_venue import guard_venue
from services.engine.instruments import InstrumentRef, LegSide
from services.engine.position import Position
from services.engine.views import PositionStatus

_log = get_logger(__name__)
Guard = Callable[
    [Position, PairMarket, PairAccount, GuardLimits],
    tuple[GuardFinding, ...],
]
GUARDS: tuple[Guard, ...] = (
    guard_liquidation,
    guard_margin,
    guard_basis,
    guard_funding,
    guard_forced_fill,
    guard_venue,
    guard_delta,
)
_HALF = Decimal("0.5")
_JUDGED_IN_A_TURN = 10
_STRENGTH = {action: rank for rank, action in enumerate(GuardAction)}


@dataclass(frozen=True, slots=True)
class GuardNeeds:
    """What the composition root gives the guards: a reader per venue, where alerts go, bounds."""

    readers: Mapping[str, RiskReader]
    alerts: AlertSink
    limits: GuardLimits
    pace: GuardPace


def judge(
    position: Position, market: PairMarket, account: PairAccount, limits: GuardLimits
) -> tuple[GuardFinding, ...]:
    """Return what all guards find on a position, the strongest first."""
    found = [row for guard in GUARDS for row in guard(position, market, account, limits)]
    return tuple(sorted(found, key=lambda row: -_STRENGTH[row.action]))


class GuardDesk:
    """Reads, judges and acts for every position that is not closed, one round after another."""

    def __init__(
        self,
        positions: Callable[[], tuple[Position, ...]],
        hands: GuardHands,
        clock: Clock,
        needs: GuardNeeds,
    ) -> None:
        self._positions = positions
        self._readers = needs.readers
        self._hands = hands
        self._alerts = needs.alerts
        self._clock = clock
        self._limits = needs.limits
        self._pace = needs.pace
        self._known: dict[tuple[str, str], GuardAction] = {}
        self._reduced_at: dict[str, float] = {}
        self.memory = GuardMemory(needs.limits)
        """The figures of the last round."""
        self.judged_at = clock.monotonic()
        """When the last round was done, all that it asked for included; before any, the start."""

    async def run(self) -> None:
        """Take rounds until cancelled; an error of one round does not end the next."""
        self.judged_at = self._clock.monotonic()
        while True:
            try:
                await self.round()
                self.judged_at = self._clock.monotonic()
            except Exception:
                # A guard that dies in silence is worse than none.
                _log.exception("guard_round_failed")
            await self._clock.sleep(self._pace.interval.total_seconds())

    async def round(self) -> None:
        """Read every venue that has a position, once and side by side; judge; act."""
        live = self._live()
        exchanges = {p.rules(leg).ref.exchange for p in live.values() for leg in LegSide}
        self.memory.keep(live, exchanges)
        async with asyncio.TaskGroup() as group:
            for name in sorted(exchanges):
                group.create_task(self._read(name))
        now = self._clock.monotonic()
        before = {key: p.revision for key, p in live.items()}
        self._reduced_at = {key: at for key, at in self._reduced_at.items() if key in before}
        findings, bugs = await self._judged(before, now)
        self._tell(findings)
        await self._act(findings, self._live(), now)
        if bugs:
            # Last, and all the same: a round is done when every position was judged.
            raise bugs[0]

    def _live(self) -> dict[str, Position]:
        return {p.position_id: p for p in self._positions() if not p.status.is_final}

    async def _judged(
        self, before: Mapping[str, int], now: float
    ) -> tuple[list[GuardFinding], list[Exception]]:
        """Return what is found, and what kept positions from being judged: the others are."""
        findings: list[GuardFinding] = []
        bugs: list[Exception] = []
        live: dict[str, Position] = {}
        for number, (key, revision) in enumerate(before.items()):
            if number % _JUDGED_IN_A_TURN == 0:
                if number > 0:
                    # Hedges share the event loop: none waits until all are judged.
                    await asyncio.sleep(0)
                # As they are now: positions moved on while venues answered and others were judged.
                live = self._live()
            position = live.get(key)
            if position is None:
                continue
            try:
                found = self._judge(position, now, has_moved=position.revision != revision)
            except Exception as error:
                bugs.append(error)
            else:
                findings += map(self._looked_twice, found)
        return findings, bugs

    def _judge(
        self, position: Position, now: float, *, has_moved: bool
    ) -> tuple[GuardFinding, ...]:
        self.memory.sample(position, now)
        market = self.memory.market(position, now)
        account = self.memory.account(position, now, has_moved=has_moved)
        return judge(position, market, account, self._limits)

    def marks(self, *of: Position) -> dict[InstrumentRef, Decimal]:
        """Return what the legs of these positions are valued at, if known; of all without names.

        All are those that are not closed.
        """
        now = self._clock.monotonic()
        return {
            position.rules(leg).ref: row.mark
            for position in of or self._positions()
            if not position.status.is_final
            for leg, row in self.memory.market(position, now).legs.items()
            if row.mark is not None
        }

    def carries(self, *of: Position) -> dict[str, Decimal]:
        """Return what these positions receive in an hour, where it is known; see `marks`.

        As a fraction of one leg's notional, at the rates of the coming settlements.
        """
        now = self._clock.monotonic()
        known = (
            (p.position_id, hourly_carry(p, dict(self.memory.market(p, now).legs)))
            for p in of or self._positions()
            if not p.status.is_final
        )
        return {key: carry for key, carry in known if carry is not None}

    def health(self) -> GuardHealth:
        """Return what takes positions and tells how near the guards are to acting on them."""
        return GuardHealth(self.memory, self._clock.monotonic())

    def found(self) -> Mapping[tuple[str, str], int]:
        """Return how much the last round found, by guard and action."""
        return Counter((guard, action.value) for (guard, _), action in self._known.items())

    async def _read(self, exchange: str) -> None:
        reader = self._readers.get(exchange)
        if reader is None:
            return
        self.memory.asked(exchange, self._clock.monotonic())
        try:
            async with asyncio.timeout(self._pace.call_timeout.total_seconds()):
                account = await reader.account()
                self.memory.heard_account(exchange, self._clock.monotonic(), account)
                markets = await reader.markets()
                self.memory.heard_markets(exchange, self._clock.monotonic(), markets)
        except (OpensqtError, TimeoutError):
            # The silence itself is what guard_venue judges.
            return

    def _looked_twice(self, row: GuardFinding) -> GuardFinding:
        if row.needs_second_look and (row.guard, row.position_id) not in self._known:
            return replace(row, action=GuardAction.ALERT)
        return row

    def _tell(self, findings: Iterable[GuardFinding]) -> None:
        known: dict[tuple[str, str], GuardAction] = {}
        for row in findings:
            key = (row.guard, row.position_id)
            before = self._known.get(key)
            # Told once, and again when it is worse: a person must not drown in repeats.
            if key not in known and (before is None or _STRENGTH[row.action] > _STRENGTH[before]):
                _log.warning(
                    "guard_finding",
                    guard=row.guard,
                    position_id=row.position_id,
                    action=row.action.value,
                    text=row.text,
                )
                self._alerts.raised(row)
            known.setdefault(key, row.action)
        self._known = known

    async def _act(
        self, findings: Iterable[GuardFinding], positions: Mapping[str, Position], now: float
    ) -> None:
        closing: dict[str, GuardFinding] = {}
        reducing: dict[str, GuardFinding] = {}
        for row in findings:
            if row.action is GuardAction.ALERT:
                continue
            # Whatever a guard has to act upon is no place to enter again.
            self._hands.trip(row.symbol, row.guard.upper())
            position = positions.get(row.position_id)
            if position is None:
                # It ended while others were judged.
                continue
            exiting = position.exit
            if row.action is GuardAction.CLOSE and (exiting is None or not exiting.is_final):
                closing.setdefault(row.position_id, row)
            elif row.action is GuardAction.REDUCE:
                reducing.setdefault(row.position_id, row)
        if closing:
            # All at once: an emergency of one account concerns every position on it.
            reasons = {key: row.guard.upper() for key, row in closing.items()}
            await self._hands.close_positions(reasons)
            self._note(closing.values())
        for key, row in reducing.items():
            if key not in closing and self._may_reduce(positions[key], now):
                await self._hands.reduce_position(key, _HALF, row.guard.upper())
                self._reduced_at[key] = now
                self._note((row,))

    def _may_reduce(self, position: Position, now: float) -> bool:
        # A halving that is under way must show in the account before it is judged again.
        last = self._reduced_at.get(position.position_id)
        pause = self._pace.reduce_pause.total_seconds()
        return position.status is PositionStatus.OPEN and (last is None or now - last >= pause)

    def _note(self, findings: Iterable[GuardFinding]) -> None:
        now = self._clock.now()
        for row in findings:
            self._hands.note(
                GuardActed(now, row.guard, row.symbol, row.position_id, row.action.value, row.text)
            )
