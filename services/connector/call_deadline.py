"""Pass the caller's deadline down: what waits on its behalf waits no longer than it does."""

from __future__ import annotations

import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, TypeVar

from services.connector.rate_budget import CALL_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable

S = TypeVar("S", bound=type)


def bound_by_deadline(servicer: S) -> S:
    """Wrap every unary method of a servicer class so that it sets CALL_DEADLINE first."""
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
        return await method(self, request, context)

    return call
