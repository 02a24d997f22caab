"""Rules of the books (I17 to I22): journal, ledger and venue say the same, in any order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal

from services.engine.events import (
    CommandAccepted,
    EntryIntended,
    Event,
    OrderIntended,
    OrderObserved,
    PositionEvent,
    ReconciliationBroke,
)
from services.engine.instruments import InstrumentRules, LegSide
from services.engine.position import Position, fold_all
from simulation.evidence import Arrival, VenueBooks, Violation
from simulation.invariants_identity import Found

_ZERO = Decimal(0)


def broken_symbols(journal: Iterable[Event]) -> frozenset[str]:
    """Return the symbols in which the engine has journaled a difference to a venue."""
    told = (event for event in journal if isinstance(event, ReconciliationBroke))
    return frozenset(symbol for event in told for symbol in event.symbols)


def ledger_is_venue(
    positions: Iterable[Position], books: VenueBooks, broken: Collection[str] = ()
) -> Found:
    """I17: each leg's ledger quantity is what the venue's books say its orders moved.

    A leg closed by force is excused in `broken` symbols: there the engine journaled a difference.
    """
    found: Found = []
    for position in positions:
        for leg in LegSide:
            if position.symbol in broken and (position.position_id, leg) in books.taken:
                continue
            ours, theirs = position.quantity(leg), books.quantity(position.position_id, leg)
            if ours != theirs:
                text = f"{position.position_id} {leg.value}: ledger {ours}, venue {theirs}"
                found.append(Violation("I17", text))
    return found


def account_is_sum(
    ours: Mapping[tuple[str, str], Decimal],
    baseline: Mapping[tuple[str, str], Decimal],
    account: Mapping[tuple[str, str], Decimal],
) -> Found:
    """I17: per venue and symbol, the user's own holdings and our fills sum to the account's."""
    found: Found = []
    for key, held in account.items():
        expected = baseline.get(key, _ZERO) + ours.get(key, _ZERO)
        if held != expected:
            found.append(Violation("I17", f"{key}: account {held}, expected {expected}"))
    return found


def fills_join(durable: Sequence[Event]) -> Found:
    """I18: reversed, doubled and late, the same observations give the same legs."""
    history = [event for event in durable if isinstance(event, PositionEvent)]
    seen = [event for event in history if isinstance(event, OrderObserved)]
    others = [event for event in history if not isinstance(event, OrderObserved)]
    straight, shuffled = fold_all(history), fold_all([*others, *reversed(seen), *seen])
    found: Found = []
    for key, position in straight.items():
        for leg in LegSide:
            first, second = position.quantity(leg), shuffled[key].quantity(leg)
            if first != second:
                found.append(Violation("I18", f"{key} {leg.value}: {first}, shuffled {second}"))
    return found


def profit_is_equity_change(profit: Decimal, change: Decimal, tolerance: Decimal) -> Found:
    """I19: realised and unrealised profit, fees and funding are the change of venue equity."""
    if abs(profit - change) <= tolerance:
        return []
    return [Violation("I19", f"profit {profit}, equity changed by {change}")]


def one_row_per_order(ledger_ids: Sequence[str], books: VenueBooks) -> Found:
    """I20: every order a venue has seen stands in the connectors' ledgers, exactly once."""
    found = [
        Violation("I20", f"order without a ledger row: {key}")
        for key in books.orders
        if key not in set(ledger_ids)
    ]
    if len(set(ledger_ids)) != len(ledger_ids):
        found.append(Violation("I20", "an id stands twice in the ledgers"))
    return found


def every_order_is_known(durable: Iterable[Event], books: VenueBooks) -> Found:
    """I20: at rest, every order a venue has seen stands in the journal."""
    known = {e.plan.client_order_id for e in durable if isinstance(e, OrderIntended)}
    return [
        Violation("I20", f"order unknown to the journal: {key}")
        for key in books.orders
        if key not in known
    ]


def order_is_on_grid(arrival: Arrival, rules: InstrumentRules) -> Found:
    """I21: exact decimals, whole lots within the venue's bounds, prices on the tick."""
    found: Found = []
    figures = (arrival.quantity, arrival.worst_price or _ZERO)
    if not all(_is_exact(figure) for figure in figures):
        return [Violation("I21", f"not an exact decimal: {arrival}", arrival.at)]
    if arrival.quantity <= 0 or arrival.quantity % rules.lot_size:
        found.append(Violation("I21", f"not a whole lot: {arrival}", arrival.at))
    if arrival.worst_price is not None and arrival.worst_price % rules.tick_size:
        found.append(Violation("I21", f"price off the tick: {arrival}", arrival.at))
    return found


def opportunity_is_used_once(durable: Iterable[Event]) -> Found:
    """I22: one opportunity leads to at most one position."""
    used: dict[str, str] = {}
    found: Found = []
    for event in durable:
        if isinstance(event, EntryIntended) and event.opportunity_id:
            first = used.setdefault(event.opportunity_id, event.position_id)
            if first != event.position_id:
                found.append(Violation("I22", f"{event.opportunity_id} entered twice"))
    return found


def command_is_done_once(durable: Iterable[Event]) -> Found:
    """I27: a request id is accepted once."""
    seen: set[str] = set()
    found: Found = []
    for event in durable:
        if isinstance(event, CommandAccepted):
            if event.request_id in seen:
                found.append(Violation("I27", f"accepted twice: {event.request_id}"))
            seen.add(event.request_id)
    return found


def _is_exact(figure: object) -> bool:
    # Typed as a Decimal; that it is one is what is asked.
    return isinstance(figure, Decimal) and figure.is_finite()
