"""What the pages tell a reader to do, and a folder in which it is done.

A comment before a block of a page marks it: `<!-- file: NAME -->` is written, `<!-- process -->`
has a process in each line, which stays, `<!-- run -->` is run line by line and must end well. With
`<!-- run: WORD WORD -->` it needs these programs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PORTS = ("8080", "50050", "50051", "50052", "50060", "50061")
"""What the pages have services listen on."""

READY_SECONDS, COMMAND_SECONDS, STOP_SECONDS, LOOK_SECONDS = 60.0, 240.0, 20.0, 0.1
_BLOCK = re.compile(
    r"<!-- (?P<kind>file|process|run)(?:: (?P<words>[^>]+?))? -->\n+```\w*\n(?P<text>.*?)```",
    re.DOTALL,
)
_ARB = ".venv/bin/arb"
_LOOK = re.compile(rf"^{_ARB} (doctor|scan|positions)\b")
_PICK = "import json, sys; print(json.load(sys.stdin)[{list!r}][0][{key!r}])"
REACHES = {"npm": ["npm", "view", "ts-proto", "version"]}
"""Commands that end well where a program reaches what it needs; it may also hang."""

REACH_SECONDS = 60.0
# What a reader puts in from what was printed before.
_FILLED_IN = {
    re.compile(r"\bPOSITION\b"): ("positions", "positions", "position_id"),
    re.compile(r"\bLOOMUSDT:[\w:-]+"): ("scan", "opportunities", "opportunity_id"),
}


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block: its kind, its words (a file's name, programs it needs) and its text."""

    kind: str
    words: tuple[str, ...]
    text: str

    def commands(self) -> list[str]:
        """Return its lines, those that go on in the next one joined."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip() and line[0] != "#"]


def blocks_of(page: str) -> list[Block]:
    """Return the marked blocks of a page, in its order."""
    return [
        Block(match["kind"], tuple((match["words"] or "").split()), match["text"])
        for match in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))
    ]


def free_ports() -> dict[str, str]:
    """Return a free port for each of the pages' own."""
    sockets = [socket.socket() for _ in PORTS]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return {told: str(one.getsockname()[1]) for told, one in zip(PORTS, sockets, strict=True)}
    finally:
        for one in sockets:
            one.close()


def lacking(programs: Sequence[str]) -> str:
    """Say which of these programs is not to be had here, or reaches nothing; "" for none."""
    for program in programs:
        if shutil.which(program) is None:
            return f"{program} is not installed"
        if program in REACHES and not _ends_well(REACHES[program]):
            return f"{program} reaches no registry"
    return ""


def _ends_well(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=REACH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


# Not frozen: `before` is what the block before printed, and processes are added.
@dataclass(slots=True)
class Reader:
    """Somebody who does what the pages say, in a folder."""

    folder: Path
    ports: Mapping[str, str] = field(default_factory=free_ports)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    before: str = ""

    def __post_init__(self) -> None:
        """Make the folder look like the repository, as far as the commands look at it."""
        for name in (".venv", "proto"):
            (self.folder / name).symlink_to(ROOT / name)

    def follow(self, block: Block) -> list[str]:
        """Do what a block says; return what each command printed."""
        if block.kind == "file":
            path = self.folder / block.words[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self._at_our_ports(block.text), encoding="utf-8")
            return []
        if block.kind == "process":
            for command in block.commands():
                self._start(command)
            return []
        return [self.run(command) for command in block.commands()]

    def run(self, command: str) -> str:
        """Run one line in bash as it stands, its questions answered with yes; it must end well."""
        line = self._at_our_ports(command)
        for told, (read, rows, key) in _FILLED_IN.items():
            if told.search(line):
                line = told.sub(self._first(read, rows, key), line)
        if line.startswith(("export ", "cd ")):
            self.before += f"{line}\n"
        deadline = time.monotonic() + READY_SECONDS
        done = self._once(line)
        # A stack that has just begun is looked at again, as its reader would; a trade never is.
        while done.returncode and _LOOK.search(line) and time.monotonic() < deadline:
            done = self._once(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def _once(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/bash", "-c", f"set -euo pipefail\n{self.before}{line}"],
            cwd=self.folder,
            env=self._environment(),
            input="y\n",
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def settle(self) -> None:
        """Leave every position that a page before has left on, and allow entries."""
        for command in ("close-all", "resume"):
            self.run(f'{_ARB} {command} --reason "the next page" --yes')

    def stop(self) -> None:
        """Stop what was started, the last first; what does not end is killed."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _first(self, read: str, rows: str, key: str) -> str:
        pick = shlex.quote(_PICK.format(list=rows, key=key))
        return self.run(f"{_ARB} {read} --json | .venv/bin/python -c {pick}").strip()

    def _start(self, command: str) -> None:
        words = shlex.split(self._at_our_ports(command))
        settings = tomllib.loads((self.folder / words[-1]).read_text(encoding="utf-8"))
        port = settings["http" if "http" in settings else "grpc"]["port"]
        log = (self.folder / f"{words[-1]}.log").open("wb")
        with log:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self._environment(), stdout=log, stderr=log
            )
        self.processes.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while not _is_listening(port):
            told = (self.folder / f"{words[-1]}.log").read_text(encoding="utf-8")[-2_000:]
            assert time.monotonic() < deadline, f"{command} does not listen\n{told}"
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_SECONDS)
            assert process.poll() is None, f"{command} ended\n{told}"

    def _at_our_ports(self, text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: self.ports[match[1]], text)

    def _environment(self) -> dict[str, str]:
        # Smaller and more patient than the pages' stack: these are the cores of many tests.
        patient = {
            "OPENSQT_SIMULATOR__MARKET__SYMBOL_COUNT": "40",
            "OPENSQT_ENGINE__POLICY__UNHEDGED_TIME_BUDGET": "PT60S",
            "OPENSQT_ARB__ENGINE__CALL_TIMEOUT": "PT60S",
            "OPENSQT_ARB__SCANNER__CALL_TIMEOUT": "PT60S",
        }
        return {**os.environ, **patient, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


def _is_listening(port: int) -> bool:
    with socket.socket() as one:
        one.settimeout(LOOK_SECONDS)
        return one.connect_ex(("127.0.0.1", port)) == 0
