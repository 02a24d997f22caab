"""Commands to the engine: enter, exit, reduce, close all, halt, resume, and waiting for the end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc, instrument_pb2
from services.common.codec import decimal_to_proto
from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

POLL_SECONDS = 0.05
PAGE_SIZE = 500

SETTLED_STATES = frozenset(
    {
        engine_pb2.HEDGED_POSITION_STATE_OPEN,
        engine_pb2.HEDGED_POSITION_STATE_CLOSED,
        engine_pb2.HEDGED_POSITION_STATE_FLAT,
    }
)
"""States in which a position rests: nothing is being sent for it."""

ENDED_STATES = frozenset(
    {engine_pb2.HEDGED_POSITION_STATE_CLOSED, engine_pb2.HEDGED_POSITION_STATE_FLAT}
)
"""States a position never leaves."""

# Named one by one: a request without states gets every position there ever was.
LIVE_STATES = (
    engine_pb2.HEDGED_POSITION_STATE_OPENING,
    engine_pb2.HEDGED_POSITION_STATE_OPEN,
    engine_pb2.HEDGED_POSITION_STATE_UNWINDING,
    engine_pb2.HEDGED_POSITION_STATE_REDUCING,
    engine_pb2.HEDGED_POSITION_STATE_CLOSING,
)

_KINDS = {
    "spot": instrument_pb2.INSTRUMENT_KIND_SPOT,
    "perpetual": instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
}


@dataclass(frozen=True, slots=True)
class EntryOrder:
    """What to enter: an opportunity, or a symbol with both legs; sized in quote or base units."""

    opportunity_id: str = ""
    symbol: str = ""
    long_leg: str = ""
    short_leg: str = ""
    notional: Decimal | None = None
    quantity: Decimal | None = None
    slippage_bound_ratio: Decimal | None = None
    lead_leg: engine_pb2.LegSide.ValueType = engine_pb2.LEG_SIDE_UNSPECIFIED
    validate_only: bool = False


def parse_leg(text: str, symbol: str, option: str) -> instrument_pb2.InstrumentRef:
    """Read `venue:kind` as `binance:spot`; raises InvalidFieldError naming the option."""
    venue, _, kind = text.partition(":")
    if not venue or kind not in _KINDS:
        raise InvalidFieldError(option, f"write venue:spot or venue:perpetual, not {text!r}")
    return instrument_pb2.InstrumentRef(exchange=venue, symbol=symbol, kind=_KINDS[kind])


def entry_request(order: EntryOrder, request_id: str) -> engine_pb2.OpenHedgedPositionRequest:
    """Build the request; raises InvalidFieldError when the legs do not say what to enter."""
    request = engine_pb2.OpenHedgedPositionRequest(
        request_id=request_id,
        opportunity_id=order.opportunity_id,
        notional=decimal_to_proto(order.notional),
        quantity=decimal_to_proto(order.quantity),
        slippage_bound_ratio=decimal_to_proto(order.slippage_bound_ratio),
        lead_leg=order.lead_leg,
        validate_only=order.validate_only,
    )
    # An opportunity has legs of its own, which these could only contradict.
    if not order.opportunity_id:
        if not (order.symbol and order.long_leg and order.short_leg):
            raise InvalidFieldError(
                "OPPORTUNITY", "name an opportunity, or give --symbol with --long and --short"
            )
        request.long_leg.CopyFrom(parse_leg(order.long_leg, order.symbol, "--long"))
        request.short_leg.CopyFrom(parse_leg(order.short_leg, order.symbol, "--short"))
    return request


async def wait_settled(
    engine: engine_pb2_grpc.EngineServiceAsyncStub,
    position: engine_pb2.HedgedPosition,
    states: frozenset[engine_pb2.HedgedPositionState.ValueType],
) -> engine_pb2.HedgedPosition:
    """Follow a position until it rests in one of `states`.

    Waits as long as it takes: an unknown order must not look like the end of the work.
    """
    while position.state not in states:
        await asyncio.sleep(POLL_SECONDS)
        request = engine_pb2.GetHedgedPositionRequest(position_id=position.position_id)
        position = (await engine.GetHedgedPosition(request)).position
    return position


async def list_positions(
    engine: engine_pb2_grpc.EngineServiceAsyncStub,
    states: Sequence[engine_pb2.HedgedPositionState.ValueType],
) -> list[engine_pb2.HedgedPosition]:
    """Read all positions in the given states (all states when empty), newest first."""
    rows: list[engine_pb2.HedgedPosition] = []
    token = ""
    while True:
        request = engine_pb2.ListHedgedPositionsRequest(
            page_size=PAGE_SIZE, page_token=token, states=states
        )
        page = await engine.ListHedgedPositions(request)
        rows.extend(page.positions)
        token = page.next_page_token
        if not token:
            return rows
