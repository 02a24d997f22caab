"""Tokens and keys renewed under traffic, without a restart and without a failed call."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import grpc
import pytest

from services.common.channels import open_channel
from services.common.errors import FatalError
from services.common.scopes import Role
from services.common.settings import (
    ClientTlsSettings,
    PrincipalSettings,
    ServerSettings,
    TlsSettings,
)
from tests.support.certificates import CertificateAuthority
from tests.support.echo_service import Number, echo_server, unary

FIRST, SECOND, THIRD = (f"{name}-token-0123456789" for name in ("first", "second", "third"))
OK, DENIED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
WAIT = 60.0


async def code_of(channel: grpc.aio.Channel, token: str) -> grpc.StatusCode:
    """Return the code a call with this token ends with."""
    call = unary(channel, "One")(Number(value="1"), metadata=(("x-api-key", token),))
    code: grpc.StatusCode = await call.code()
    return code


async def until(channel: grpc.aio.Channel, token: str, code: grpc.StatusCode) -> None:
    """Call until the token meets that code."""
    async with asyncio.timeout(WAIT):
        while True:
            if await code_of(channel, token) is code:
                return
            await asyncio.sleep(0.02)


async def test_tokens_are_renewed_without_a_failed_call(tmp_path: Path) -> None:
    """Old, old and new, new: a caller that changes over in the middle is never refused."""
    path = tmp_path / "tokens"
    path.write_text(FIRST + "\n")
    principal = PrincipalSettings(name="engine", roles=(Role.ENGINE,), token_file=path)
    settings = ServerSettings(principals=(principal,), secrets_reload_seconds=0.05, drain_seconds=1)
    codes: list[grpc.StatusCode] = []
    over = asyncio.Event()
    using = FIRST
    turned = asyncio.Event()
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:

        async def traffic() -> None:
            while not over.is_set():
                codes.append(await code_of(channel, using))
                turned.set()

        task = asyncio.get_running_loop().create_task(traffic())
        assert await code_of(channel, SECOND) is DENIED
        path.write_text(f"{FIRST}\n{SECOND}\n")
        await until(channel, SECOND, OK)
        using = SECOND
        # The call that began with the old token must end before the token does.
        for _ in range(2):
            turned.clear()
            async with asyncio.timeout(WAIT):
                await turned.wait()
        path.write_text(SECOND + "\n")
        await until(channel, FIRST, DENIED)
        over.set()
        await task
    assert len(codes) > 5
    assert set(codes) == {OK}


@pytest.mark.parametrize("text", ["", "short\n", "\xff", None])
async def test_an_unsound_new_file_keeps_the_tokens_of_before(
    tmp_path: Path, text: str | None
) -> None:
    """Empty, too short, no text, gone: the old token works; a sound file after it takes over."""
    path = tmp_path / "tokens"
    path.write_text(FIRST + "\n")
    settings = ServerSettings(token_file=path, secrets_reload_seconds=0.02, drain_seconds=1)
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text.encode("latin-1"))
        # Several looks of the server at its file.
        for _ in range(10):
            assert await code_of(channel, FIRST) is OK
            await asyncio.sleep(0.01)
        path.write_text(THIRD + "\n")
        await until(channel, THIRD, OK)
        assert await code_of(channel, FIRST) is DENIED


async def test_keys_are_renewed_under_traffic_without_a_failed_call(tmp_path: Path) -> None:
    """New handshakes meet the new certificate; a half-written renewal is passed over."""
    authority = CertificateAuthority(tmp_path)
    first, second, mine = (authority.issue(name) for name in ("first", "second", "mine"))
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    certificate.write_bytes(first.certificate.read_bytes())
    key.write_bytes(first.key.read_bytes())
    settings = ServerSettings(
        tls=TlsSettings(certificate_file=certificate, key_file=key, client_ca_file=authority.file),
        drain_seconds=1,
    )
    tls = ClientTlsSettings(
        ca_file=authority.file, certificate_file=mine.certificate, key_file=mine.key
    )
    codes: list[grpc.StatusCode] = []
    over = asyncio.Event()
    async with echo_server(settings) as (server, _), open_channel(server.address, tls=tls) as old:

        async def traffic() -> None:
            while not over.is_set():
                codes.append(await code_of(old, ""))

        async def connect_anew() -> bytes:
            async with open_channel(server.address, tls=tls) as channel:
                codes.append(await code_of(channel, ""))
            return await asyncio.to_thread(shown_certificate, server.address, tls)

        task = asyncio.get_running_loop().create_task(traffic())
        assert await connect_anew() == der(first.certificate)
        certificate.write_bytes(second.certificate.read_bytes())
        assert await connect_anew() == der(first.certificate)
        key.write_bytes(second.key.read_bytes())
        assert await connect_anew() == der(second.certificate)
        over.set()
        await task
    assert len(codes) > 5
    assert set(codes) == {OK}


@pytest.mark.parametrize("bad", ["key", "certificate", "client CA"])
async def test_files_that_do_not_do_are_not_told_as_a_taken_port(tmp_path: Path, bad: str) -> None:
    """Whoever renewed one of a pair alone would look for another process."""
    authority = CertificateAuthority(tmp_path)
    first, second = authority.issue("first"), authority.issue("second")
    torn = tmp_path / "torn.pem"
    torn.write_text("not a certificate\n")
    tls = TlsSettings(
        certificate_file=torn if bad == "certificate" else first.certificate,
        key_file=second.key if bad == "key" else first.key,
        client_ca_file=torn if bad == "client CA" else authority.file,
    )
    with pytest.raises(FatalError, match=r"\[grpc.tls\] do not do"):
        async with echo_server(ServerSettings(tls=tls)):
            raise RuntimeError("the server started")


def der(path: Path) -> bytes:
    """Return a certificate's file in the form that a handshake shows."""
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def shown_certificate(address: str, tls: ClientTlsSettings) -> bytes:
    """Return the certificate that a server shows in a handshake."""
    context = ssl.create_default_context(cafile=str(tls.ca_file))
    assert tls.certificate_file is not None
    context.load_cert_chain(tls.certificate_file, tls.key_file)
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=WAIT) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    assert shown is not None
    return shown
