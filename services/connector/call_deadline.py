"""Pass down what a caller told of its call: deadline, engine epoch, whether it reads for a scan.

What waits on its behalf waits no longer than the caller does, and a scan's reads keep to their own
lane: `read-priority: scan` in the call's metadata says so.
"""

from __future__ import annotations

import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.common.engine_epoch import read_epoch
from services.common.read_priority import READ_PRIORITY_KEY, SCAN_READ
from services.connector.engine_epochs import CALL_EPOCH
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_DEADLINE, CALL_PRIORITY

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=type)
_SCAN: Final = (READ_PRIORITY_KEY, SCAN_READ)


def bound_by_deadline(servicer: S) -> S:
    """Wrap every unary method of a servicer class: what it was told is set first."""
    for name, method in inspect.getmembers(servicer, inspect.iscoroutinefunction):
        if name[:1].isupper():
            setattr(servicer, name, _bounded(method))
    return servicer


def _bounded(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def call(self: Any, request: Any, context: Any) -> Any:
        # None when the caller set no deadline; the settings bound its waits then.
        remaining = context.time_remaining()
        CALL_DEADLINE.set(None if remaining is None else time.monotonic() + remaining)
        told = context.invocation_metadata() or ()
        # A word we do not know asks for nothing.
        is_scan = any((key, value) == _SCAN for key, value in told)
        CALL_EPOCH.set(read_epoch(told))
        CALL_PRIORITY.set(Priority.SCAN if is_scan else Priority.DATA)
        return await method(self, request, context)

    return call
