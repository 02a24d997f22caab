"""Comparing ledger and venues: at the start, and every few seconds as long as the engine runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

from services.common.errors import OpensqtError, UnreachableError
from services.common.logs import get_logger
from services.engine import events as ev
from services.engine.baselines import adopted_baselines, declared_baselines, first_baselines
from services.engine.drive_context import DriveContext
from services.engine.instruments import InstrumentRules
from services.engine.margin_interest import interest_charges
from services.engine.pockets import Holdings, Pocket, pocket_of
from services.engine.position import Position
from services.engine.reconcile_ledger import LedgerLine, PocketLedger, moving_pockets
from services.engine.reconcile_look import Look
from services.engine.reconciliation import Break, Expectation, MissingLeg, breaks, missing_leg

# While nothing of ours is on, a surprise is a late fill or the user: neither is in a hurry.
_IDLE_ROUNDS = 12
_FIRST_PAUSE_SECONDS = 0.05
_SUMMED_IN_A_TURN = 20
_ZERO = Decimal(0)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PocketFigures:
    """Both numbers of one pocket; `told` is None where the venue could not be read."""

    pocket: Pocket
    symbols: tuple[str, ...]
    expected: Decimal
    told: Decimal | None


class Reconciler:
    """Reads each venue at a bounded rate and journals where it breaks with the ledger.

    `in_doubt` names positions of an earlier run that may have orders the ledger does not know of
    yet; `report` is told of what a venue has not got of a leg any more, `charge` of the interest
    that a short spot leg owes.
    """

    def __init__(
        self,
        context: DriveContext,
        in_doubt: Callable[[], Collection[Position]],
        report: Callable[[MissingLeg], Awaitable[None]],
        charge: Callable[[ev.InterestCharged], Awaitable[None]],
    ) -> None:
        self._context = context
        self._in_doubt = in_doubt
        self._report = report
        self._charge = charge
        self._ledger = PocketLedger()
        self._owed: dict[Pocket, Decimal] = {}
        self._begun: set[str] = set()
        # Who asks for a comparison meets the watch: both would book what they find.
        self._turns = {exchange: asyncio.Lock() for exchange in context.gateways}
        self.unread: dict[str, str] = {}
        """Why the last reading of a venue failed; without a row it was answered."""

    @property
    def is_done(self) -> bool:
        """Whether every venue was compared with the ledger once in this run."""
        return self._begun == self._context.gateways.keys()

    async def watch(self, exchange: str, changed: Callable[[], None]) -> None:
        """Compare one venue for ever; `changed` is told of what a comparison changed."""
        policy = self._context.policy
        pause, rounds = _FIRST_PAUSE_SECONDS, 0
        confirming = policy.reconcile_confirm_wait.total_seconds()
        while True:
            try:
                await self._catch_up()
                await self._round(exchange, rounds, changed)
            except Exception:
                # One odd answer, or a full disk, must not end the watch of a venue.
                _log.exception("reconcile_trouble", exchange=exchange)
            rounds += 1
            if exchange in self._begun:
                # A break is confirmed within the interval, not after it.
                pause = policy.reconcile_interval.total_seconds() - confirming
            else:
                pause = min(2 * pause, confirming)
            await self._context.clock.sleep(pause)

    async def baselines(self, *rules: InstrumentRules) -> tuple[ev.BaselineTaken, ...]:
        """Return the events of pockets that are to be traded for the first time.

        Raises what reading a venue raises, and `UnreachableError` where it does not tell.
        """
        known = self._context.book.engine.baselines
        wanted = {pocket_of(one) for one in rules} - known.keys()
        taken: list[ev.BaselineTaken] = []
        for exchange in sorted({pocket.exchange for pocket in wanted}):
            look = await self._look(exchange, {p for p in wanted if p.exchange == exchange})
            taken += first_baselines(look.lines, look.told, look.moving, self._context.clock.now())
        return tuple(taken)

    def declared(self) -> tuple[ev.BaselineTaken, ...]:
        """Return the events by which an operator says that what differs is the user's own."""
        record = self._context.book.engine
        lines = self._lines()
        expected = self._expected(lines)
        return declared_baselines(record.breaks.values(), expected, self._context.clock.now())

    async def compare_all(self) -> tuple[PocketFigures, ...]:
        """Compare every venue now and return what each pocket is to hold and what is told.

        What comes of it is booked as in any other comparison.
        """
        self._context.book.check_whole()
        exchanges = sorted(self._context.gateways)
        return tuple(chain(*await asyncio.gather(*map(self._figures, exchanges))))

    async def confirm(self, rules: InstrumentRules) -> bool:
        """Compare a leg's venue now; true once nothing that the ledger has there is missing.

        What is missing is booked as in any other comparison: a break first, and by the next one
        its leg as gone. Nothing waits for what cannot be said of one leg.
        """
        pocket = pocket_of(rules)
        try:
            self._context.book.check_whole()
            look, _ = await self._compare(rules.ref.exchange)
        except OpensqtError as error:
            self.unread[rules.ref.exchange] = error.reason
            return False
        found = next((one for one in self._breaks(look) if one.pocket == pocket), None)
        if found is None:
            return pocket in look.quiet
        return missing_leg(found, self._context.book.live(), look.lines[pocket].tolerance) is None

    async def _figures(self, exchange: str) -> list[PocketFigures]:
        lines, told = self._tracked(exchange), dict[Pocket, Decimal]()
        if lines:
            try:
                look, _ = await self._compare(exchange)
                lines, told = {**lines, **look.lines}, dict(look.told)
            except OpensqtError as error:
                self.unread[exchange] = error.reason
        return [
            PocketFigures(pocket, lines[pocket].symbols, one.total, told.get(pocket))
            for pocket, one in sorted(self._expected(lines).items())
        ]

    async def _round(self, exchange: str, rounds: int, changed: Callable[[], None]) -> None:
        lines = self._tracked(exchange)
        is_idle = not any(line.live for line in lines.values())
        broken = [p for p in self._context.book.engine.breaks if p.exchange == exchange]
        is_due = exchange in self._begun and rounds % _IDLE_ROUNDS == 0
        if not lines or (is_idle and not broken and not is_due):
            self._begin(exchange, changed)
            return
        try:
            _, is_changed = await self._compare(exchange)
        except OpensqtError as error:
            # Told, and no break: a venue that says nothing does not say otherwise.
            self.unread[exchange] = error.reason
            return
        self.unread.pop(exchange, None)
        if not any(p.exchange == exchange for p in self._doubted()):
            self._begin(exchange, changed)
        if is_changed:
            changed()

    async def _catch_up(self) -> None:
        """Sum what changed, a few at a time: hedges share the loop, and a start brings all."""
        while True:
            changed = self._context.book.take_changed(_SUMMED_IN_A_TURN)
            self._ledger.update(changed)
            if len(changed) < _SUMMED_IN_A_TURN:
                return
            await asyncio.sleep(0)

    def _lines(self) -> dict[Pocket, LedgerLine]:
        return self._ledger.update(self._context.book.take_changed())

    def _begin(self, exchange: str, changed: Callable[[], None]) -> None:
        if exchange not in self._begun:
            self._begun.add(exchange)
            changed()

    async def _compare(self, exchange: str) -> tuple[Look, bool]:
        """Look once, and again where that says something new; true with it when it was booked."""
        async with self._turns[exchange]:
            return await self._compare_alone(exchange)

    async def _compare_alone(self, exchange: str) -> tuple[Look, bool]:
        look = await self._look(exchange, self._tracked(exchange))
        self._check_told(look)
        adopted = adopted_baselines(
            look.lines,
            look.at_rest,
            self._context.book.engine.baselines,
            self._context.clock.now(),
        )
        if adopted:
            await self._context.book.record(*adopted)
        if self._news(look) or self._charges(look):
            await self._context.clock.sleep(
                self._context.policy.reconcile_confirm_wait.total_seconds()
            )
            look = look.joined(await self._look(exchange, self._tracked(exchange)))
            charges = self._charges(look)
            for charge in charges:
                await self._charge(charge)
            if charges:
                # What follows from them has begun: the numbers of this look are of before.
                return look, True
        for pocket in look.quiet:
            self._owed.pop(pocket, None)
        news = self._news(look)
        if news:
            await self._context.book.record(*news)
        else:
            await self._hand_over(look)
        return look, bool(news)

    def _check_told(self, look: Look) -> None:
        for pocket, line in look.lines.items():
            if line.live and pocket not in look.told:
                raise UnreachableError(f"{pocket} is not told", reason="HOLDINGS_UNREAD")

    async def _hand_over(self, look: Look) -> None:
        """Report legs that are gone: breaks that an earlier round journaled with these numbers.

        A venue whose positions lag behind its fills must not cost a sound position its other leg.
        """
        for found in self._breaks(look):
            tolerance = look.lines[found.pocket].tolerance
            missing = missing_leg(found, self._context.book.live(), tolerance)
            if missing is not None:
                await self._report(missing)

    def _breaks(self, look: Look) -> tuple[Break, ...]:
        return breaks(self._expected(look.lines), look.told, look.moving)

    def _news(self, look: Look) -> tuple[ev.EngineEvent, ...]:
        """Return what this look would change in the journal."""
        known, now = self._context.book.engine.breaks, self._context.clock.now()
        found = {one.pocket: one for one in self._breaks(look)}
        news: list[ev.EngineEvent] = []
        for pocket, one in found.items():
            before = known.get(pocket)
            if before is None or (before.expected, before.told) != (one.expected, one.told):
                symbols = look.lines[pocket].symbols
                news.append(ev.ReconciliationBroke(now, pocket, one.expected, one.told, symbols))
        healed = sorted(known.keys() & look.quiet - found.keys())
        news += [ev.ReconciliationHealed(now, pocket, look.told[pocket]) for pocket in healed]
        return tuple(news)

    def _charges(self, look: Look) -> tuple[ev.InterestCharged, ...]:
        """Return the interest that this look found and the ledger has not."""
        if not any(look.interest.values()):
            return ()
        return interest_charges(
            self._expected(look.lines),
            look.at_rest,
            look.interest,
            self._context.book.all(),
            self._context.clock.now(),
        )

    async def _look(self, exchange: str, pockets: Collection[Pocket]) -> Look:
        before, doubted = self._lines(), self._doubted()
        holdings = await self._holdings(exchange)
        after = self._lines()
        lines = {pocket: after.get(pocket, LedgerLine()) for pocket in pockets}
        told = {p: quantity for p in pockets if (quantity := holdings.told(p)) is not None}
        moving = moving_pockets(before, lines, doubted)
        # An exit repays interest first of all and leaves as much of the debt: what was owed counts
        # until both sides agree.
        interest = {p: max(holdings.owed(p), self._owed.get(p, _ZERO)) for p in told}
        self._owed.update(interest)
        return Look(lines, told, moving, interest)

    async def _holdings(self, exchange: str) -> Holdings:
        gateway = self._context.gateways[exchange]
        try:
            async with asyncio.timeout(self._context.policy.call_timeout.total_seconds()):
                return await gateway.holdings()
        except TimeoutError as error:
            raise UnreachableError(f"{exchange} did not answer in time") from error

    def _tracked(self, exchange: str) -> dict[Pocket, LedgerLine]:
        """Return the pockets of a venue that were ever traded or are held now."""
        known = self._context.book.engine.baselines
        lines = self._lines()
        return {
            pocket: line
            for pocket, line in lines.items()
            if pocket.exchange == exchange and (pocket in known or line.live)
        }

    def _doubted(self) -> frozenset[Pocket]:
        return frozenset(
            pocket_of(rules)
            for position in self._in_doubt()
            for rules in (position.intent.long_rules, position.intent.short_rules)
        )

    def _expected(self, lines: Mapping[Pocket, LedgerLine]) -> dict[Pocket, Expectation]:
        known = self._context.book.engine.baselines
        return {
            pocket: Expectation(known[pocket], line.quantity, line.tolerance)
            for pocket, line in lines.items()
            if pocket in known
        }
