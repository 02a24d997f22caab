"""A PostgreSQL server of a test's own, and a session with it: the wire protocol's bare minimum.

Debian's package is enough; a client library would be a dependency of the tests alone. The session
has the shape of `asyncpg.Connection`. Source: PostgreSQL manual, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NUMBERS = frozenset({20, 21, 23})
"""Type numbers of bigint, smallint and integer; all else is read as text."""

_READY_SECONDS = 60.0


class PostgresError(Exception):
    """The server refused a statement."""


class WireSession:
    """One connection; texts both ways."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, folder: Path) -> WireSession:
        """Connect to the server whose socket is in a folder, as its owner."""
        session = cls(*await asyncio.open_unix_connection(_socket_in(folder)))
        body = struct.pack("!I", 196_608) + b"user\0postgres\0database\0postgres\0\0"
        session._writer.write(struct.pack("!I", len(body) + 4) + body)
        try:
            await session._answer()
        except BaseException:
            await session.close()
            raise
        return session

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run one statement and return its rows."""
        values = b"".join(_value(arg) for arg in args)
        self._writer.write(
            _message(b"P", b"\0" + query.encode() + b"\0" + struct.pack("!H", 0))
            + _message(b"B", b"\0\0" + struct.pack("!HH", 0, len(args)) + values + b"\0\0")
            + _message(b"D", b"P\0")
            + _message(b"E", b"\0" + struct.pack("!I", 0))
            + _message(b"S", b"")
        )
        return await self._answer()

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _answer(self) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        types: list[int] = []
        problem = ""
        while True:
            kind, length = struct.unpack("!cI", await self._reader.readexactly(5))
            body = await self._reader.readexactly(length - 4)
            if kind == b"T":
                types = _types(body)
            elif kind == b"D":
                rows.append(_row(body, types))
            elif kind == b"E":
                problem = body.replace(b"\0", b" ").decode()
            elif kind == b"Z":
                if problem:
                    raise PostgresError(problem)
                return rows


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A server that can be killed and started again; `folder` holds its socket and its data."""

    folder: Path
    port: int
    user: str | None

    def start(self) -> None:
        """Start it and wait until it takes connections, on the socket and on loopback."""
        options = f"-k {self.folder} -c listen_addresses=127.0.0.1 -c port={self.port}"
        self._control("-l", self.folder / "log", "-o", options, "start")

    def start_again(self) -> None:
        """Start it after a kill, as soon as the processes it left have ended."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                self.start()
            except subprocess.CalledProcessError:
                # They hold its memory; the server refuses to start beside them.
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop it without a farewell to anybody."""
        self._control("-m", "immediate", "stop")

    def kill(self) -> None:
        """SIGKILL its first process; the others end by themselves once they see it gone."""
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def _control(self, *words: str | Path) -> None:
        programs = _programs()
        control: list[str | Path] = [programs / "pg_ctl", "-s", "-w", "-D", self.folder / "data"]
        subprocess.run(
            [*control, *words], check=True, user=self.user, cwd=self.folder, timeout=_READY_SECONDS
        )


@contextlib.contextmanager
def postgres_server(password: str = "") -> Iterator[PostgresServer]:
    """Run a server of its own folder and port; over loopback it asks for the password."""
    # Short: the name of a socket has at most 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = "postgres" if os.geteuid() == 0 else None
    (folder / "password").write_text(password or "unused")
    if user is not None:
        for each in (folder, folder / "password"):
            shutil.chown(each, user)
    try:
        make: list[str | Path] = [_programs() / "initdb", "-D", folder / "data", "-U", "postgres"]
        make += ["-A", "trust", "--auth-host=scram-sha-256", "--pwfile", folder / "password"]
        make += ["--no-sync", "--no-locale", "-E", "UTF8"]
        subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder)
        server = PostgresServer(folder, _free_port(), user)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _socket_in(folder: Path) -> str:
    (path,) = (one for one in folder.glob(".s.PGSQL.*") if one.suffix != ".lock")
    return str(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def has_postgres() -> bool:
    """Whether the server's programs are installed, and the user to run them as is there."""
    try:
        if os.geteuid() == 0:
            pwd.getpwnam("postgres")
        return bool(_programs())
    except (KeyError, FileNotFoundError):
        return False


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise FileNotFoundError("initdb")
    return found[-1].parent


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _value(arg: Any) -> bytes:
    if arg is None:
        return struct.pack("!i", -1)
    text = str(arg).encode()
    return struct.pack("!i", len(text)) + text


def _types(body: bytes) -> list[int]:
    """Return the type number of each column of a row description."""
    (count,) = struct.unpack_from("!H", body)
    types, position = [], 2
    for _ in range(count):
        position = body.index(b"\0", position) + 1
        types.append(struct.unpack_from("!IHIhih", body, position)[2])
        position += 18
    return types


def _row(body: bytes, types: list[int]) -> tuple[Any, ...]:
    values: list[Any] = []
    position = 2
    for kind in types:
        (length,) = struct.unpack_from("!i", body, position)
        position += 4
        if length < 0:
            values.append(None)
            continue
        text = body[position : position + length].decode()
        position += length
        values.append(int(text) if kind in _NUMBERS else text)
    return tuple(values)
