"""Logging: structlog to stderr, one line per event, JSON or console, secrets masked.

Lines of libraries (ccxt, grpc, asyncio) take the same way through the same mask.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TextIO

from services.common.lean_structlog import structlog
from services.common.masking import escape_control, mask_value, register_secret
from services.common.order_names import position_of

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from structlog.typing import Processor

    from services.common.settings import LogSettings

    _Event = MutableMapping[str, Any]

__all__ = ["bind_context", "configure_logging", "get_logger", "register_secret"]

_CONTEXT: Final[ContextVar[Mapping[str, object] | None]] = ContextVar("log_context", default=None)
# One variable for all facts: an order binds some on its way to the venue.

_CHATTY_LIBRARIES = ("grpc", "asyncio", "urllib3", "ccxt")
"""Their debug lines come per call and, for ccxt, hold signed requests; warnings still pass."""


def configure_logging(settings: LogSettings, service: str, stream: TextIO | None = None) -> None:
    """Send all log lines of this process to `stream` (stderr) in the configured form."""
    _CONTEXT.set(None)

    def name_service(_logger: Any, _name: str, event: _Event) -> _Event:
        # Not by the context: threads that libraries start have none.
        event["service"] = service
        return event

    shared: list[Processor] = [
        _merge_context,
        name_service,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made as modules load; a cached one would keep the form of before.
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # After the tracebacks became text, so that they are masked too.
                _mask_event,
                *_renderer(settings.format),
            ],
        )
    )
    root = logging.getLogger()
    # Replaced, not added to: another handler would write past the mask.
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _CHATTY_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; the event's name comes first, facts follow as keywords."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bind_context(**facts: object) -> None:
    """Add facts (position id, client order id) to every later line of the current task.

    Tasks started from here on have them too, and threads of `asyncio.to_thread`. Empty texts are
    left out; what a line says itself goes before what is bound.
    """
    held = _CONTEXT.get()
    found = {name: value for name, value in facts.items() if value != ""}
    _CONTEXT.set(found if held is None else {**held, **found})


def _merge_context(_logger: Any, _name: str, event: _Event) -> _Event:
    merged = {**(_CONTEXT.get() or {}), **event}
    order = merged.get("client_order_id")
    if "position_id" not in event and isinstance(order, str) and (name := position_of(order)):
        # The order's own, whoever's task tells of it.
        merged["position_id"] = name
    return merged


def _renderer(form: str) -> list[Processor]:
    if form == "json":
        return [structlog.processors.JSONRenderer(ensure_ascii=True, default=str)]
    return [_escape_event, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_plain)]


def _plain(stream: TextIO, _info: object) -> None:
    # The traceback is already text in the event by then; the renderer has nothing to add.
    stream.write("")


def _mask_event(_logger: Any, _name: str, event: _Event) -> _Event:
    return {name: mask_value(value, key=name) for name, value in event.items()}


def _escape_event(_logger: Any, _name: str, event: _Event) -> _Event:
    escaped: dict[str, Any] = {
        escape_control(name): escape_control(value) if isinstance(value, str) else value
        for name, value in event.items()
    }
    if "exception" in escaped:
        # ConsoleRenderer prints this key on lines of its own; one event is one line.
        escaped["traceback"] = escaped.pop("exception")
    if "stack" in escaped:
        escaped["stack_text"] = escaped.pop("stack")
    return escaped
