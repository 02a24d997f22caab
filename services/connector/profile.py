"""What a venue's file in `venues/` declares: limits, weights, fence constants, id form, answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from typing import Any

    from services.connector.instruments import InstrumentKind
    from services.connector.order_types import OrderEvent
    from services.connector.outcome import AnswerClass


class EndpointClass(StrEnum):
    """Endpoints that share one allowance at the venue."""

    WEIGHT = "weight"
    ORDER = "order"
    FUNDING_HISTORY = "funding_history"
    SAPI = "sapi"


class Priority(StrEnum):
    """Who goes first when an allowance runs low; exits and cancels may use the reserve."""

    EXIT = "exit"
    ORDER = "order"
    DATA = "data"


@dataclass(frozen=True, slots=True)
class Allowance:
    """At most `limit` units in any `window_seconds`; `used_header` is the venue's count."""

    limit: int
    window_seconds: float
    used_header: str | None = None


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """One venue as ccxt knows it by `code`."""

    code: str
    kind: InstrumentKind
    options: Mapping[str, Any]
    client_id_pattern: re.Pattern[str]
    allowances: Mapping[EndpointClass, tuple[Allowance, ...]]
    weights: Mapping[str, int]
    answers: Mapping[tuple[int | None, int], AnswerClass]
    answer_messages: Mapping[tuple[int, str], AnswerClass]
    recv_window: timedelta
    venue_processing: timedelta
    clock_bound: timedelta
    markets_filter: Callable[[Mapping[str, Any]], bool]
    trading_status: Callable[[Mapping[str, Any]], str]
    stream_event: Callable[[Mapping[str, Any]], OrderEvent | None]
    order_params: Callable[..., dict[str, Any]]
    forced_fill: Callable[[str], str | None]
    batch_place_size: int
    trades_page_size: int
    margin_supported: bool

    def weight(self, name: str) -> int:
        """Return the documented weight of a call named in `weights`; 1 when it is not there."""
        return self.weights.get(name, 1)
