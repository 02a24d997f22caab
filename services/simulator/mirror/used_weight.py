"""What the venue says is used of its weight, and which readings wait for that.

The venue counts per address and minute, whoever asks from there, and tells it in every reply. Of
that limit a connector lets scans use 60 %, other data 70 %, orders 80 % and exits all of it. Here
what can wait stays below the scans, and no reading of the mirror takes what orders and exits have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final

from services.common.rate_window import Allowance, RateWindow, read_used
from services.simulator.core.limits import WEIGHT_WINDOWS, Family
from services.simulator.market.source import Kind

_HEAVIEST: Final = 20
"""What the heaviest reading weighs: spot's list of rules."""
_FAMILIES: Final = {Kind.SPOT: Family.SPOT, Kind.PERPETUAL: Family.USDM}


class Need(IntEnum):
    """What a reading is for: the percent of the limit that may be used once it is answered."""

    UPKEEP = 50
    """Rules, owed rates, books and trades of what rests: paper orders fill later for it."""
    VALUE = 70
    """All prices, and the book of an order: without them orders are refused."""


class UsedWeight:
    """The venue's counts of spot and of perpetuals, as windows that slide."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._windows = {kind: RateWindow(_allowance(family)) for kind, family in _FAMILIES.items()}

    def note(self, kind: Kind, headers: Mapping[str, str]) -> None:
        """Take the count of a reply."""
        window = self._windows[kind]
        lower = {name.lower(): value for name, value in headers.items()}
        used = read_used(lower, window.allowance, own_reply=True)
        if used is not None:
            window.correct(self._monotonic(), used)

    def problem(self, kind: Kind, need: Need) -> str | None:
        """Return why a reading is put off now, None when it may be asked."""
        window, now = self._windows[kind], self._monotonic()
        wait = window.wait(now, _HEAVIEST, need)
        if wait <= 0:
            return None
        return (
            f"put off for {math.ceil(wait)} s: this address has used {window.total(now)} of the "
            f"{window.allowance.limit} that the venue's {kind.lower()} data may weigh in a minute"
        )


def _allowance(family: Family) -> Allowance:
    window = WEIGHT_WINDOWS[family]
    return Allowance(window.limit, window.seconds, window.header.lower())
