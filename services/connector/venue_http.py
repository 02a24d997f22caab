"""Our layer inside ccxt's exchange class: every reply judged by status and venue code, not by host.

ccxt picks Binance's error table by the URL's host, so on loopback (and on every WebSocket) it maps
errors differently than live, and it returns an order with id None for an empty, truncated or HTML
body. Here a reply that is not a JSON success becomes `VenueAnswerError`, whatever the host; what a
success is, the venue's profile says.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

from services.common.masking import mask_text
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_queue import current_pass, let_others_send
from services.connector.venue_errors import VenueAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.connector.outcome import Refusal
    from services.connector.profile import VenueProfile
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
    status: int,
    headers: Mapping[str, str],
    response: Any,
    read_refusal: Callable[[Any], Refusal | None],
) -> VenueAnswerError | None:
    """Return the error a reply stands for, None for a success.

    A success is 2xx with a JSON body in which the venue's `read_refusal` finds none.
    """
    # ccxt takes empty, HTML and truncated bodies for an order with id None.
    is_json = isinstance(response, (dict, list))
    refusal = read_refusal(response) if is_json else None
    if 200 <= status < 300 and is_json and refusal is None:
        return None
    code = None if refusal is None else refusal.code[:64]
    # A venue may echo what was sent: neither callers nor logs are to see a key or a signature.
    message = "" if refusal is None else mask_text(refusal.message)[:300]
    if not message:
        message = "no JSON in the reply" if response is None else "refused"
    return VenueAnswerError(status, code, message, read_retry_after(headers))


@dataclass(slots=True)
class RequestTrace:
    """Whether the request of the present call has left; `headers` go with it.

    Mutable: set on the way down.
    """

    left: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


REQUEST_TRACE: ContextVar[RequestTrace | None] = ContextVar("request_trace", default=None)
"""Set by whoever must know afterwards if an error came before or after the sending."""


_SUCCESS = 200
_LEAST_BYTES = 1024


class VenueHttpMixin:
    """Mixed in before a ccxt.pro class; `observer` and `budget` may be set after construction."""

    observer: VenueObserver | None = None
    budget: RateBudget | None = None
    profile: VenueProfile

    async def fetch(
        self, url: str, method: str = "GET", headers: Any = None, body: Any = None
    ) -> Any:
        """Note that the request leaves now, and send it.

        What ccxt asks of its own accord (a listen key) takes its units here, and so do the pages of
        a list beyond what its call has taken: no request goes past the budget, or a ban would be
        prolonged by it.
        """
        if self.budget is None:
            return await self._send(url, method, headers, body)
        held = current_pass()
        if held is not None:
            await self.budget.take_place(held)
            held.sent += 1
            if held.sent > held.weight:
                await self.budget.take_more(held)
            return await self._send(url, method, headers, body)
        async with self.budget.take(EndpointClass.WEIGHT, 1, Priority.ORDER):
            try:
                return await self._send(url, method, headers, body)
            except VenueAnswerError as error:
                self.budget.observe_refusal(
                    error.status,
                    error.retry_after,
                    EndpointClass.WEIGHT,
                    ban=self.profile.bans.get(error.status),
                )
                raise

    async def _send(self, url: str, method: str, headers: Any, body: Any) -> Any:
        trace = REQUEST_TRACE.get()
        if trace is not None:
            # Set before, not after: once the call is made, bytes may be on the wire.
            trace.left = True
            if trace.headers:
                headers = {**(headers or {}), **trace.headers}
        unwanted = self.profile.unwanted_headers
        if unwanted and headers:
            headers = {name: value for name, value in headers.items() if name not in unwanted}
        return await super().fetch(url, method, headers, body)  # type: ignore[misc]  # ccxt's class

    async def on_answer_read(self, status: int, size: int) -> None:
        """Let whoever waits for a scan's place on the wire send before this answer is worked on.

        Pages that came together would else be read one by one while the venue waits.
        """
        held = current_pass()
        if held is None or self.budget is None or held.priority is not Priority.SCAN:
            return
        # A refusal, which may ask for silence, is short on every venue, whatever its status.
        if status != _SUCCESS or size < _LEAST_BYTES:
            return
        self.budget.leave_place(held)
        await let_others_send()

    async def fetch_currencies(self, params: Any = None) -> dict[str, Any]:
        """Return none: on several venues ccxt would sign a call at each load of the markets."""
        del params
        return {}

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
        elif not url and code == 0:
            # Hyperliquid's class has each message of a WebSocket checked here: no reply, no status.
            if self.profile.read_refusal(response) is None:
                return
            status = 400
        error = read_answer(status, headers, response, self.profile.read_refusal)
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
