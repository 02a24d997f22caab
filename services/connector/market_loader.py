"""Read a venue's markets in a thread of its own, where no order waits for the parsing of them.

A load parses megabytes and builds thousands of dictionaries: up to half a second in which an event
loop does nothing else. The thread has its own loop, session and ccxt instance without keys, and
hands over what it built in one step. A thread, not a process: a process would import ccxt anew
(a second of CPU, 90 MiB) and its answer would have to be unpickled on the loop that it spares.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.connector.exchange_factory import new_session
from services.connector.symbols import build_instruments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import aiohttp

    from services.connector.instruments import Instrument
    from services.connector.profile import VenueProfile

    BuildExchange = Callable[[aiohttp.ClientSession], Any]

_SWITCH_SECONDS: Final = 0.0001
"""How long the loader may keep the interpreter from the loop; by default it is fifty times that."""


@dataclass(frozen=True, slots=True)
class LoadedMarkets:
    """Markets as a ccxt instance holds them (`source`), and the instruments they stand for."""

    source: Any
    instruments: tuple[Instrument, ...]


class MarketLoader:
    """Loads the markets of one venue; `build` makes an instance that holds no keys."""

    def __init__(
        self, build: BuildExchange, profile: VenueProfile, allowed: frozenset[str] | None
    ) -> None:
        self._build = build
        self._profile = profile
        self._allowed = allowed

    async def load(self) -> LoadedMarkets:
        """Return the venue's markets as they are now; raises what ccxt and our layer in it raise.

        Cancelling it ends the request.
        """
        work = _ThreadWork(self._load)
        try:
            return await asyncio.to_thread(work.run)
        except asyncio.CancelledError:
            # A thread does not end with the one who waits for it; its request must.
            work.cancel()
            raise

    async def _load(self) -> LoadedMarkets:
        async with new_session() as session:
            source = self._build(session)
            try:
                with _quick_switches():
                    await source.load_markets(True)
                    _share_rows(source)
                    found = build_instruments(source.markets.values(), self._profile, self._allowed)
            finally:
                await source.close()
        return LoadedMarkets(source, tuple(found))


class _ThreadWork:
    """A coroutine run to its end on a loop of the calling thread, and ended from another."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> Any:
        """Run it in the present thread and return its result."""

        async def noted() -> Any:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            return await self._work()

        return asyncio.run(noted())

    def cancel(self) -> None:
        """Cancel it from another thread, if it still runs."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


def _share_rows(source: Any) -> None:
    # ccxt keeps each market twice, the second time by the venue's id and without the defaults.
    source.markets_by_id = {
        name: [source.markets.get(row["symbol"], row) for row in rows]
        for name, rows in source.markets_by_id.items()
    }


@contextmanager
def _quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
