"""Reading both legs and deciding whether and how large an entry may be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import (
    InvalidFieldError,
    PreconditionError,
    UnimplementedError,
    UnreachableError,
)
from services.common.trace_context import context_of_scan
from services.common.tracing import link_present
from services.engine.book import PositionBook
from services.engine.claimed_funds import claimed_funds
from services.engine.commands import OpenCommand
from services.engine.guard_desk import GuardNeeds
from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide, PositionMode
from services.engine.margin_room import MarginRoom, check_margin_room, room_of
from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.ports import OpportunitySource, VenueGateway
from services.engine.position import Position
from services.engine.pretrade import (
    Exposures,
    LegFacts,
    Proposal,
    check_entry,
    check_pair,
)
from services.engine.proposal import EntryWish, propose
from services.engine.risk_desk import RiskDesk
from services.engine.risk_exposure import Marks, PlannedEntry, leg_exposures, pair_notional
from services.engine.risk_failure import CheckFailure

_ZERO = Decimal(0)


class EntryRefusedError(PreconditionError):
    """Checks before the entry failed; names them all. Nothing was journaled, nothing was sent."""

    default_reason = "ENTRY_CHECKS_FAILED"

    def __init__(self, failures: tuple[CheckFailure, ...]) -> None:
        text = "; ".join(str(failure) for failure in failures)
        reasons = ",".join(dict.fromkeys(failure.reason for failure in failures))
        super().__init__(f"entry refused: {text}", metadata={"failures": reasons})
        self.failures = failures


@dataclass(frozen=True, slots=True)
class CheckedEntry:
    """Both legs as read and the size they allow."""

    long: LegFacts
    short: LegFacts
    proposal: Proposal


class EntryDesk:
    """Looks both legs up, reads them at the same time and runs all checks."""

    def __init__(
        self,
        book: PositionBook,
        gateways: Mapping[str, VenueGateway],
        opportunities: OpportunitySource,
        clock: Clock,
        policy: EnginePolicy,
        limits: EngineLimits,
        risk: RiskDesk,
        guards: GuardNeeds | None = None,
    ) -> None:
        self._book = book
        self._gateways = gateways
        self._opportunities = opportunities
        self._clock = clock
        self._policy = policy
        self._limits = limits
        self._risk = risk
        self._guards = guards

    async def legs(self, command: OpenCommand) -> tuple[InstrumentRef, InstrumentRef]:
        """Return the legs of a command, asking the scanner where it names an opportunity.

        Raises `InvalidFieldError`, `NotFoundError`, `PreconditionError` or `UnreachableError`.
        """
        if command.opportunity_id:
            found = await self._opportunities.resolve(command.opportunity_id)
            if found.scan_id:
                link_present(context_of_scan(found.scan_id))
            if self._risk.is_stale(found.observe_time):
                raise PreconditionError(
                    f"the figures of opportunity {command.opportunity_id} are too old; scan again",
                    reason="OPPORTUNITY_STALE",
                )
            long, short = found.long_leg, found.short_leg
        elif command.long_leg is not None and command.short_leg is not None:
            long, short = command.long_leg, command.short_leg
        else:
            raise InvalidFieldError("opportunity_id", "either an opportunity or both legs")
        # Canonical symbols name the coin on every venue: other symbols would be another coin.
        if long.symbol != short.symbol:
            raise InvalidFieldError("short_leg.symbol", "both legs must have the same symbol")
        for field, ref in (("long_leg", long), ("short_leg", short)):
            gateway = self._gateways.get(ref.exchange)
            # A spot venue asked for a perpetual would find a symbol of the same name and trade
            # that.
            if gateway is None or gateway.kind is not ref.kind:
                raise InvalidFieldError(
                    f"{field}.exchange",
                    f"no venue {ref.exchange} of kind {ref.kind.value} is configured",
                    reason="VENUE_NOT_CONFIGURED",
                )
        return long, short

    async def check(
        self, command: OpenCommand, long_ref: InstrumentRef, short_ref: InstrumentRef
    ) -> CheckedEntry:
        """Read and check both legs; raises `EntryRefusedError` with every failure."""
        self._check_command(command)
        await self._risk.sum_up()
        before = self._risk.live()
        long, short = (
            self._claimed(facts, before)
            for facts in await asyncio.gather(
                self._read(LegSide.LONG, long_ref), self._read(LegSide.SHORT, short_ref)
            )
        )
        if failures := check_pair(long, short):
            raise EntryRefusedError(failures)
        wish = EntryWish(
            command.notional, command.quantity, command.slippage_bound_ratio, command.lead_leg
        )
        proposal = propose(long, short, wish, self._policy)
        exposures = exposures_of(self._risk.live(), long_ref.symbol, self._risk.marks())
        planned = planned_entry(long, short, proposal)
        failures = (
            *check_entry(long, short, proposal, self._limits, exposures),
            *self._risk.check(long_ref.symbol, planned, round_trip_fees(long, short, planned)),
            *self._check_rooms((long, short), planned),
        )
        if failures:
            raise EntryRefusedError(failures)
        return CheckedEntry(long, short, proposal)

    def _check_command(self, command: OpenCommand) -> None:
        if (command.notional is None) == (command.quantity is None):
            raise InvalidFieldError("notional", "either notional or quantity is required")
        for field in ("notional", "quantity"):
            value = getattr(command, field)
            if value is not None and value <= 0:
                raise InvalidFieldError(field, "must be greater than zero")
        bound, largest = command.slippage_bound_ratio, self._limits.max_slippage_bound_ratio
        if bound is not None and not 0 < bound <= largest:
            raise InvalidFieldError("slippage_bound_ratio", f"must be above 0, at most {largest}")

    async def _read(self, leg: LegSide, ref: InstrumentRef) -> LegFacts:
        gateway = self._gateways[ref.exchange]
        # Selling spot that is not borrowed would sell the user's own coins.
        use_margin = leg is LegSide.SHORT and ref.kind is InstrumentKind.SPOT
        try:
            async with asyncio.timeout(self._policy.call_timeout.total_seconds()):
                profile, rules = await asyncio.gather(
                    gateway.profile(), gateway.rules(ref.symbol, use_margin=use_margin)
                )
                held, free, room = await asyncio.gather(
                    self._held(gateway, ref),
                    gateway.free_balance(rules.quote_asset),
                    self._room(ref),
                )
                # Last of all reads: the book is what ages fastest.
                asked_at = self._clock.monotonic()
                book = await gateway.book(ref.symbol, self._policy.book_depth)
        except TimeoutError as error:
            raise UnreachableError(f"{ref.exchange} did not answer in time") from error
        return LegFacts(
            leg=leg,
            rules=rules,
            book=book,
            book_age=timedelta(seconds=self._clock.monotonic() - asked_at),
            free_quote=free,
            held=held,
            own=own_quantity((*self._book.live(), *self._book.ended.holding()), ref),
            one_way=profile.position_mode is not PositionMode.HEDGE,
            room=room,
        )

    def _claimed(self, facts: LegFacts, before: tuple[Position, ...]) -> LegFacts:
        exchange, asset = facts.rules.ref.exchange, facts.rules.quote_asset
        claimed = claimed_funds(exchange, asset, before, self._risk.since(before))
        return replace(facts, claimed_quote=claimed)

    async def _room(self, ref: InstrumentRef) -> MarginRoom | None:
        reader = None if self._guards is None else self._guards.readers.get(ref.exchange)
        if reader is None or ref.kind is InstrumentKind.SPOT:
            return None
        try:
            return room_of(await reader.account())
        except UnimplementedError:
            # A connector that never tells of its account must not keep everything out.
            return None

    def _check_rooms(
        self, pair: tuple[LegFacts, LegFacts], planned: PlannedEntry
    ) -> tuple[CheckFailure, ...]:
        if self._guards is None:
            return ()
        limits = self._guards.limits
        return tuple(
            failure
            for facts in pair
            for failure in check_margin_room(
                facts.leg, facts.rules, facts.room, planned.leg_notionals[facts.leg], limits
            )
        )

    async def _held(self, gateway: VenueGateway, ref: InstrumentRef) -> Decimal:
        if ref.kind is InstrumentKind.SPOT:
            return _ZERO
        return await gateway.position(ref.symbol)


def own_quantity(positions: tuple[Position, ...], ref: InstrumentRef) -> Decimal:
    """Return what positions of this engine hold of an instrument, signed."""
    return sum(
        (p.quantity(leg) for p in positions for leg in LegSide if p.rules(leg).ref == ref), _ZERO
    )


def exposures_of(positions: tuple[Position, ...], symbol: str, marks: Marks) -> Exposures:
    """Return what is on, worst case: what is in doubt counts as filled, by the dearer leg."""
    rows = leg_exposures(positions, marks)
    return Exposures(
        symbol_notional=pair_notional(row for row in rows if row.ref.symbol == symbol),
        total_notional=pair_notional(rows),
        open_count=sum(not p.status.is_final for p in positions),
    )


def planned_entry(long: LegFacts, short: LegFacts, proposal: Proposal) -> PlannedEntry:
    """Return what a proposal would add at the dearer of its reference and its worst price."""
    legs = {LegSide.LONG: long, LegSide.SHORT: short}
    prices = {leg: max(proposal.references[leg], proposal.worst_prices[leg]) for leg in legs}
    slice_quantity = min(proposal.quantity, proposal.slice_quantity)
    return PlannedEntry(
        refs={leg: facts.rules.ref for leg, facts in legs.items()},
        leg_notionals={leg: proposal.quantity * prices[leg] for leg in legs},
        order_notionals={leg: slice_quantity * prices[leg] for leg in legs},
    )


def round_trip_fees(long: LegFacts, short: LegFacts, planned: PlannedEntry) -> Decimal:
    """Return the taker fees of the entry and of its exit, on both legs, in quote asset."""
    return sum(
        (
            2 * planned.leg_notionals[facts.leg] * facts.rules.taker_fee_ratio
            for facts in (long, short)
        ),
        _ZERO,
    )
