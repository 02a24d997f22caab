"""The least time a scan can take: what its plan, the venues' limits and its answers cost alone.

The floor is the largest of three: the requests of a venue over its concurrency times its response
time, the time its rate limit makes so many requests wait, and the CPU time of parsing the same
answers, measured with nothing else at work.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.scan_stage import RESPONSE_SECONDS
from opensqt.market_maker.v1 import exchange_pb2
from services.connector.profile import EndpointClass
from services.connector.rate_lanes import SCAN_CALLS_AT_ONCE
from services.connector.settlement_columns import read_clean, to_columns
from services.connector.venues import find_profile
from services.scanner.venue_codec import HistoryRead, read_history

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.witnessed_venue import Answer

# What a connector leaves to other reads and to orders is not there for scans: rate_budget.
_SHARE_OF_SCANS: Final = 0.6
_FUNDING_HISTORY: Final = "/fapi/v1/fundingRate"
_BYBIT_HISTORY: Final = "/v5/market/funding/history"


@dataclass(frozen=True, slots=True)
class Floor:
    """The three parts in seconds; `seconds` is the largest."""

    calls: float
    weight: float
    parsing: float

    @property
    def seconds(self) -> float:
        """Return the floor."""
        return max(self.calls, self.weight, self.parsing)


def floor_of(answers: Sequence[Answer], concurrency: int = SCAN_CALLS_AT_ONCE) -> Floor:
    """Return the floor of the requests that these answers are to, so many of a venue at once."""
    calls = Counter(venue_of(answer.path) for answer in answers)
    rounds = max((math.ceil(count / concurrency) for count in calls.values()), default=0)
    return Floor(
        calls=rounds * RESPONSE_SECONDS,
        weight=max((_limit_seconds(*each) for each in _limited(answers)), default=0.0),
        parsing=parsing_seconds(answers),
    )


def venue_of(path: str) -> str:
    """Return the venue that a path belongs to."""
    if path.startswith("/v5/"):
        return "bybit-linear"
    return "binanceusdm" if path.startswith("/fapi/") else "binance"


def _limited(answers: Iterable[Answer]) -> list[tuple[str, str, int]]:
    """Return (venue, endpoint class, requests) of what has a limit that a scan could reach."""
    paths = Counter(answer.path for answer in answers)
    bybit = sum(count for path, count in paths.items() if path.startswith("/v5/"))
    return [
        ("binanceusdm", EndpointClass.FUNDING_HISTORY, paths[_FUNDING_HISTORY]),
        ("bybit-linear", EndpointClass.WEIGHT, bybit),
    ]


def _limit_seconds(venue: str, endpoint_class: str, count: int) -> float:
    """Return how long the last of so many requests must wait for the venue's limit."""
    allowance = find_profile(venue).allowances[endpoint_class][0]
    # A window that slides: the first share leaves at once, each further one a window later.
    windows = (count - 1) // int(allowance.limit * _SHARE_OF_SCANS) if count else 0
    return float(windows * allowance.window_seconds)


def parsing_seconds(answers: Sequence[Answer]) -> float:
    """Return the least time that parsing takes: the busiest process, or all on these cores.

    A connector reads the venue's JSON and makes columns of its settlements, the scanner reads those
    from the wire; each is one thread. Other rows count as JSON only, so this is a floor.
    """
    by_venue: dict[str, float] = defaultdict(float)
    pages: list[bytes] = []
    for answer in answers:
        begun = time.process_time()
        page = _page(answer.path, json.loads(answer.body))
        if page is not None:
            pages.append(page.SerializeToString())
        by_venue[venue_of(answer.path)] += time.process_time() - begun
    begun = time.process_time()
    history = HistoryRead()
    for sent in pages:
        read_history(exchange_pb2.GetHistoricalFundingRatesResponse.FromString(sent), history)
    parts = [*by_venue.values(), time.process_time() - begun]
    return max(max(parts), sum(parts) / (os.cpu_count() or 1))


def _page(path: str, value: Any) -> exchange_pb2.GetHistoricalFundingRatesResponse | None:
    """Return a venue's page of settlements as a connector passes it on; None for other answers."""
    if path == _FUNDING_HISTORY:
        settled = read_clean(value, str) or []
    elif path == _BYBIT_HISTORY:
        settled = [
            ((int(row["fundingRateTimestamp"]), row["symbol"]), row["fundingRate"])
            for row in value["result"]["list"]
        ]
    else:
        return None
    return exchange_pb2.GetHistoricalFundingRatesResponse(columns=to_columns(settled))
