"""Ports for a stack of a test, so that it runs beside an operator's and beside other tests."""

from __future__ import annotations

import itertools
import socket
from typing import Final

SHIPPED: Final = {
    "ENGINE_PORT": 50060,
    "PAGE_PORT": 50061,
    "SECOND_ENGINE_PORT": 50062,
    "SECOND_PAGE_PORT": 50063,
    "SCANNER_PORT": 50050,
    "SPOT_PORT": 50051,
    "PERP_PORT": 50052,
    "SIMULATOR_PORT": 8080,
    "PROMETHEUS_PORT": 9090,
    "ALERTMANAGER_PORT": 9093,
    "GRAFANA_PORT": 3000,
}
"""What docker-compose.yml publishes where the environment names no other port."""

_FIRST: Final = 21_000
"""Below the ports that Linux gives outgoing connections: 32768 on."""


def free_ports() -> dict[str, int]:
    """Return a port for each variable of docker-compose.yml, free at this moment."""
    free = (port for port in itertools.count(_FIRST) if _is_free(port))
    return dict(zip(SHIPPED, free, strict=False))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As Docker binds it: what an ended connection left behind is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
