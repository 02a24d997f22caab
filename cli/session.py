"""One run of `arb`: settings, output, and errors told in words with an exit code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from textwrap import indent
from typing import TYPE_CHECKING, Any

import grpc.aio
from rich.console import Console

from cli.plain import to_line, to_plain
from cli.settings import ArbSettings, read_arb_settings
from services.common.call_errors import SERVICE_UNREACHABLE, from_call_error
from services.common.errors import Code, InvalidFieldError, OpensqtError, OutcomeUnknownError
from services.common.process_guard import guard_process
from services.common.settings_loader import SettingsProblemsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from google.protobuf.message import Message

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNKNOWN = 3
"""The outcome is not known: look with `arb positions` before anything else."""
# 128 and the number of SIGINT, as shells report it.
EXIT_INTERRUPTED = 130

_NO_ANSWER = frozenset({SERVICE_UNREACHABLE, Code.DEADLINE_EXCEEDED.value})

_HINTS = {
    "TOKEN_MISSING": "set token_file in arb.toml to the service's token",
    "TOKEN_INVALID": "set token_file in arb.toml to the service's token",
    "ENGINE_HALTED": "arb resume --reason … allows entries again",
    "TRADING_HALTED": "arb resume --venue NAME --reason … lets the connector open again",
    "ENGINE_NOT_RECONCILED": "the engine is recovering; look with arb doctor and try again",
    "RECONCILIATION_BROKEN": "look at the venue; arb resume declares what is not ours to be yours",
    "OPPORTUNITY_STALE": "arb scan lists fresh ones",
    "OPPORTUNITY_NOT_FOUND": "arb scan lists those that stand",
    "HEDGED_POSITION_NOT_FOUND": "arb positions --all lists them",
}


@dataclass(frozen=True, slots=True)
class Session:
    """Where to call and how to print. With `json` each result is one line of JSON on stdout.

    `change` is the request id of a command that trades or switches; empty for one that only reads.
    """

    settings: ArbSettings
    json: bool
    change: str = ""
    console: Console = field(default_factory=Console)
    errors: Console = field(default_factory=lambda: Console(stderr=True))

    def print_json(self, value: Message | dict[str, Any]) -> None:
        """Print one line of JSON."""
        plain = value if isinstance(value, dict) else to_plain(value)
        # rich would break the line at the terminal's width, and with it the JSON.
        self.console.print(to_line(plain), markup=False, highlight=False, soft_wrap=True)


def run(
    config: Path | None,
    *,
    json: bool,
    command: Callable[[Session], Awaitable[int]],
    change: str = "",
) -> int:
    """Run one command and return the exit code; every error becomes one sentence on stderr."""
    guard_process()
    errors = Console(stderr=True)
    try:
        session = Session(read_arb_settings(config), json, change)
        return asyncio.run(_guarded(session, command))
    except SettingsProblemsError as error:
        lines = [f"{problem.path}: {problem.text}" for problem in error.problems]
        errors.print("arb: the settings are wrong", *lines, sep="\n  ", markup=False)
        return EXIT_USAGE
    except KeyboardInterrupt:
        rest = "; what the engine works on goes on (arb positions)" if change else ""
        errors.print(f"arb: interrupted{rest}", markup=False)
        return EXIT_INTERRUPTED


async def _guarded(session: Session, command: Callable[[Session], Awaitable[int]]) -> int:
    try:
        return await command(session)
    except grpc.aio.AioRpcError as error:
        problem: OpensqtError = from_call_error(error)
    except OpensqtError as error:
        problem = error
    return _tell(session, problem)


def _tell(session: Session, problem: OpensqtError) -> int:
    if session.json:
        session.print_json(
            {
                "error": {
                    "reason": problem.reason,
                    "code": problem.code.value,
                    "message": problem.message,
                    "metadata": dict(problem.metadata),
                }
            }
        )
    is_unknown = _is_unknown(session, problem)
    hint = _HINTS.get(problem.reason, "")
    if problem.reason == SERVICE_UNREACHABLE:
        hint = _where(session.settings)
    if is_unknown and session.change:
        hint += f"{hint and chr(10)}the command may have been taken; "
        hint += f"repeating it with --request-id {session.change} is harmless"
    # The transport's own words are for programmers; the hint says what a person can do.
    lost = problem.reason == SERVICE_UNREACHABLE
    message = "the service does not answer" if lost else problem.message
    text = f"arb: {message} ({problem.reason})" + (f"\n{indent(hint, '  ')}" if hint else "")
    # Lines that the terminal wraps can be copied whole, a request id among them.
    session.errors.print(text, markup=False, highlight=False, soft_wrap=True)
    if is_unknown:
        return EXIT_UNKNOWN
    return EXIT_USAGE if isinstance(problem, InvalidFieldError) else EXIT_REFUSED


def _where(settings: ArbSettings) -> str:
    return (
        "does it run, and are the addresses and tls tables in arb.toml right? "
        f"engine {settings.engine.address}, scanner {settings.scanner.address}"
    )


def _is_unknown(session: Session, problem: OpensqtError) -> bool:
    """Whether the command may have been taken though no answer to it was read."""
    if isinstance(problem, OutcomeUnknownError):
        return True
    # Nothing in a broken connection tells whether the request had got through before.
    return bool(session.change) and problem.reason in _NO_ANSWER
