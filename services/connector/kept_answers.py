"""Answers that change seldom and cost much: the position mode and the fees, kept for a while.

On USD-M one question for the position mode weighs 30 and one for a symbol's fees 20 (USD-M REST
reference), more than all the rest of an entry. The user stream tells when settings of the account
change (ACCOUNT_CONFIG_UPDATE), and then nothing is believed any longer; not every venue tells, and
Binance does not tell of the position mode, so an answer also has an age.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opensqt.market_maker.v1 import resources_pb2
    from services.common.clock import Clock
    from services.connector.account_reader import AccountReader
    from services.connector.venue_http import VenueObserver

T = TypeVar("T")
_EVENTS_OF_CHANGE: Final = frozenset({"ACCOUNT_CONFIG_UPDATE"})
_MODE: Final = "position_mode"


class KeptAnswers:
    """Asks once for callers that come together, and again when an answer is too old."""

    def __init__(self, account: AccountReader, clock: Clock, max_age_seconds: float) -> None:
        self._account = account
        self._clock = clock
        self._max_age = max_age_seconds
        self._answers: dict[str, tuple[float, Any]] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._changes = 0

    async def position_mode(self) -> bool | None:
        """Return what `AccountReader.position_mode` returns, at most so old."""
        return await self._keep(_MODE, self._account.position_mode)

    async def trading_fees(self, symbol: str) -> list[resources_pb2.TradingFee]:
        """Return what `AccountReader.trading_fees` returns, at most so old."""
        return await self._keep(f"fees {symbol}", lambda: self._account.trading_fees(symbol))

    def forget(self) -> None:
        """Believe nothing that was read, or asked for, before now."""
        self._changes += 1
        self._answers.clear()

    async def _keep(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        async with self._asking.setdefault(name, asyncio.Lock()):
            held = self._answers.get(name)
            asked, changes = self._clock.monotonic(), self._changes
            if held is not None and asked - held[0] <= self._max_age:
                found: T = held[1]
                return found
            # A refusal is not kept: the next caller asks again.
            answer = await ask()
            # What the venue said before a change may come after the word of it.
            if changes == self._changes:
                self._answers[name] = (asked, answer)
            return answer


class ConfigWatch:
    """Passes on what an observer sees, and tells when the account's settings have changed."""

    def __init__(self, observer: VenueObserver, on_change: Callable[[], None]) -> None:
        self._observer = observer
        self._on_change = on_change

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Pass the headers on."""
        self._observer.on_headers(headers)

    def on_connected(self, url: str) -> None:
        """Pass the opening on; what changed while nobody listened is not known."""
        self._on_change()
        self._observer.on_connected(url)

    def on_message(self, message: Any) -> None:
        """Pass a message on."""
        if isinstance(message, dict):
            inner = message.get("event")
            event = inner if isinstance(inner, dict) else message
            if event.get("e") in _EVENTS_OF_CHANGE:
                self._on_change()
        self._observer.on_message(message)
