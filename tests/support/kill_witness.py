"""Judging a stack at rest by the rules of the simulation: books, journal and ledgers agree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from cli.demo.books import Books
from services.engine.events import (
    EntryIntended,
    Event,
    OrderIntended,
    PositionEvent,
    ReconciliationBroke,
    ReconciliationHealed,
)
from services.engine.orders import OrderClass
from services.engine.pockets import Pocket
from services.engine.position import Position, fold_all
from services.engine.position_view import view_of
from simulation.evidence import Arrival, VenueBooks, parse_name, position_of
from simulation.invariants import Judge
from simulation.invariants_identity import id_names_its_order, intent_before_order
from tests.support.kill_evidence import Evidence, instant_of
from tests.support.stack import Market

_ZERO = Decimal(0)
_QUOTE = frozenset({"USDT", "BNB"})


def judge(evidence: Evidence) -> list[str]:
    """Return what must not be, in words; the stack must be at rest."""
    positions = positions_of(evidence.events)
    views = [view_of(position) for position in positions.values()]
    watcher = Judge(durable=lambda: evidence.events, books=evidence.books)
    watcher.rested(views, healed_for=1.0, bound=0.0)
    watcher.books_agree(evidence.events, evidence.ledger_ids)
    found = [f"{one.rule}: {one.text}" for one in watcher.violations]
    found += _without_intent(evidence)
    found += [f"still broken: {pocket}" for pocket in broken(evidence.events)]
    return found


def orphans(evidence: Evidence) -> list[str]:
    """Return positions at rest whose legs do not cancel by the venue's books."""
    found = []
    for key, position in positions_of(evidence.events).items():
        rules = position.intent.long_rules, position.intent.short_rules
        lot = max(one.lot_size for one in rules)
        net, dust = evidence.books.net_delta(key), abs(view_of(position).dust_quantity)
        if abs(net) >= lot + dust:
            found.append(f"{key} {rules[0].ref.symbol} {position.status.value}: net {net}")
    return found


def positions_of(events: Sequence[Event]) -> dict[str, Position]:
    """Return every position of a journal."""
    return fold_all(event for event in events if isinstance(event, PositionEvent))


def broken(events: Sequence[Event]) -> list[Pocket]:
    """Return the pockets in which ledger and venue differ by the last word of the journal."""
    found: set[Pocket] = set()
    for event in events:
        if isinstance(event, ReconciliationBroke):
            found.add(event.pocket)
        elif isinstance(event, ReconciliationHealed):
            found.discard(event.pocket)
    return sorted(found)


def own_holdings(
    before: Books, after: Books, books: VenueBooks, markets: Mapping[str, Market]
) -> list[str]:
    """Return what changed of the account besides our orders: the user's own must be untouched.

    Exact for perpetuals; coins may differ by the interest of what was borrowed.
    """
    ours: dict[str, Decimal] = defaultdict(Decimal)
    by_base = {market.base_asset: market for market in markets.values()}
    by_symbol = {market.symbol: market for market in markets.values()}
    for order in books.orders.values():
        market = by_symbol[order.arrival.symbol]
        is_spot = order.arrival.exchange == "binance"
        ours[market.base_asset if is_spot else market.perpetual] += order.change
    found = []
    for asset in sorted((before.coins.keys() | after.coins.keys()) - _QUOTE):
        change = after.coins.get(asset, _ZERO) - before.coins.get(asset, _ZERO)
        room = by_base[asset].larger_lot if asset in by_base else _ZERO
        if abs(change - ours[asset]) > room:
            found.append(f"{asset}: account changed by {change}, our orders by {ours[asset]}")
    for market in markets.values():
        name = market.perpetual
        held = after.positions.get(name, _ZERO) - before.positions.get(name, _ZERO)
        if held * market.multiplier != ours[name]:
            found.append(f"{name}: position changed by {held}, our orders by {ours[name]}")
    return found


def _without_intent(evidence: Evidence) -> Iterator[str]:
    by_position: dict[str, list[Event]] = defaultdict(list)
    for event in evidence.events:
        if isinstance(event, EntryIntended | OrderIntended):
            by_position[event.position_id].append(event)
    for arrival in evidence.arrivals:
        durable = [e for e in by_position[position_of(arrival.client_order_id)] if _was(e, arrival)]
        for rule in (intent_before_order, id_names_its_order):
            yield from (f"{one.rule}: {one.text}" for one in rule(arrival, durable))


def _was(event: Event, arrival: Arrival) -> bool:
    """Tell whether a row was there when the order came; a hedge's own row is written after it."""
    name = parse_name(arrival.client_order_id)
    if name is not None and name.order_class is OrderClass.HEDGE:
        return True
    # The venue tells whole milliseconds.
    return (event.at - instant_of(arrival)).total_seconds() < 0.001
