"""What a user does about the reason that a position or an engine gives."""

from __future__ import annotations

_LIMIT = "a limit in [connector.limits] of that connector; enter less, or change it there"
_LATER = "passing; enter again in a moment"
_ADVICE = {
    "TRADING_HALTED": "arb doctor shows which connector is halted; arb resume --venue NAME",
    "REDUCE_ONLY_MODE": "reduce_only is set in [connector.limits] of that connector",
    "SYMBOL_NOT_ALLOWED": _LIMIT,
    "ORDER_TOO_LARGE": _LIMIT,
    "PRICE_OUTSIDE_BAND": _LIMIT,
    "REFERENCE_PRICE_STALE": "that connector has no fresh price; enter again when it has",
    "OPENING_RATE_EXCEEDED": _LATER,
    "CALL_LIMIT_REACHED": _LATER,
    "VENUE_RATE_LIMITED": _LATER,
    "VENUE_REFUSED_FOR_NOW": _LATER,
    "VENUE_UNREACHABLE": "that connector cannot reach its venue; nothing was sent",
    "VENUE_BANNED": "arb doctor tells until when the venue bans the address",
    "VENUE_KEY_REFUSED": "the venue refused the API key of that connector; arb doctor tells more",
    "SCOPE_MISSING": "the engine's token lacks a scope at that connector",
    "LEDGER_UNAVAILABLE": "that connector cannot write its order ledger; is its disk full?",
    "ORDER_OUTCOME_UNKNOWN_PAST_BUDGET": (
        "an order is in doubt: look for it at the venue; arb resume --reason ... once it is clear"
    ),
}


def with_advice(reason: str) -> str:
    """Return a reason with what to do about it, where that is known."""
    # The engine's words are names in capitals, some after a word of their own.
    for name in reversed(reason.split()):
        if name in _ADVICE:
            return f"{reason} - {_ADVICE[name]}"
    return reason
