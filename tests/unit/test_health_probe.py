"""The probe of container engines against a real server: plain, with mTLS, not serving, absent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.common.health_probe import ProbeError, main, probe
from services.common.metrics import ServiceMetrics
from services.common.server import GrpcServer
from services.common.server_settings import ServerSettings, TlsSettings
from tests.support.certificates import CertificateAuthority

_NAME = "opensqt.market_maker.v1.ScannerService"


def _settings_of(server: GrpcServer, tls: dict[str, str] | None = None) -> dict[str, Any]:
    table: dict[str, Any] = {"port": int(server.address.rpartition(":")[2])}
    return {"grpc": table if tls is None else {**table, "tls": tls}}


async def test_a_serving_process_passes() -> None:
    """The probe returns in silence."""
    async with GrpcServer(ServerSettings(), metrics=ServiceMetrics("echo")) as server:
        await asyncio.to_thread(probe, _settings_of(server))


async def test_a_name_that_does_not_serve_fails() -> None:
    """NOT_SERVING and an unknown name are both errors."""
    async with GrpcServer(ServerSettings(), metrics=ServiceMetrics("echo")) as server:
        await server.set_serving(_NAME, serving=False)
        for name in (_NAME, "no.such.Service"):
            with pytest.raises(ProbeError, match="not serving"):
                await asyncio.to_thread(probe, _settings_of(server), name)
        await server.set_serving(_NAME, serving=True)
        await asyncio.to_thread(probe, _settings_of(server), _NAME)


async def test_it_shows_the_services_own_certificate(tmp_path: Path) -> None:
    """A server that asks callers for certificates is probed with its own."""
    authority = CertificateAuthority(tmp_path)
    pair = authority.issue("engine")
    tls = {"certificate_file": str(pair.certificate), "key_file": str(pair.key)}
    settings = ServerSettings(
        tls=TlsSettings(
            certificate_file=pair.certificate, key_file=pair.key, client_ca_file=authority.file
        )
    )
    async with GrpcServer(settings, metrics=ServiceMetrics("echo")) as server:
        await asyncio.to_thread(probe, _settings_of(server, tls))
        with pytest.raises((ProbeError, OSError)):
            await asyncio.to_thread(probe, _settings_of(server))


async def test_a_process_that_is_gone_exits_with_one(tmp_path: Path) -> None:
    """The exit code tells the container engine; no exception passes."""
    async with GrpcServer(ServerSettings(), metrics=ServiceMetrics("echo")) as server:
        config = tmp_path / "engine.toml"
        port = _settings_of(server)["grpc"]["port"]
        config.write_text(f"[grpc]\nport = {port}\n", encoding="utf-8")
        assert await asyncio.to_thread(main, ["--config", str(config)]) == 0
    assert main(["--config", str(config)]) == 1
