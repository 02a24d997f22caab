"""Tell a silent socket from a dead one: ping it, and take it for dead when nothing comes back.

A user stream says nothing while nobody trades, and a connection that died without a word looks the
same. ccxt would notice after minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.clock import Clock


@dataclass(frozen=True, slots=True)
class ProbePace:
    """After how much silence a socket is pinged, and how long it has to answer."""

    silence_seconds: float = 15.0
    answer_seconds: float = 5.0
    look_seconds: float = 1.0


async def watch_silence(
    exchange: Any, clock: Clock, pace: ProbePace, on_alive: Callable[[float], None]
) -> None:
    """Return when a socket of a ccxt instance is dead; `on_alive` gets the age of the last sign."""
    pinged: dict[str, float] = {}
    while True:
        await clock.sleep(pace.look_seconds)
        for url, client in list((exchange.clients or {}).items()):
            age = _silence_seconds(client, exchange.milliseconds())
            if age is None:
                continue
            on_alive(age)
            if age < pace.silence_seconds:
                pinged.pop(url, None)
            elif url not in pinged:
                pinged[url] = clock.monotonic()
                if not await _ping(client):
                    return
            elif clock.monotonic() - pinged[url] >= pace.answer_seconds:
                return


def _silence_seconds(client: Any, now_millis: int) -> float | None:
    """Return the time since the last frame, None while the socket is not open."""
    if client.connection is None or not client.isConnected:
        return None
    # Any frame counts, a pong too: ccxt stamps each before it looks at it.
    signs = (client.last_message_at, client.lastPong, client.connectionEstablished)
    return max(now_millis - max(sign or 0 for sign in signs), 0) / 1_000


async def _ping(client: Any) -> bool:
    try:
        await client.connection.ping()
    except (OSError, RuntimeError):
        # The transport knows already that it is closed.
        return False
    return True
