"""Stop and resume opening at one connector, the last hop before its venue."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from rich.text import Text

from cli.clients import connector_client
from cli.plain import to_plain
from opensqt.market_maker.v1 import trading_state_pb2
from services.common.errors import InvalidFieldError
from services.common.time_codec import from_timestamp

if TYPE_CHECKING:
    from cli.session import Session
    from services.common.settings import VenueSettings


async def halt_venue(session: Session, name: str, reason: str) -> int:
    """Stop opening at a connector, durably."""
    request = trading_state_pb2.HaltTradingRequest(reason=reason, changed_by=_who())
    async with connector_client(find_venue(session, name)) as connector:
        return _show(session, name, (await connector.HaltTrading(request)).state)


async def resume_venue(session: Session, name: str, reason: str) -> int:
    """Allow opening at a connector again."""
    request = trading_state_pb2.ResumeTradingRequest(reason=reason, changed_by=_who())
    async with connector_client(find_venue(session, name)) as connector:
        return _show(session, name, (await connector.ResumeTrading(request)).state)


def find_venue(session: Session, name: str) -> VenueSettings:
    """Return the connector of that name; raise InvalidFieldError when arb.toml names none."""
    for venue in session.settings.connectors:
        if venue.name == name:
            return venue
    known = ", ".join(venue.name for venue in session.settings.connectors) or "none"
    raise InvalidFieldError(
        "--venue", f"no [[connectors]] of that name in arb.toml; known: {known}"
    )


def describe(state: trading_state_pb2.TradingState) -> str:
    """Return the state in one line."""
    words = "opening is HALTED" if state.halted else "opening is allowed"
    if state.reduce_only and not state.halted:
        words = "the settings let positions be REDUCED only"
    since = from_timestamp(state.changed_at)
    text = f"{words} since {since:%Y-%m-%d %H:%M:%S} UTC by {state.changed_by}: {state.reason}"
    if state.HasField("banned_until"):
        text += f"; BANNED by the venue until {from_timestamp(state.banned_until):%H:%M:%S} UTC"
    return text


def _show(session: Session, name: str, state: trading_state_pb2.TradingState) -> int:
    if session.json:
        session.print_json({"venue": name, "trading": to_plain(state)})
    else:
        # As text: a reason may hold brackets, which rich would take for markup.
        session.console.print(Text(f"{name}: {describe(state)}"), soft_wrap=True)
    return 0


def _who() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "arb"
    return name[:64] if name.isascii() and name.isprintable() else "arb"
