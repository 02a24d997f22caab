"""Ask one gRPC service for its health: `python -m services.common.health_probe --config FILE.toml`.

For container engines, which run it every few seconds: with the standard library alone it takes a
tenth of what importing grpc would. It speaks just the HTTP/2 (RFC 9113) and HPACK (RFC 7541) that
one call of `grpc.health.v1.Health/Check` needs, from the service's own settings: its port, and
its own certificate to show where callers must show one. Exit code 0: serving, 1: not.
"""

from __future__ import annotations

import argparse
import socket
import ssl
import struct
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TIMEOUT_SECONDS: Final = 2.5
"""Of each wait for the service; container engines have a bound of their own above it."""

_HOST: Final = "127.0.0.1"
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _PADDED = 1, 4, 8
_STREAM: Final = 1
_FRAME_HEAD: Final = 9
_SERVING: Final = b"\x08\x01"
"""`HealthCheckResponse{status: SERVING}` in protobuf's encoding."""


class ProbeError(Exception):
    """The service did not say that it serves; the text says what happened instead."""


def probe(settings: Mapping[str, Any], name: str = "") -> None:
    """Ask the service of these settings for the health of `name`; raise ProbeError unless serving.

    Raises OSError when it cannot be reached, KeyError when the settings name no port.
    """
    if "http" in settings:
        _ping(int(settings["http"]["port"]))
        return
    table = settings["grpc"]
    tls = table.get("tls")
    with _connection(int(table["port"]), tls) as stream:
        stream.sendall(_call(name, secure=tls is not None))
        answer = _answer(stream)
    # One byte says "not compressed", four the length of the message.
    if answer[5:] != _SERVING:
        raise ProbeError(f"not serving (answer {answer.hex() or 'empty'})")


@contextmanager
def _connection(port: int, tls: Mapping[str, str] | None) -> Iterator[socket.socket]:
    with socket.create_connection((_HOST, port), TIMEOUT_SECONDS) as plain:
        if tls is None:
            yield plain
            return
        # The probe looks at its own process from the inside: what answers there need not be proven.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(tls["certificate_file"], tls["key_file"])
        with context.wrap_socket(plain) as wrapped:
            yield wrapped


def _call(name: str, *, secure: bool) -> bytes:
    text = name.encode()
    request = b"\x0a" + bytes([len(text)]) + text if text else b""
    headers = (
        # Two entries of HPACK's static table: POST, and the scheme.
        b"\x83"
        + (b"\x87" if secure else b"\x86")
        + _field(b":path", b"/grpc.health.v1.Health/Check")
        + _field(b":authority", b"localhost")
        + _field(b"te", b"trailers")
        + _field(b"content-type", b"application/grpc")
    )
    message = b"\x00" + struct.pack(">I", len(request)) + request
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, _STREAM, headers)
        + _frame(_DATA, _END_STREAM, _STREAM, message)
    )


def _field(name: bytes, value: bytes) -> bytes:
    # "Literal header field never indexed", lengths under 127 in one byte, no Huffman code.
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _answer(stream: socket.socket) -> bytes:
    """Return the first message of the reply, with its five bytes of prefix."""
    message = b""
    while True:
        head = _exactly(stream, _FRAME_HEAD)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = _exactly(stream, length)
        if kind == _DATA:
            message += payload[1 : length - payload[0]] if flags & _PADDED else payload
        if kind in (_RST_STREAM, _GOAWAY):
            raise ProbeError("the service ended the call")
        if (kind == _HEADERS and flags & _END_STREAM) or len(message) >= 5 + len(_SERVING):
            return message


def _exactly(stream: socket.socket, count: int) -> bytes:
    held = b""
    while len(held) < count:
        piece = stream.recv(count - len(held))
        if not piece:
            raise ProbeError("the service closed the connection")
        held += piece
    return held


def _ping(port: int) -> None:
    # The simulated exchange speaks no gRPC; it answers as the venues do.
    with socket.create_connection((_HOST, port), TIMEOUT_SECONDS) as stream:
        stream.sendall(b"GET /api/v3/ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
        status = _exactly(stream, 12)
    if not status.endswith(b" 200"):
        raise ProbeError(f"answered {status.decode('ascii', 'replace')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Probe the service of `--config`; return 0 when it serves, else 1 after a line on stderr."""
    parser = argparse.ArgumentParser(prog="health_probe", allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, help="the service's settings file")
    parser.add_argument("--name", default="", help="health name; without it the whole process")
    arguments = parser.parse_args(argv)
    try:
        probe(tomllib.loads(arguments.config.read_text(encoding="utf-8")), arguments.name)
    except (OSError, ProbeError, KeyError, ValueError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
