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

    from services.connector.instruments import InstrumentKind, TradingStatus
    from services.connector.order_types import OrderIntent, VenueFill, VenueOrder
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
class Fence:
    """When "not found" becomes proof that an order never arrived; each part names its source.

    `recv_window`: the venue refuses a request older than this. `venue_processing`: the longest it
    may work on one it took. `clock_bound`: how far our idea of its clock may be off.
    """

    recv_window: timedelta
    venue_processing: timedelta
    clock_bound: timedelta

    @property
    def total(self) -> timedelta:
        """Return the time after sending from which "not found" proves that nothing arrived."""
        return self.recv_window + self.venue_processing + self.clock_bound


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """One venue as ccxt knows it by `code`: tables, and the few functions it truly needs.

    `stream_ready` tells whether a message (None: the opening of the socket) means that the user
    stream is on, `stream_ended` that the venue has ended it. `stream_order` reads a message of the
    user stream (None: not about an order), `order_row` a reply about an order, `fill_row` a row of
    our trades; they raise ValueError on a broken one.
    """

    code: str
    kind: InstrumentKind
    options: Mapping[str, Any]
    client_id_pattern: re.Pattern[str]
    reserved_id_prefixes: tuple[str, ...]
    allowances: Mapping[EndpointClass, tuple[Allowance, ...]]
    weights: Mapping[str, int]
    answers: Mapping[tuple[int | None, int], AnswerClass]
    answer_messages: Mapping[tuple[int, str], AnswerClass]
    fence: Fence
    is_listed: Callable[[Mapping[str, Any]], bool]
    trading_status: Callable[[Mapping[str, Any]], TradingStatus]
    stream_order: Callable[[Mapping[str, Any]], VenueOrder | None]
    stream_ready: Callable[[Mapping[str, Any] | None], bool]
    stream_ended: Callable[[Mapping[str, Any]], bool]
    order_row: Callable[[Mapping[str, Any]], VenueOrder]
    fill_row: Callable[[Mapping[str, Any]], VenueFill]
    order_params: Callable[[OrderIntent, str], dict[str, Any]]
    trades_window: timedelta
    batch_place_size: int
    batch_cancel_size: int
    margin_supported: bool

    def weight(self, name: str) -> int:
        """Return the documented weight of a call named in `weights`; 1 when it is not there."""
        # Too low is safe: the used-weight header corrects our count upwards.
        return self.weights.get(name, 1)
