"""The page over HTTP: one path, GET alone, nothing kept, nothing that could be run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from services.common.errors import AuthError, Code, FatalError
from services.common.line_budget import LineBudget
from services.common.logs import get_logger
from services.common.principals import PrincipalBook
from services.common.scopes import Scope
from services.engine.owned_tasks import OwnedTasks
from services.engine.page.body import page_of, waiting_page
from services.engine.page.cards import position_card
from services.engine.page.door import PageDoor
from services.engine.page.listener import PageListener
from services.engine.page.style import POLICY
from services.engine.page.tls import PageCertificate

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.common.metrics import ServiceMetrics
    from services.common.principals import Principal
    from services.common.server_settings import ServerSettings, TlsSettings
    from services.engine.page.facts import PageFacts
    from services.engine.page.markup import Markup
    from services.engine.page.settings import PageSettings

_log = get_logger(__name__)
FACTS_SECONDS: Final = 1.0
"""How long a drawn page serves all readers: many of them cost the engine what one does."""

_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "opensqt",
}


class FactsSource(Protocol):
    """Where the facts of a page come from."""

    async def facts(self) -> PageFacts:
        """Return what stands now."""
        ...


class PageServer:
    """Serves the page; until `show` names an engine it tells that there is none yet."""

    def __init__(self, book: PrincipalBook, metrics: ServiceMetrics, clock: Clock) -> None:
        self._door = PageDoor(book)
        self._clock = clock
        self._lines = LineBudget(clock)
        self._requests = metrics.counter(
            "page_requests", "Requests of the status page, by HTTP status.", ("status",)
        )
        self._source: FactsSource | None = None
        self._gathering = asyncio.Lock()
        self._drawn: _Drawn | None = None
        self.address = ""

    def show(self, source: FactsSource) -> None:
        """Show this engine from now on."""
        self._source = source

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the page, or a refusal; never raises, so that nothing of ours shows outside."""
        try:
            response = await self._respond(request)
        except AuthError as error:
            response = self._refusal(error)
        except Exception:
            # The page is a convenience: its bug must be seen, and must not touch the engine.
            _log.exception("page_failed")
            response = _plain(500, "The page could not be made; the engine's log says why.")
        self._requests.labels(str(response.status)).inc()
        response.headers.update(_HEADERS)
        response.force_close()
        return response

    async def _respond(self, request: web.BaseRequest) -> web.Response:
        if self._door.is_rebound(request.headers.get("Host", "")):
            return _plain(421, "Ask for this page by the address of this machine, as 127.0.0.1.")
        transport = request.transport
        certificate = None if transport is None else transport.get_extra_info("peercert")
        reader = self._door.admit(request.headers, certificate)
        if request.path != "/":
            return _plain(404, "There is one page here, at /.")
        if request.method not in ("GET", "HEAD"):
            return _plain(405, "The page can only be read.", Allow="GET, HEAD")
        return web.Response(text=await self._page(reader), content_type="text/html")

    async def _page(self, reader: Principal) -> str:
        if self._source is None:
            return waiting_page(self._clock.now())
        shows_offers = Scope.OPPORTUNITIES in reader.scopes
        async with self._gathering:
            now = self._clock.monotonic()
            if self._drawn is None or now - self._drawn.at >= FACTS_SECONDS:
                facts = await self._source.facts()
                self._drawn = _Drawn(now, facts, await _cards(facts))
            return self._drawn.text(shows_offers=shows_offers)

    def _refusal(self, error: AuthError) -> web.Response:
        if self._lines.take():
            _log.warning("page_refused", reason=error.reason)
        if error.code is Code.PERMISSION_DENIED:
            return _plain(403, "Your roles do not open this page; it needs reader or operator.")
        challenge = 'Basic realm="OpenSQT engine", charset="UTF-8"'
        text = "Send a token: as the password of any user name, or as a Bearer token."
        return _plain(401, text, **{"WWW-Authenticate": challenge})


class _Drawn:
    """Facts of one instant and the pages drawn from them, for each kind of reader once."""

    def __init__(self, at: float, facts: PageFacts, cards: list[Markup]) -> None:
        self.at = at
        self._facts = facts
        self._cards = cards
        self._texts: dict[bool, str] = {}

    def text(self, *, shows_offers: bool) -> str:
        """Return the page of a reader who may see opportunities, or may not."""
        if shows_offers not in self._texts:
            text = page_of(self._facts, shows_offers=shows_offers, cards=self._cards)
            self._texts[shows_offers] = text
        return self._texts[shows_offers]


async def _cards(facts: PageFacts) -> list[Markup]:
    cards = []
    for row in facts.positions:
        cards.append(position_card(row, facts.now))
        # Hedges share the event loop: none waits for more than one card.
        await asyncio.sleep(0)
    return cards


def _plain(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n", headers=headers)


@asynccontextmanager
async def serving_page(
    settings: PageSettings, grpc: ServerSettings, metrics: ServiceMetrics, clock: Clock
) -> AsyncIterator[PageServer]:
    """Listen for the length of the block and yield the server, with its `address`.

    Raises FatalError where the port is taken, a certificate or a token file does not do.
    """
    book = _book(grpc)
    certificate = _certificate(settings.tls)
    page = PageServer(book, metrics, clock)
    context = None if certificate is None else certificate.context
    listener = PageListener(page.answer, context, settings.max_connections, clock)
    page.address = listener.listen(settings.host, settings.port)
    keeping = OwnedTasks()
    keeping.spawn(_keep_fresh(book, certificate, clock, grpc.secrets_reload_seconds), "page-files")
    try:
        yield page
    finally:
        await keeping.close()
        await listener.close()


async def _keep_fresh(
    book: PrincipalBook, certificate: PageCertificate | None, clock: Clock, seconds: float
) -> None:
    while True:
        await clock.sleep(seconds)
        book.refresh()
        if certificate is not None:
            certificate.refresh()


def _book(grpc: ServerSettings) -> PrincipalBook:
    try:
        return PrincipalBook.of_settings(grpc)
    except ValueError as error:
        raise FatalError(f"a token file went bad since the settings were read: {error}") from None


def _certificate(tls: TlsSettings | None) -> PageCertificate | None:
    try:
        return None if tls is None else PageCertificate(tls)
    except OSError as error:
        problem = f"the page's certificate or key does not do: {error.strerror or error.args[-1]}"
        raise FatalError(problem) from None
