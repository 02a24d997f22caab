"""What a venue's answer proves about an order: an allow-list of definite answers, the rest unknown.

ccxt's exception class is never the judge: it depends on the host of the URL and calls a truncated
body and a refusal by the same name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class AnswerClass(StrEnum):
    """What may be believed after an answer; the names of `error_classification.csv`."""

    DEFINITE_REJECT = "definite_reject"
    NOT_EXECUTED_RETRYABLE = "not_executed_retryable"
    UNKNOWN_OUTCOME = "unknown_outcome"
    CANCEL_RACE_CHECK_FILL = "cancel_race_check_fill"
    DUPLICATE_ID_QUERY_EXISTING = "duplicate_id_query_existing"
    AUTH_OR_CONFIG_FATAL = "auth_or_config_fatal"
    IDEMPOTENT_NOOP = "idempotent_noop"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a body says beside "done": the venue's own code, as text, and its words."""

    code: str
    message: str


RATE_LIMITED_STATUSES = frozenset({418, 429})


def answers_of(
    codes: Mapping[AnswerClass, Iterable[int | str]],
) -> dict[tuple[int | None, str], AnswerClass]:
    """Return the table of venue codes that mean the same with HTTP 200 and any 4xx, by class."""
    return {(None, str(code)): answer for answer, row in codes.items() for code in row}


def classify_answer(
    status: int,
    code: str | None,
    message: str,
    answers: Mapping[tuple[int | None, str], AnswerClass],
    answer_messages: Mapping[tuple[str, str], AnswerClass],
) -> AnswerClass:
    """Classify a reply that is not a success.

    `answers` maps (HTTP status, venue code) to a class; a status of None stands for 200 (where some
    venues refuse) and any 4xx, never for a 5xx, because a server error says nothing about what
    happened behind it. `answer_messages` maps (venue code, start of the message) and goes first.
    """
    if code is not None:
        for (wanted, start), answer in answer_messages.items():
            if code == wanted and message.startswith(start) and status < 500:
                return answer
        exact = answers.get((status, code))
        if exact is not None:
            return exact
        # Behind a 5xx even a definite word may come from a gateway that knows nothing.
        if status < 500:
            general = answers.get((None, code))
            if general is not None:
                return general
    if status in RATE_LIMITED_STATUSES:
        return AnswerClass.NOT_EXECUTED_RETRYABLE
    # The default of the whole table: a code that a venue adds tomorrow must not prove anything.
    return AnswerClass.UNKNOWN_OUTCOME
