"""Channel and server options: gRPC ignores a name that it does not know, without a word."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from services.common.channels import CHANNEL_OPTIONS
from services.common.server import MIN_PING_MILLISECONDS, _options
from services.common.settings import ServerSettings

OPTIONS = sorted({name for name, _ in (*CHANNEL_OPTIONS, *_options(ServerSettings()))})


@pytest.fixture(scope="module", name="core")
def _core() -> bytes:
    spec = find_spec("grpc._cython.cygrpc")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_bytes()


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_one_that_grpc_reads(core: bytes, option: str) -> None:
    """The names stand in its compiled core as they are compared."""
    assert option.encode() in core


def test_a_server_lets_our_clients_ping_as_often_as_they_do() -> None:
    """Else it closes their connections, orders under way with them, as "too many pings"."""
    server = dict(_options(ServerSettings()))
    client = dict(CHANNEL_OPTIONS)
    assert server["grpc.http2.min_ping_interval_without_data_ms"] == MIN_PING_MILLISECONDS
    assert client["grpc.keepalive_time_ms"] > MIN_PING_MILLISECONDS
    assert server["grpc.keepalive_permit_without_calls"] == 1
