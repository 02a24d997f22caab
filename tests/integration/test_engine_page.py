"""The status page over HTTP: who is let in, what leaves, what a stranger can use up."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.common.clock import SystemClock
from services.common.errors import FatalError
from services.common.metrics import ServiceMetrics
from services.common.scopes import Role
from services.common.settings import PrincipalSettings, ServerSettings, TlsSettings
from services.engine.page.facts import PageFacts
from services.engine.page.server import FACTS_SECONDS, PageServer, serving_page
from services.engine.page.settings import PageSettings
from tests.support.certificates import CertificateAuthority, CertificateFiles
from tests.support.page_samples import calm_facts

READER, SCANNER = "reader-token-0123456789", "scanner-token-0123456789"
HEADERS = {
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "Referrer-Policy",
    "Cache-Control",
}


class Facts:
    """Facts that are always the same; counts how often somebody gathered them."""

    def __init__(self) -> None:
        self.count = 0
        self.problem: Exception | None = None

    async def facts(self) -> PageFacts:
        """Return the calm ones, or fail."""
        self.count += 1
        if self.problem is not None:
            raise self.problem
        return calm_facts()


def _connector(tls: ssl.SSLContext | None) -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(ssl=tls or False)


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Poll until it holds; fails after five seconds."""
    async with asyncio.timeout(5):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Served:
    """A page that is served, and how it is asked for."""

    page: PageServer
    facts: Facts
    metrics: ServiceMetrics

    async def get(
        self,
        path: str = "/",
        method: str = "GET",
        tls: ssl.SSLContext | None = None,
        **headers: str,
    ) -> tuple[int, str, dict[str, str]]:
        """Return status, text and headers of one request."""
        url = f"{'http' if tls is None else 'https'}://{self.page.address}{path}"
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        asked = aiohttp.request(method, url, headers=named, connector=_connector(tls))
        async with asked as answer:
            return answer.status, await answer.text(), dict(answer.headers)


@asynccontextmanager
async def served(grpc: ServerSettings | None = None, **settings: Any) -> AsyncIterator[Served]:
    """Serve the page on loopback."""
    facts, metrics = Facts(), ServiceMetrics("engine")
    serving = serving_page(
        PageSettings(**settings), grpc or ServerSettings(), metrics, SystemClock()
    )
    async with serving as page:
        page.show(facts)
        yield Served(page, facts, metrics)


def guarded(folder: Path, **changes: Any) -> ServerSettings:
    """Return settings with a reader and a caller that may not see positions."""
    principals = []
    for name, token, role in (("desk", READER, Role.READER), ("scan", SCANNER, Role.SCANNER)):
        path = folder / name
        path.write_text(token)
        principals.append(PrincipalSettings(name=name, roles=(role,), token_file=path))
    return ServerSettings(principals=tuple(principals), **changes)


def basic(token: str) -> str:
    """Return the header a browser sends after its user typed a token."""
    return "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()


async def test_on_loopback_the_page_stands_open() -> None:
    """As gRPC does there; every answer carries the strict headers and is kept nowhere."""
    async with served() as it:
        status, text, headers = await it.get()
        assert (status, "LOOMUSDT" in text) == (200, True)
        assert set(headers) >= HEADERS
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": basic(READER)}, 200),
        ({"Authorization": f"Bearer {READER}"}, 200),
        ({"X_Api_Key": READER}, 200),
        ({"Authorization": basic(SCANNER)}, 403),
        ({"Authorization": basic(READER + "x")}, 401),
        ({"Authorization": "Basic no base64"}, 401),
        ({"Authorization": "Basic"}, 401),
        ({"Authorization": basic(READER), "X_Api_Key": "x" * 20}, 401),
        ({"Authorization": "Bearer " + "x" * 4_000}, 401),
    ],
)
async def test_the_callers_of_grpc_are_the_readers(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """Tokens and roles are those of `[grpc]`; a browser's password is the token."""
    async with served(guarded(tmp_path)) as it:
        answer, text, told = await it.get("/", "GET", None, **headers)
        assert answer == status
        assert ("LOOMUSDT" in text) == (status == 200)
        assert ("WWW-Authenticate" in told) == (status == 401)
        assert READER not in text
        assert set(told) >= HEADERS
        count = it.metrics.registry.get_sample_value
        assert count("opensqt_engine_page_requests_total", {"status": str(status)}) == 1


async def test_a_changed_token_is_in_force_without_a_start(tmp_path: Path) -> None:
    """The page follows the token files as gRPC does."""
    async with served(guarded(tmp_path, secrets_reload_seconds=0.01)) as it:
        (tmp_path / "desk").write_text("another-token-0123456789")

        async def is_taken() -> bool:
            return (await it.get(X_Api_Key="another-token-0123456789"))[0] == 200

        await until(is_taken)
        assert (await it.get(X_Api_Key=READER))[0] == 401


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/x", "GET", 404), ("/", "POST", 405), ("/", "DELETE", 405), ("/", "HEAD", 200)],
)
async def test_there_is_one_page_and_it_is_read(path: str, method: str, status: int) -> None:
    """Nothing can be changed through it."""
    async with served() as it:
        assert (await it.get(path, method))[0] == status


async def test_an_open_page_answers_to_its_own_name_alone(tmp_path: Path) -> None:
    """A stranger's page that points its name at this machine reads nothing."""
    async with served() as it:
        assert (await it.get(Host="evil.example:80"))[0] == 421
        assert (await it.get(Host="localhost:80"))[0] == 200
        assert (await it.get(Host="[::1]:80"))[0] == 200
    async with served(guarded(tmp_path)) as it:
        assert (await it.get(Host="desk.example", X_Api_Key=READER))[0] == 200


async def test_many_readers_cost_what_one_does() -> None:
    """Facts are gathered once for all who ask within their second."""
    async with served() as it:
        answers = await asyncio.gather(*(it.get() for _ in range(20)))
        assert {status for status, _, _ in answers} == {200}
        assert it.facts.count <= 1 + int(10 / FACTS_SECONDS)
        assert it.facts.count < 20


async def test_a_bug_of_the_page_stays_on_the_page() -> None:
    """The reader is told that it failed, not why: that is in the log."""
    async with served() as it:
        it.facts.problem = ValueError("secret of the inside")
        status, text, headers = await it.get()
        assert status == 500
        assert "secret" not in text
        assert set(headers) >= HEADERS


@pytest.mark.parametrize("encrypted", [False, True])
async def test_connections_are_bounded(tmp_path: Path, *, encrypted: bool) -> None:
    """One too many waits for a place, also while the others do not even shake hands."""
    ca = CertificateAuthority(tmp_path)
    own = ca.issue("page")
    tls = TlsSettings(certificate_file=own.certificate, key_file=own.key) if encrypted else None
    async with served(max_connections=2, tls=tls) as it:
        host, port = it.page.address.split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
        asked = asyncio.create_task(it.get(tls=trusting(ca) if encrypted else None))
        assert await asyncio.wait({asked}, timeout=0.2) == (set(), {asked})
        for _, writer in held:
            writer.close()
        assert (await asked)[0] == 200


def trusting(ca: CertificateAuthority, own: CertificateFiles | None = None) -> ssl.SSLContext:
    """Return a browser's context: the CA it trusts and its own certificate."""
    context = ssl.create_default_context(cafile=str(ca.file))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


async def test_over_tls_a_certificate_can_be_the_reader(tmp_path: Path) -> None:
    """With a client CA, nobody without its certificate gets as far as a question."""
    ca = CertificateAuthority(tmp_path)
    own = ca.issue("page")
    files = {"certificate_file": own.certificate, "key_file": own.key, "client_ca_file": ca.file}
    tls = TlsSettings(**files)
    desk = PrincipalSettings(name="desk", roles=(Role.READER,), certificate_names=("desk.local",))
    grpc = ServerSettings(principals=(desk,), tls=tls)
    async with served(grpc, tls=tls) as it:
        known = trusting(ca, ca.issue("desk", ("desk.local",)))
        other = trusting(ca, ca.issue("other", ("other.local",)))
        assert (await it.get(tls=known))[0] == 200
        assert (await it.get(tls=other))[0] == 401
        with pytest.raises(aiohttp.ClientError):
            await it.get(tls=trusting(ca))
        with pytest.raises(aiohttp.ClientError):
            await it.get()


async def test_a_certificate_is_renewed_in_place(tmp_path: Path) -> None:
    """New handshakes show the new one; a key that does not fit leaves the old one in force."""
    ca = CertificateAuthority(tmp_path)
    own, other = ca.issue("page"), ca.issue("renewed", ("renewed.local", "localhost"))
    tls = TlsSettings(certificate_file=own.certificate, key_file=own.key)
    async with served(ServerSettings(secrets_reload_seconds=0.01), tls=tls) as it:
        own.certificate.write_bytes(other.certificate.read_bytes())
        context = trusting(ca)
        assert (await it.get(tls=context))[0] == 200
        own.key.write_bytes(other.key.read_bytes())

        async def is_renewed() -> bool:
            return "renewed.local" in await shown_names(it.page.address, context)

        await until(is_renewed)


async def shown_names(address: str, context: ssl.SSLContext) -> set[str]:
    """Return the names in the certificate that a server shows."""
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    names = writer.get_extra_info("peercert")["subjectAltName"]
    writer.close()
    return {value for _, value in names}


async def test_a_taken_port_is_told() -> None:
    """The engine does not start half."""
    async with served() as it:
        port = int(it.page.address.split(":")[1])
        with pytest.raises(FatalError, match="is the port taken"):
            async with served(port=port):
                pass
