"""Tokens and certificates against a real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from pydantic import SecretStr

from services.common.call_errors import from_call_error
from services.common.channels import open_channel
from services.common.errors import AuthError, UnreachableError
from services.common.masking import MASK
from services.common.settings import (
    ClientTlsSettings,
    ServerSettings,
    TlsSettings,
    VenueSettings,
)
from tests.support.certificates import CertificateAuthority
from tests.support.echo_service import Number, echo_server, health, method, raw, unary

FIRST, SECOND = "first-token-0123456789", "second-token-0123456789"
Metadata = tuple[tuple[str, str | bytes], ...]


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Return a file with two active tokens."""
    path = tmp_path / "tokens"
    path.write_text(f"{FIRST}\n{SECOND}\n")
    return path


ALLOWED: dict[str, Metadata] = {
    "bearer": (("authorization", f"Bearer {FIRST}"),),
    "bearer in lower case": (("authorization", f"bearer {FIRST}"),),
    "second token": (("authorization", f"Bearer {SECOND}"),),
    "api key": (("x-api-key", FIRST),),
    "both, both right": (("authorization", f"Bearer {FIRST}"), ("x-api-key", SECOND)),
}
REFUSED: dict[str, Metadata] = {
    "none": (),
    "wrong": (("authorization", "Bearer wrong-token-0123456789"),),
    "cut": (("authorization", f"Bearer {FIRST[:-1]}"),),
    "longer": (("authorization", f"Bearer {FIRST}x"),),
    "other scheme": (("authorization", f"Basic {FIRST}"),),
    "no scheme": (("authorization", FIRST),),
    "empty": (("authorization", "Bearer "),),
    "both tokens in one": (("authorization", f"Bearer {FIRST}{SECOND}"),),
    "binary key": (("x-api-key-bin", FIRST.encode()),),
    "one right, one wrong": (("authorization", f"Bearer {FIRST}"), ("x-api-key", "wrong")),
    "sent twice, one wrong": (
        ("authorization", f"Bearer {FIRST}"),
        ("authorization", "Bearer wrong"),
    ),
}


async def refusal(call: Any) -> AuthError:
    """Return the AuthError of a call that must be refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_call_error(caught.value)
    assert isinstance(error, AuthError)
    return error


@pytest.mark.parametrize("metadata", ALLOWED.values(), ids=ALLOWED.keys())
async def test_a_right_token_is_let_in(token_file: Path, metadata: Metadata) -> None:
    """Either header and either active token open the service."""
    settings = ServerSettings(token_file=token_file)
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
        assert await unary(channel, "One")(Number(value="1"), metadata=metadata)


@pytest.mark.parametrize("metadata", REFUSED.values(), ids=REFUSED.keys())
async def test_anything_else_is_refused(token_file: Path, metadata: Metadata) -> None:
    """UNAUTHENTICATED, unary and streaming, before a byte of the request is parsed."""
    settings = ServerSettings(token_file=token_file)
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
        error = await refusal(raw(channel).unary_unary(method("One"))(b"\xff", metadata=metadata))
        stream = raw(channel).unary_stream(method("Many"))(b"\xff", metadata=metadata)
        streamed = await refusal(stream.read())
    assert error.reason in ("TOKEN_MISSING", "TOKEN_INVALID")
    assert streamed.reason == error.reason
    assert FIRST not in error.message


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/no.Such/Method",
        "/grpc.health.v1.Health/Check/",
        "/x/grpc.health.v1.Health/Check",
        "/opensqt.test.v1.EchoService/Check",
    ],
)
async def test_only_health_is_open(token_file: Path, path: str) -> None:
    """Look-alikes of the health methods, reflection and unknown methods ask for the token."""
    settings = ServerSettings(token_file=token_file)
    async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
        stub = health(channel)
        reply = await stub.Check(health_pb2.HealthCheckRequest())
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        assert (await stub.Watch(health_pb2.HealthCheckRequest()).read()) == reply
        error = await refusal(raw(channel).unary_unary(path)(b""))
        assert error.reason == "TOKEN_MISSING"
        # What to do stays readable: `token: WORD` would be masked as a secret.
        assert "'x-api-key'" in error.message
        assert MASK not in error.message


async def test_the_channel_sends_its_token(token_file: Path, tmp_path: Path) -> None:
    """A token given as argument or as the venue's file is sent with unary and streaming calls."""
    own = tmp_path / "own"
    own.write_text(SECOND + "\n")
    async with echo_server(ServerSettings(token_file=token_file, drain_seconds=1)) as (server, _):
        venue = VenueSettings(name="v", kind="spot", address=server.address, token_file=own)
        for channel in (
            open_channel(venue),
            open_channel(server.address, token=SecretStr(FIRST)),
        ):
            async with channel:
                assert await unary(channel, "One")(Number(value="1")) == Number(value="1")
                stream = raw(channel).unary_stream(method("Many"))(b"")
                assert await stream.read() == b""


async def test_tls_carries_calls_with_a_trusted_certificate(tmp_path: Path) -> None:
    """A client that trusts the CA is served; one that trusts another CA or none at all is not."""
    authority, stranger = CertificateAuthority(tmp_path), CertificateAuthority(tmp_path, "stranger")
    files = authority.issue("server")
    settings = ServerSettings(
        tls=TlsSettings(certificate_file=files.certificate, key_file=files.key)
    )
    async with echo_server(settings) as (server, _):
        async with open_channel(
            server.address, tls=ClientTlsSettings(ca_file=authority.file)
        ) as channel:
            assert await unary(channel, "One")(Number(value="1")) == Number(value="1")
        for tls in (ClientTlsSettings(ca_file=stranger.file), None):
            async with open_channel(server.address, tls=tls) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await unary(channel, "One")(Number(value="1"))
                assert isinstance(from_call_error(caught.value), UnreachableError)


async def test_mutual_tls_asks_for_the_clients_certificate(tmp_path: Path) -> None:
    """With a client CA, no certificate or a stranger's does not pass; the CA's own does."""
    authority, stranger = CertificateAuthority(tmp_path), CertificateAuthority(tmp_path, "stranger")
    files, mine, theirs = authority.issue("server"), authority.issue("me"), stranger.issue("them")
    settings = ServerSettings(
        tls=TlsSettings(
            certificate_file=files.certificate, key_file=files.key, client_ca_file=authority.file
        )
    )
    async with echo_server(settings) as (server, _):
        with_mine = ClientTlsSettings(
            ca_file=authority.file, certificate_file=mine.certificate, key_file=mine.key
        )
        async with open_channel(server.address, tls=with_mine) as channel:
            assert await unary(channel, "One")(Number(value="1")) == Number(value="1")
        with_theirs = ClientTlsSettings(
            ca_file=authority.file, certificate_file=theirs.certificate, key_file=theirs.key
        )
        for tls in (with_theirs, ClientTlsSettings(ca_file=authority.file)):
            async with open_channel(server.address, tls=tls) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await unary(channel, "One")(Number(value="1"))
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
