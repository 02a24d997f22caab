"""What a venue's file in `venues/` declares: limits, weights, fence constants, id form, answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from services.common.rate_window import Allowance
    from services.connector.instruments import InstrumentKind, TradingStatus
    from services.connector.order_calls import NewOrder, OrderCalls
    from services.connector.order_types import (
        OrderIntent,
        VenueAcknowledgement,
        VenueFill,
        VenueOrder,
    )
    from services.connector.outcome import AnswerClass, Refusal


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
    SCAN = "scan"
    """Reads of many instruments that no trade waits for."""


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
class Credentials:
    """The account's key as plain text, on its way into ccxt; empty where none is set."""

    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)


def plain_credentials(given: Credentials) -> dict[str, str]:
    """Return key, secret and passphrase under the names most of ccxt's classes use."""
    return {"apiKey": given.api_key, "secret": given.api_secret, "password": given.passphrase}


def ccxt_names(market: Mapping[str, Any]) -> tuple[str, str]:
    """Return a market's name and its base as ccxt has them, which serves most venues."""
    return str(market["id"]), str(market["base"])


@dataclass(frozen=True, slots=True)
class ClientIdForm:
    """Which client order ids a venue takes, and what it gets instead of one that it would refuse.

    `reserved_prefixes` begin the ids of orders that the venue places itself. `derive` makes an id
    of the venue's form from 64 hex digits, the same for the same digits.
    """

    pattern: re.Pattern[str]
    reserved_prefixes: tuple[str, ...]
    derive: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class WebSocketForm:
    """How orders are sent over a venue's WebSocket; only for venues where each gets its own reply.

    `takes` tells whether an order can go that way, `encode` signs it under an id that the reply
    repeats, `decode` returns the venue's row of a reply or raises VenueAnswerError.
    """

    url: Callable[[Any], str]
    takes: Callable[[NewOrder], bool]
    encode: Callable[[Any, NewOrder, str], Mapping[str, Any]]
    decode: Callable[[Mapping[str, Any]], Mapping[str, Any]]


DEFAULT_RECV_WINDOW: Final = timedelta(seconds=5)
"""What a request of a venue without a fence is told to stay valid, where ccxt sends such a word."""


@dataclass(frozen=True, slots=True)
class VenueProfile:
    """One venue account and product: tables, and the few functions it truly needs.

    `code` is our name of it, `ccxt_id` ccxt's class. `credentials` turns key, secret and passphrase
    into ccxt's names. `read_refusal` finds a refusal in a parsed body, whatever the HTTP status.
    `fence` is None for a venue without a validity window: there "not found" proves nothing, ever.
    `expiry_headers` adds the venue's validity window (an instant in ms) to an order request where
    ccxt does not. `place_reply` reads the reply to a new order, `order_row` a row about one,
    `fill_row` a row of our trades, `stream_orders` a message of the user stream (none: it is not
    about orders); they raise ValueError on a broken one. `stream_ready` tells whether a message
    (None: the opening of the socket) means that the user stream is on, `stream_ended` that the
    venue ended it. `unwanted_headers` are what ccxt adds unasked (broker tags); they are not sent.
    `fills_by_id`: executions can be listed from a trade id on; else they go on by time.
    `market_names` gives a market's name in the venue's rows, and its base as the venue writes it.
    `websocket`: how orders may be sent over it, None where that is not offered.
    `endpoints` names, by call, the allowance of an endpoint that the venue counts apart; such a
    call spends that and WEIGHT's. `end_fields` are fields of a market with the time (ms) from which
    it takes no more orders, once that is announced. `bans` are HTTP statuses beside 418 that shut
    the whole address out, with how long. `needs_passphrase`: a key of this venue is of no use
    without one.
    """

    code: str
    ccxt_id: str
    kind: InstrumentKind
    options: Mapping[str, Any]
    credentials: Callable[[Credentials], dict[str, str]]
    client_ids: ClientIdForm
    allowances: Mapping[str, tuple[Allowance, ...]]
    weights: Mapping[str, int]
    read_refusal: Callable[[Any], Refusal | None]
    answers: Mapping[tuple[int | None, str], AnswerClass]
    answer_messages: Mapping[tuple[str, str], AnswerClass]
    rate_codes: frozenset[str]
    fence: Fence | None
    expiry_headers: Callable[[int], Mapping[str, str]] | None
    is_listed: Callable[[Mapping[str, Any]], bool]
    trading_status: Callable[[Mapping[str, Any]], TradingStatus]
    calls: OrderCalls
    order_params: Callable[[OrderIntent, str], dict[str, Any]]
    place_reply: Callable[[Mapping[str, Any]], VenueOrder | VenueAcknowledgement]
    order_row: Callable[[Mapping[str, Any]], VenueOrder]
    fill_row: Callable[[Mapping[str, Any]], VenueFill]
    stream_orders: Callable[[Mapping[str, Any]], Sequence[VenueOrder]]
    stream_ready: Callable[[Mapping[str, Any] | None], bool]
    stream_ended: Callable[[Mapping[str, Any]], bool]
    trades_window: timedelta
    margin_supported: bool
    unwanted_headers: frozenset[str] = frozenset()
    fills_by_id: bool = True
    market_names: Callable[[Mapping[str, Any]], tuple[str, str]] = ccxt_names
    websocket: WebSocketForm | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    end_fields: tuple[str, ...] = ()
    bans: Mapping[int, timedelta] = field(default_factory=dict)
    needs_passphrase: bool = False

    def endpoint(self, name: str) -> str:
        """Return whose allowance a call named in `weights` spends: its endpoint's, else WEIGHT."""
        return self.endpoints.get(name, EndpointClass.WEIGHT)

    def weight(self, name: str) -> int:
        """Return the documented weight of a call named in `weights`; 1 when it is not there."""
        # Too low is safe: the used-weight header corrects our count upwards.
        return self.weights.get(name, 1)
