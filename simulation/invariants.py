"""The invariants by number: what each says, and the judge that asks them as a world goes on.

`Judge` is told of every arrival, fill and ending; at rest it is asked for the rest. It reads the
venues' books it keeps itself and the durable image of the journal, never a service's memory, but
for the positions a service shows at rest, which are themselves on trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from services.engine.events import EntryIntended, Event, PositionEvent
from services.engine.instruments import InstrumentKind, InstrumentRules, LegSide
from services.engine.position import Position, fold_all
from services.engine.views import PositionView
from simulation import invariants_books as books_rules
from simulation import invariants_exposure as exposure_rules
from simulation import invariants_identity as identity_rules
from simulation import invariants_service as service_rules
from simulation.evidence import (
    Arrival,
    Execution,
    VenueBooks,
    Violation,
    intent_of,
    parse_name,
    rules_of,
)
from simulation.invariants_service import Ban

RULES: Final[dict[str, str]] = {
    "I1": "one venue order per client order id, ever",
    "I2": "a durable intent before the order",
    "I3": "one attempt at a time, the next only after proof",
    "I4": "unknown ends by evidence",
    "I5": "an id names its order",
    "I6": "only the newest epoch's orders arrive",
    "I7": "every journal prefix is legal, replay adds nothing",
    "I8": "a settled position is neutral within a step and booked dust",
    "I9": "exposure within one clip, hedges within fills, entry within intent",
    "I10": "what reduces never enlarges",
    "I11": "limits count what is unknown as filled",
    "I12": "limits hold at every arrival",
    "I13": "no entry while halted",
    "I14": "exits are always taken",
    "I15": "exits never cross zero",
    "I16": "an ended position holds nothing on either leg",
    "I17": "ledger and baseline are the venue's position",
    "I18": "fills join in any order",
    "I19": "profit is the change of equity",
    "I20": "every order stands once in journal and ledger",
    "I21": "whole lots, prices on the tick, exact decimals",
    "I22": "an opportunity is used once",
    "I23": "silence while banned",
    "I24": "everything has a bound",
    "I25": "entries only after reconciliation",
    "I26": "everything settles once faults stop",
    "I27": "a command is done once",
    "I28": "equal seeds, equal traces",
    "I29": "secrets stay inside",
}
"""What each number stands for; the functions of `invariants_*.py` say how it is judged."""

_ROW_SECONDS: Final = 0.01
_CLOSING_ROOM: Final = Decimal("1.05")
"""A rest near the minimum notional counts as untradable: its price moved since it was judged."""


@dataclass(frozen=True, slots=True)
class Standards:
    """What a world is held to: limits, bans, a price, the epoch admitted by a second."""

    limits: exposure_rules.NotionalLimits = field(default_factory=exposure_rules.NotionalLimits)
    price: Decimal = Decimal(100)
    bans: Sequence[Ban] = ()
    epoch: Callable[[str, float], int] = lambda _exchange, _at: 0


# Mutable: it follows a world.
@dataclass(slots=True)
class Judge:
    """Asks each rule when it can first be broken, and keeps what it found.

    `durable` returns the journal as a crash now would leave it; `is_halted` is what an operator
    told last.
    """

    durable: Callable[[], Sequence[Event]]
    standards: Standards = field(default_factory=Standards)
    books: VenueBooks = field(default_factory=VenueBooks)
    violations: list[Violation] = field(default_factory=list)
    refused_exits: list[tuple[str, str]] = field(default_factory=list)
    execution_count: int = 0
    is_halted: bool = False

    def arrived(self, arrival: Arrival) -> None:
        """Judge an order at the venue's door, then book it."""
        durable, books, add = self.durable(), self.books, self.violations.extend
        add(identity_rules.one_order_per_id(arrival, books))
        add(identity_rules.intent_before_order(arrival, durable))
        add(identity_rules.one_attempt_at_a_time(arrival, books))
        add(identity_rules.id_names_its_order(arrival, durable))
        left = arrival.at if arrival.sent_at is None else arrival.sent_at
        # Asked before the order's row is written: who comes while it is finds the row.
        granted = self.standards.epoch(arrival.exchange, left - _ROW_SECONDS)
        add(identity_rules.newest_epoch_only(arrival, granted))
        add(exposure_rules.hedge_follows_fills(arrival, books, durable))
        add(exposure_rules.reduction_stays_within(arrival, books, durable))
        add(exposure_rules.no_entry_while_halted(arrival, durable))
        add(
            exposure_rules.worst_case_within_limits(
                arrival, books, self.standards.limits, self.standards.price
            )
        )
        add(service_rules.silent_while_banned(arrival, self.standards.bans))
        rules = _arrival_rules(arrival, durable)
        if rules is not None:
            add(books_rules.order_is_on_grid(arrival, rules))
        self.books.arrive(arrival)

    def executed(self, execution: Execution) -> None:
        """Book a fill and judge the exposure it leaves."""
        self.execution_count += 1
        self.books.execute(execution)
        found = exposure_rules.exposure_within_clip(execution, self.books, self.durable())
        self.violations.extend(found)

    def taken(self, exchange: str, symbol: str, change: Decimal) -> None:
        """Book what a venue closed by force: it is of the position that holds the instrument."""
        for event in self.durable():
            if not isinstance(event, EntryIntended):
                continue
            for leg in LegSide:
                ref = rules_of(event, leg).ref
                held = self.books.quantity(event.position_id, leg)
                if (ref.exchange, ref.symbol) == (exchange, symbol) and held:
                    self.books.take(event.position_id, leg, change)
                    return

    def ended(self, client_order_id: str, *, refused: bool = False) -> None:
        """Book that an order can fill no more."""
        self.books.end(client_order_id, refused=refused)

    def rested(self, views: Iterable[PositionView], *, healed_for: float, bound: float) -> None:
        """Judge a world that was given time to settle."""
        views, durable = tuple(views), self.durable()
        add = self.violations.extend
        statuses = {view.position_id: view.status for view in views}
        add(service_rules.settles_in_time(statuses, healed_for, bound))
        add(identity_rules.absence_is_true(durable, self.books))
        add(identity_rules.every_prefix_folds(durable))
        add(books_rules.fills_join(durable))
        add(books_rules.opportunity_is_used_once(durable))
        add(books_rules.command_is_done_once(durable))
        add(exposure_rules.exits_are_taken(self.refused_exits))
        if self.is_halted and identity_rules.halted_since(durable) is None:
            add([Violation("I13", "a halt that was acknowledged is not in the journal")])
        rests: dict[tuple[str, LegSide], Decimal] = {}
        for view in views:
            intent = intent_of(durable, view.position_id)
            if intent is None:
                add([Violation("I2", f"shown without a durable intent: {view.position_id}")])
                continue
            own = {leg: _untradable(intent, leg) for leg in LegSide}
            step = max(intent.long_rules.lot_size, intent.short_rules.lot_size)
            add(exposure_rules.settled_is_neutral(view, self.books, step))
            add(exposure_rules.closed_is_flat(view, self.books, own))
            # What was taken by force is no rest, though it may have been booked as one.
            rests |= {
                (view.position_id, leg): rest
                for leg, rest in own.items()
                if (view.position_id, leg) not in self.books.taken
            }
        add(exposure_rules.dust_is_untradable(durable, rests))

    def books_agree(self, journal: Sequence[Event], ledger_ids: Sequence[str] | None) -> None:
        """Judge journal (all of it, durable or not) and ledgers against the venues' books."""
        add = self.violations.extend
        positions = _positions(journal)
        broken = books_rules.broken_symbols(journal)
        add(books_rules.ledger_is_venue(positions, self.books, broken))
        add(books_rules.every_order_is_known(journal, self.books))
        if ledger_ids is not None:
            add(books_rules.one_row_per_order(ledger_ids, self.books))


def _arrival_rules(arrival: Arrival, durable: Sequence[Event]) -> InstrumentRules | None:
    name = parse_name(arrival.client_order_id)
    intent = None if name is None else intent_of(durable, name.position_id)
    return None if name is None or intent is None else rules_of(intent, name.leg)


def _positions(journal: Sequence[Event]) -> tuple[Position, ...]:
    return tuple(fold_all(e for e in journal if isinstance(e, PositionEvent)).values())


def _untradable(intent: EntryIntended, leg: LegSide) -> Decimal:
    """Return the quantity below which a rest of this leg cannot be closed."""
    rules = rules_of(intent, leg)
    least = max(rules.min_quantity, rules.lot_size)
    if rules.ref.kind is InstrumentKind.PERPETUAL:
        return least
    is_lead = leg is intent.lead_leg
    price = intent.lead_reference if is_lead else intent.hedge_reference
    return max(least, rules.min_notional * _CLOSING_ROOM / price)
