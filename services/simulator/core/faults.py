"""Faults as data: which calls a rule matches, and what happens to them.

A rule lives at one of three stages, which its action fixes: the request (transport and replies),
the order (what the matching engine does with it) and the event (user stream messages). `nth` and
`times` count the calls the rule matched at its own stage.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class Stage(StrEnum):
    """Where a rule takes effect."""

    REQUEST = "request"
    ORDER = "order"
    EVENT = "event"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Delay(_Data):
    """Wait before the venue sees the request, or after it has acted and before it answers."""

    type: Literal["delay"]
    seconds: Seconds
    when: Literal["before", "after"] = "before"


class DropBefore(_Data):
    """Close the connection; the request never reached the venue."""

    type: Literal["drop_before"]


class DropAfter(_Data):
    """Act on the request, then close the connection without an answer."""

    type: Literal["drop_after"]


class HttpStatus(_Data):
    """Answer with this status and body, before acting or after having acted."""

    type: Literal["http_status"]
    status: Annotated[int, Field(ge=100, le=599)]
    body: str = ""
    when: Literal["before", "after"] = "before"


class TruncateBody(_Data):
    """Act, send a 200 with the first bytes of the body, complete as far as HTTP can tell."""

    type: Literal["truncate_body"]
    # `declared`: announce the full length and close early; the client sees a broken transfer.
    bytes: Annotated[int, Field(ge=0)]
    declared: bool = False


class EmptyBody(_Data):
    """Act, then answer 200 with nothing in it."""

    type: Literal["empty_body"]


class Reject(_Data):
    """Refuse with the venue's own code and words; nothing is done."""

    type: Literal["reject"]
    code: int
    msg: str
    status: int = 400


class RateLimit(_Data):
    """Answer 429, or the ban 418, with Retry-After; nothing is done."""

    type: Literal["rate_limit"]
    status: Literal[429, 418] = 429
    retry_after: Annotated[int, Field(ge=0)] = 1


class Partial(_Data):
    """Let the order meet liquidity for this share of its quantity only.

    One that rests post-only meets the rest of it with the next taker.
    """

    type: Literal["partial"]
    ratio: Annotated[Decimal, Field(gt=0, lt=1)]


class ZeroFill(_Data):
    """Let the order meet no liquidity at all."""

    type: Literal["zero_fill"]


class LateExecution(_Data):
    """Answer -1007 now and execute the order later, up to the venue's processing bound."""

    type: Literal["late_execution"]
    seconds: Seconds


class EventLate(_Data):
    """Send the event later."""

    type: Literal["event_late"]
    seconds: Seconds


class EventDuplicate(_Data):
    """Send the event twice."""

    type: Literal["event_duplicate"]


class EventReorder(_Data):
    """Send the event after the one that follows it."""

    type: Literal["event_reorder"]


class StreamCut(_Data):
    """Close the stream in place of sending the event."""

    type: Literal["stream_cut"]


Action = Annotated[
    Delay
    | DropBefore
    | DropAfter
    | HttpStatus
    | TruncateBody
    | EmptyBody
    | Reject
    | RateLimit
    | Partial
    | ZeroFill
    | LateExecution
    | EventLate
    | EventDuplicate
    | EventReorder
    | StreamCut,
    Field(discriminator="type"),
]
_ORDER_ACTIONS = (Partial, ZeroFill, LateExecution)
_EVENT_ACTIONS = (EventLate, EventDuplicate, EventReorder, StreamCut)


class Match(_Data):
    """Conditions a call must meet; what is left out matches anything.

    `operation` is the venue-neutral name of the call (`place_order`, `cancel_order`, `get_order`,
    ...) or of the event (`order_event`, `wallet_event`). `nth` picks one matching call, counted
    from 1; `times` bounds how often the rule applies; `probability` draws from `seed`.
    """

    method: str | None = None
    path: str | None = None
    operation: str | None = None
    venue: str | None = None
    symbol: str | None = None
    side: Literal["BUY", "SELL"] | None = None
    reduce_only: bool | None = None
    nth: Annotated[int, Field(ge=1)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Probability | None = None
    seed: int = 0


class FaultRule(_Data):
    """One fault: an id of the tester's, what it matches, what it does."""

    id: str
    match: Match = Match()
    action: Action

    @property
    def stage(self) -> Stage:
        """Return where the rule takes effect."""
        if isinstance(self.action, _ORDER_ACTIONS):
            return Stage.ORDER
        return Stage.EVENT if isinstance(self.action, _EVENT_ACTIONS) else Stage.REQUEST


@dataclass(frozen=True, slots=True)
class Call:
    """What a rule is matched against."""

    venue: str
    operation: str
    method: str = ""
    path: str = ""
    symbol: str | None = None
    side: str | None = None
    reduce_only: bool | None = None


def is_match(match: Match, call: Call) -> bool:
    """Tell whether a call meets every stated condition, counting aside."""
    # Written out: each call of a venue meets each rule.
    return (
        (match.method is None or match.method == call.method)
        and (match.path is None or match.path == call.path)
        and (match.operation is None or match.operation == call.operation)
        and (match.venue is None or match.venue == call.venue)
        and (match.symbol is None or match.symbol == call.symbol)
        and (match.side is None or match.side == call.side)
        and (match.reduce_only is None or match.reduce_only == call.reduce_only)
    )


# Not frozen: counts what a rule has met.
@dataclass(slots=True)
class _Armed:
    rule: FaultRule
    stage: Stage
    random: random.Random
    matched: int = 0
    applied: int = 0

    def applies(self) -> bool:
        """Count one matching call and tell whether the rule acts on it."""
        self.matched += 1
        match = self.rule.match
        if match.nth is not None and self.matched != match.nth:
            return False
        if match.times is not None and self.applied >= match.times:
            return False
        # drawn only for calls that count, so that a seed means the same calls in every run
        if match.probability is not None and self.random.random() >= match.probability:
            return False
        self.applied += 1
        return True


# Not frozen: rules come and go while the venue runs.
@dataclass(slots=True)
class FaultBook:
    """The rules in force and how often each was met and applied."""

    _armed: list[_Armed] = field(default_factory=list)

    def add(self, rules: Sequence[FaultRule]) -> None:
        """Arm rules; one with a known id replaces the old one and starts counting anew."""
        ids = {rule.id for rule in rules}
        self._armed = [armed for armed in self._armed if armed.rule.id not in ids]
        # A seeded generator is the point: the same seed must fail the same calls.
        for rule in rules:
            chance = random.Random(rule.match.seed)  # noqa: S311 - not for secrets
            self._armed.append(_Armed(rule, rule.stage, chance))

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    def actions(self, stage: Stage, call: Call) -> list[Action]:
        """Return the actions of one stage that apply to this call, and count them."""
        # the usual case, on the path of every order
        if not self._armed:
            return []
        return [
            armed.rule.action
            for armed in self._armed
            if armed.stage is stage and is_match(armed.rule.match, call) and armed.applies()
        ]

    def counts(self) -> list[dict[str, object]]:
        """Return each rule with its counts."""
        return [
            {
                "rule": armed.rule.model_dump(mode="json", exclude_none=True),
                "matched": armed.matched,
                "applied": armed.applied,
            }
            for armed in self._armed
        ]
