"""Every WebSocket message as the venue sent it, beside ccxt's own handling.

ccxt takes several frames off the socket before a waiting `watch_*` runs again, and what they
resolve in between is lost; its candles also lack the closed flag. So ccxt keeps the connections,
subscriptions and listen keys, and the rows are read here.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Listener = Callable[[Any, Any], None]


USED_URLS: Final[ContextVar[set[str] | None]] = ContextVar("used_urls", default=None)
"""Where a task that watches notes the connections ccxt uses for it."""


class MessageTap:
    """Calls listeners with (client, message) for each message of an exchange instance."""

    def __init__(self, exchange: Any) -> None:
        self.exchange = exchange
        self._listeners: list[Listener] = []
        self._handle = exchange.handle_message
        self._client = exchange.client
        # ccxt gives each new connection the attribute it finds on the instance.
        exchange.handle_message = self._on_message
        exchange.client = self._on_client

    def add(self, listener: Listener) -> None:
        """Call `listener` from the next message on; it must not raise."""
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        """Stop calling `listener`; not being there is no error."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _on_client(self, url: str) -> Any:
        used = USED_URLS.get()
        if used is not None:
            used.add(url)
        return self._client(url)

    def _on_message(self, client: Any, message: Any) -> None:
        for listener in tuple(self._listeners):
            listener(client, message)
        self._handle(client, message)


def event_of(message: Any) -> Any:
    """Return the event inside the wrappers of combined streams and of the WebSocket API."""
    body = message
    for wrapper in ("data", "event"):
        if isinstance(body, dict) and isinstance(body.get(wrapper), (dict, list)):
            body = body[wrapper]
    return body
