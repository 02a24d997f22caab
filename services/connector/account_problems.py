"""What is wrong with an account's settings, in words that say what to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

MAX_CLOCK_SKEW: Final = timedelta(seconds=1)
"""Beyond this the venue's window for signed requests is at risk."""

_ALLOWANCE: Final = "VENUE_RATE_LIMITED"


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """Settings as read back; None is unknown, `unread` names what could not be read and why."""

    is_perpetual: bool
    can_read: bool | None = None
    can_trade: bool | None = None
    can_withdraw: bool | None = None
    ip_restricted: bool | None = None
    hedge_mode: bool | None = None
    margin_type: str = ""
    clock_skew: timedelta | None = None
    unread: tuple[str, ...] = ()


def find_problems(facts: AccountFacts) -> list[str]:
    """Return one sentence for each problem, the dangerous ones first."""
    problems = []
    if facts.can_withdraw:
        problems.append("The key may withdraw: make one without that permission.")
    if facts.ip_restricted is False:
        problems.append("The key works from any address: restrict it to this host's.")
    if facts.can_trade is False:
        product = "futures" if facts.is_perpetual else "spot and margin"
        problems.append(f"The key may not trade: enable {product} trading for it.")
    if facts.can_read is False:
        problems.append("The key may not read: enable reading for it.")
    # In hedge mode an order without positionSide is refused (USD-M -4061), exits included.
    if facts.hedge_mode:
        problems.append("The account is in hedge mode: switch it to one-way mode.")
    if facts.margin_type == "isolated":
        problems.append("The symbol is on isolated margin: switch it to cross margin.")
    if facts.clock_skew is not None and abs(facts.clock_skew) > MAX_CLOCK_SKEW:
        seconds = facts.clock_skew.total_seconds()
        problems.append(f"This host's clock differs by {seconds:.1f} s: synchronize it.")
    problems.extend(f"Could not read {what}: {_remedy(what)}." for what in facts.unread)
    return problems


def _remedy(unread: str) -> str:
    # A scan holds the venue's allowance for a minute at most, and nothing is wrong with the key.
    return "ask again in a minute" if _ALLOWANCE in unread else "check the key and the venue"
