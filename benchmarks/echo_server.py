"""An empty grpc.aio server: the wire's part of an order, with nothing of ours in it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import grpc

from benchmarks.processes import write_address
from services.common.run import run_service

METHOD: Final = "/bench.Echo/Echo"


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


async def serve_echo(stop: asyncio.Event, ready: Path) -> None:
    """Serve on a free port of loopback until `stop` is set; the address goes into `ready`."""
    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Echo": grpc.unary_unary_rpc_method_handler(_echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    write_address(ready, f"127.0.0.1:{port}")
    await stop.wait()
    await server.stop(1.0)


def main() -> int:
    """Run the server until it is told to stop; return the exit code."""
    parser = argparse.ArgumentParser(description="An empty gRPC server.")
    parser.add_argument("--ready", type=Path, required=True)
    chosen = parser.parse_args()
    return run_service(lambda stop: serve_echo(stop, chosen.ready))


if __name__ == "__main__":
    sys.exit(main())
