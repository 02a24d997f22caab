"""The floor of a scan: the largest of rounds of requests, waits for limits, and parsing."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.scan_floor import floor_of
from benchmarks.witnessed_venue import Answer, read_answers

HISTORY = "/fapi/v1/fundingRate"
PAGE = json.dumps(
    [{"symbol": "BTCUSDT", "fundingTime": 1_774_000_000_000, "fundingRate": "0.00010000"}]
).encode()


EMPTY = b'{"result": {"list": []}}'


def answers(path: str, count: int, body: bytes = EMPTY) -> list[Answer]:
    """Return so many answers to one path."""
    return [Answer(path, 200, body)] * count


def test_venues_are_asked_at_once_so_the_longest_counts() -> None:
    """Thirteen requests by six at once are three rounds of 50 ms; six of another venue hide."""
    floor = floor_of([*answers(HISTORY, 13, PAGE), *answers("/api/v3/depth", 6)], 6)
    assert floor.calls == 3 * 0.05
    assert floor.seconds >= floor.calls


def test_limits_count_by_the_share_that_scans_have() -> None:
    """Of 500 requests in five minutes 300 are for scans; the next one waits for the next window."""
    assert floor_of(answers(HISTORY, 300, PAGE), 8).weight == 0
    assert floor_of(answers(HISTORY, 301, PAGE), 8).weight == 300
    assert floor_of(answers("/v5/market/funding/history", 421), 8).weight == 5


def test_record_is_read_from_where_a_scan_began(tmp_path: Path) -> None:
    """Answers before the mark are not of the scan; a body may hold line ends."""
    record = tmp_path / "record"
    head = b'{"path": "%b", "status": 200, "size": 3}\n'
    first, second = head % b"/one" + b"[\n]", head % b"/fapi/v1/time" + b"[1]"
    record.write_bytes(first + second)
    found = read_answers(record, len(first))
    assert [(each.path, each.body, each.is_of_scan) for each in found] == [
        ("/fapi/v1/time", b"[1]", False)
    ]
    assert len(read_answers(record)) == 2
