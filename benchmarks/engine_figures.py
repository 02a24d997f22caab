"""What taps of an engine and moments of a venue say: hand-overs, skews, exits. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.order_venue import Moment
    from benchmarks.tapped_engine import Tap


# Not frozen: rows are added position by position. All in seconds.
@dataclass(slots=True)
class LifeFigures:
    """What was measured of the orders of some positions."""

    hand_overs: list[float] = field(default_factory=list)
    """From the lead's fill reaching the engine to the hedge leaving it."""
    hand_over_cpu: list[float] = field(default_factory=list)
    """What the event loop's thread computed meanwhile."""
    naked: list[float] = field(default_factory=list)
    """From the lead's fill at the venue to the hedge reaching the venue."""
    skews: list[float] = field(default_factory=list)
    """Between the two orders of an exit leaving."""
    arrivals: list[float] = field(default_factory=list)
    """Between the same two reaching the venue."""
    departures: list[float] = field(default_factory=list)
    """When orders of exits left, on the monotonic clock."""
    ways: list[float] = field(default_factory=list)
    """From an order of an exit leaving the engine to its reaching the venue."""
    exits: list[float] = field(default_factory=list)
    """From the first order of an exit leaving to the last answer."""
    to_slower: list[float] = field(default_factory=list)
    """The same over the slower leg's own time."""
    to_sequence: list[float] = field(default_factory=list)
    """The sum of both legs' times over the same."""


def figures_of(
    positions: Iterable[engine_pb2.HedgedPosition],
    taps: Sequence[Tap],
    moments: Mapping[str, Moment],
) -> LifeFigures:
    """Return what taps and moments say of the orders of these positions."""
    by_order: dict[str, list[Tap]] = defaultdict(list)
    for tap in taps:
        by_order[tap.client_order_id].append(tap)
    found = LifeFigures()
    for position in positions:
        _add_entry(found, position, by_order, moments)
        for pair in _exit_pairs(position):
            _add_exit(found, [by_order[key] for key in pair], [moments[key] for key in pair])
    return found


def _add_entry(
    found: LifeFigures,
    position: engine_pb2.HedgedPosition,
    by_order: Mapping[str, Sequence[Tap]],
    moments: Mapping[str, Moment],
) -> None:
    leads = _ids(position, types_pb2.ORDER_CLASS_ENTRY)
    hedges = _ids(position, types_pb2.ORDER_CLASS_HEDGE)
    taps = sorted((t for key in leads + hedges for t in by_order[key]), key=lambda tap: tap.at)
    executed: dict[str, float] = defaultdict(float)
    filled: Tap | None = None
    for tap in taps:
        is_lead = tap.client_order_id in leads
        if is_lead and tap.executed > executed[tap.client_order_id]:
            executed[tap.client_order_id] = tap.executed
            filled = filled or tap
        elif not is_lead and tap.way == "left" and filled is not None:
            found.hand_overs.append(tap.at - filled.at)
            found.hand_over_cpu.append(tap.cpu - filled.cpu)
            lead, hedge = moments[filled.client_order_id], moments[tap.client_order_id]
            found.naked.append(hedge.arrived - lead.acted)
            filled = None


def _exit_pairs(position: engine_pb2.HedgedPosition) -> list[tuple[str, str]]:
    sides = [
        [order.client_order_id for order in position.orders if _is_exit(order, leg)]
        for leg in (engine_pb2.LEG_SIDE_LONG, engine_pb2.LEG_SIDE_SHORT)
    ]
    # A leg that needed a second order has no twin for it on the other side.
    return list(zip(*sides, strict=True)) if len(sides[0]) == len(sides[1]) else []


def _is_exit(order: engine_pb2.PositionOrder, leg: engine_pb2.LegSide.ValueType) -> bool:
    return order.order_class == types_pb2.ORDER_CLASS_EXIT and order.leg == leg


def _add_exit(found: LifeFigures, legs: Sequence[Sequence[Tap]], moments: Sequence[Moment]) -> None:
    left = [next(tap.at for tap in leg if tap.way == "left") for leg in legs]
    ended = [next(tap.at for tap in leg if tap.executed > 0) for leg in legs]
    times = [end - start for start, end in zip(left, ended, strict=True)]
    whole = max(ended) - min(left)
    found.skews.append(max(left) - min(left))
    found.arrivals.append(abs(moments[0].arrived - moments[1].arrived))
    found.departures.extend(left)
    found.ways.extend(moment.arrived - at for moment, at in zip(moments, left, strict=True))
    found.exits.append(whole)
    found.to_slower.append(whole / max(times))
    found.to_sequence.append(sum(times) / whole)


def _ids(position: engine_pb2.HedgedPosition, purpose: types_pb2.OrderClass.ValueType) -> list[str]:
    return [o.client_order_id for o in position.orders if o.order_class == purpose]
