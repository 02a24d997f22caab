"""Our layer inside ccxt's exchange class: every reply judged by status and venue code, not by host.

ccxt picks Binance's error table by the URL's host, so on loopback (and on every WebSocket) it maps
errors differently than live, and it returns an order with id None for an empty, truncated or HTML
body. Here a reply that is not a JSON success becomes `VenueAnswerError`, whatever the host.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from services.connector.venue_errors import VenueAnswerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.rate_budget import RateBudget


class VenueObserver(Protocol):
    """Who wants to see what passes: reply headers for the budget, stream messages for the desk."""

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Take the headers of a REST reply."""
        ...

    def on_message(self, message: Any) -> None:
        """Take a WebSocket message before ccxt does."""
        ...

    def on_connected(self, url: str) -> None:
        """Learn that a WebSocket has opened."""
        ...


class HeaderObserver:
    """Feeds reply headers to the budget and lets messages pass."""

    def __init__(self, budget: RateBudget) -> None:
        self._budget = budget

    def on_headers(self, headers: Mapping[str, str]) -> None:
        """Correct the budget by the venue's own counts."""
        self._budget.observe_headers(headers)

    def on_message(self, message: Any) -> None:
        """Leave the message to ccxt."""

    def on_connected(self, url: str) -> None:
        """Leave the opening to ccxt."""


def read_retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return the Retry-After header in seconds form, None when absent or not plain digits."""
    for name, value in headers.items():
        # The date form is left out: it would be judged against our clock, which may be off.
        if name.lower() == "retry-after" and value.isascii() and value.isdigit():
            return timedelta(seconds=int(value[:7]))
    return None


def read_answer(
    status: int, headers: Mapping[str, str], body: str | None, response: Any
) -> VenueAnswerError | None:
    """Return the error a reply stands for, None for a success.

    A success is 2xx with a JSON body that carries no negative venue code.
    """
    code: int | None = None
    message = ""
    if isinstance(response, dict):
        raw = response.get("code")
        # Codes come as numbers and as text ("000000" is a success of some sapi endpoints).
        text = str(raw) if isinstance(raw, (int, str)) and not isinstance(raw, bool) else ""
        if text.removeprefix("-").isascii() and text.removeprefix("-").isdigit():
            code = int(text[:12])
        message = str(response.get("msg") or "")[:300]
    # ccxt takes empty, HTML and truncated bodies for an order with id None.
    if 200 <= status < 300 and isinstance(response, (dict, list)) and (code is None or code >= 0):
        return None
    if not message:
        message = "no JSON in the reply" if response is None else "refused"
    return VenueAnswerError(status, code, message, read_retry_after(headers))


@dataclass(slots=True)
class RequestTrace:
    """Whether the request of the present call has left. Mutable: set on the way down."""

    left: bool = False


REQUEST_TRACE: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)
"""Set by whoever must know afterwards if an error came before or after the sending."""


class VenueHttpMixin:
    """Mixed in before a ccxt.pro class; `observer` may be set after construction."""

    observer: VenueObserver | None = None

    async def fetch(
        self, url: str, method: str = "GET", headers: Any = None, body: Any = None
    ) -> Any:
        """Note that the request leaves now, and send it."""
        trace = REQUEST_TRACE.get()
        if trace is not None:
            # Set before, not after: once the call is made, bytes may be on the wire.
            trace.left = True
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # ccxt's class

    def on_rest_response(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        response_headers: Mapping[str, str],
        response_body: str,
        request_headers: Any,
        request_body: Any,
    ) -> str:
        """See every reply's headers; ccxt's own copy is overwritten by concurrent calls."""
        if self.observer is not None:
            self.observer.on_headers(response_headers)
        return response_body.strip()

    def handle_errors(
        self,
        code: int,
        reason: str,
        url: str,
        method: str,
        headers: Mapping[str, str],
        body: str | None,
        response: Any,
        requestHeaders: Any,  # noqa: N803 - ccxt's name
        requestBody: Any,  # noqa: N803 - ccxt's name
    ) -> None:
        """Raise VenueAnswerError for all but a JSON success; ccxt calls this for each reply."""
        status = code
        if url.startswith("ws"):
            # ccxt passes the venue's code of a WebSocket error where the HTTP status would stand.
            status = 400
        error = read_answer(status, headers, body, response)
        if error is not None:
            raise error

    def on_connected(self, client: Any, message: Any = None) -> None:
        """Tell the observer that a WebSocket has opened."""
        if self.observer is not None:
            self.observer.on_connected(str(client.url))
        super().on_connected(client, message)  # type: ignore[misc]  # ccxt's class comes after

    def handle_message(self, client: Any, message: Any) -> None:
        """Show the message to the observer, then let ccxt have it."""
        if self.observer is not None:
            self.observer.on_message(message)
        super().handle_message(client, message)  # type: ignore[misc]  # ccxt's class comes after
