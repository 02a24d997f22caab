"""The fault matrix as data: which faults a simulated world can meet, where, and how hard.

Row numbers are those of the fault table (`make test-faults` prints its part). A kind names what a
world has to do; how it does it is the world's. Only rows that a single process in virtual time can
show are here: wire floods, namespaces and real kills have rigs of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Target(StrEnum):
    """What a fault strikes."""

    ORDER = "order"
    READ = "read"
    STREAM = "stream"
    DISK = "disk"
    CLOCK = "clock"
    PROCESS = "process"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One sort of fault; `low` and `high` bound its figure (seconds, or a share of a quantity)."""

    name: str
    rows: tuple[int, ...]
    target: Target
    low: float = 0.0
    high: float = 0.0


KINDS: Final = (
    FaultKind("request_lost", (1,), Target.ORDER),
    FaultKind("reply_lost", (2, 25, 35), Target.ORDER),
    FaultKind("executes_late", (3,), Target.ORDER, 0.05, 2.5),
    FaultKind("server_error_after", (4,), Target.ORDER),
    FaultKind("server_error_before", (4,), Target.ORDER),
    FaultKind("body_broken", (5,), Target.ORDER, 0, 60),
    FaultKind("body_empty", (5,), Target.ORDER),
    FaultKind("rate_limited", (6,), Target.ORDER, 1, 2),
    FaultKind("banned", (7,), Target.ORDER, 1, 3),
    FaultKind("waf_page", (8,), Target.ORDER),
    FaultKind("rejected", (9, 21), Target.ORDER),
    FaultKind("refused_for_now", (9,), Target.ORDER),
    FaultKind("partial_fill", (10,), Target.ORDER, 0.01, 0.95),
    FaultKind("zero_fill", (11,), Target.ORDER),
    FaultKind("fills_after_answer", (12, 13), Target.ORDER, 0.05, 2.0),
    FaultKind("duplicate_refused", (15, 16, 17), Target.ORDER),
    FaultKind("slow_reply", (25,), Target.ORDER, 0.05, 2.0),
    FaultKind("read_fails", (26, 27, 34), Target.READ),
    FaultKind("read_slow", (25,), Target.READ, 0.05, 1.0),
    FaultKind("read_rate_limited", (6,), Target.READ, 1, 2),
    FaultKind("trades_lag", (20,), Target.READ, 0.05, 1.0),
    FaultKind("event_late", (18,), Target.STREAM, 0.05, 3.0),
    FaultKind("event_duplicate", (18,), Target.STREAM),
    FaultKind("event_reorder", (18,), Target.STREAM),
    FaultKind("stream_cut", (19, 34), Target.STREAM),
    FaultKind("journal_full", (37,), Target.DISK, 0.1, 2.0),
    FaultKind("ledger_full", (37,), Target.DISK, 0.1, 2.0),
    FaultKind("fsync_slow", (38,), Target.DISK, 0.005, 0.2),
    FaultKind("clock_jump", (24, 50), Target.CLOCK, -60.0, 60.0),
    FaultKind("engine_killed", (28,), Target.PROCESS, 0.0, 1.0),
    FaultKind("connector_killed", (29,), Target.PROCESS, 0.0, 1.0),
    FaultKind("engine_killed_twice", (28, 31), Target.PROCESS, 0.0, 0.2),
    FaultKind("engine_paused", (32,), Target.PROCESS, 0.5, 5.0),
    FaultKind("connector_paused", (32,), Target.PROCESS, 0.2, 3.0),
    FaultKind("channel_cut", (34,), Target.PROCESS, 0.1, 3.0),
    FaultKind("price_moves", (21, 25), Target.MARKET, -0.02, 0.02),
    FaultKind("position_taken", (22,), Target.MARKET, 0.1, 1.0),
)
"""Every kind that a swarm may draw."""

BY_NAME: Final = {kind.name: kind for kind in KINDS}
