"""Answers that are kept as bytes: the same bytes as made anew, and never older than the market."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from services.simulator.bootstrap import make_simulation
from services.simulator.core.clock import millis
from services.simulator.core.faults import FaultRule
from services.simulator.core.limits import WEIGHT_WINDOWS, Family
from services.simulator.core.money import text8
from services.simulator.gateway import Gateway, Reply, Request
from services.simulator.kept_rows import KeptRows
from services.simulator.settlement_blocks import BLOCK_MS, SettlementBlocks
from tests.support.simulator import simulator_settings
from tests.support.tiny_market import HandClock

HISTORY = "/fapi/v1/fundingRate"
START = datetime(2026, 3, 1, 15, 59, 50, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Venue:
    """Asks a gateway, on a clock moved by hand that stands ten seconds before funding."""

    def __init__(self) -> None:
        self.clock = HandClock(START)
        settings = simulator_settings(market={"symbol_count": 12, "seed": 7})
        self.simulation = make_simulation(settings, wire=self.clock)
        self.gateway = Gateway(self.simulation)

    def reply(self, path: str, query: str = "") -> Reply:
        """Return the answer to one request."""
        request = Request("GET", path, query, "", None, "127.0.0.1")
        return self.gateway.handle(self.gateway.receive(request))

    def rows(self, path: str, query: str = "") -> list[Any]:
        """Return the rows of an answer."""
        rows: list[Any] = json.loads(self.reply(path, query).body)
        return rows

    def expected(self, start: datetime, end: datetime | None, limit: int) -> bytes:
        """Return what the market itself says of the settlements of all symbols, encoded anew."""
        market = self.simulation.market
        found = market.source.settlements(None, start, end, limit, market.now())
        rows = [
            {
                "symbol": row.symbol,
                "fundingTime": millis(row.time),
                "fundingRate": text8(row.rate),
                "markPrice": text8(row.mark_price),
            }
            for row in found
        ]
        return json.dumps(rows, separators=(",", ":")).encode()


def _query(start: datetime, end: datetime | None, limit: int) -> str:
    until = "" if end is None else f"&endTime={millis(end)}"
    return f"startTime={millis(start)}{until}&limit={limit}"


def test_pages_from_blocks_are_the_pages_of_the_market() -> None:
    """Byte for byte, within a block, over several, cut by the limit, empty, past the present."""
    venue = Venue()
    day = START.replace(hour=0, minute=0, second=0)
    for start, end, limit in (
        (day - 72 * HOUR, day, 1000),
        (day - 72 * HOUR, day, 7),
        (day - 8 * HOUR, day - timedelta(milliseconds=1), 1000),
        (day - 3 * HOUR, day - HOUR, 1000),
        (day, None, 1000),
        (day - 30 * HOUR, START + 9 * HOUR, 1000),
        (day, day - HOUR, 1000),
        (START + HOUR, START + 2 * HOUR, 1000),
        (START - 2000 * HOUR, None, 50),
    ):
        for _ in range(2):
            reply = venue.reply(HISTORY, _query(start, end, limit))
            assert reply.body == venue.expected(start, end, limit)


def test_a_settlement_shows_at_once_where_its_block_was_read_before() -> None:
    """The block of the present is read again after the hour, and kept whole when it has ended."""
    venue = Venue()
    query = _query(START - 8 * HOUR, None, 1000)
    before = venue.rows(HISTORY, query)
    venue.clock.move(11)
    after = venue.rows(HISTORY, query)
    assert after[: len(before)] == before
    assert {row["fundingTime"] for row in after[len(before) :]} == {millis(START) + 10_000}
    venue.clock.move(BLOCK_MS / 1000)
    assert venue.reply(HISTORY, query).body == venue.expected(START - 8 * HOUR, None, 1000)


def test_blocks_keep_no_more_than_their_bound() -> None:
    """The longest unasked are given up, and made again alike."""
    market = Venue().simulation.market
    now = millis(START)
    blocks = SettlementBlocks(market.source, lambda row: row.symbol.encode(), max_bytes=4000)
    pages = [(now - (n + 1) * BLOCK_MS, now - n * BLOCK_MS) for n in range(1, 20)]
    made = [blocks.page(start, end, 1000, now) for start, end in pages]
    assert blocks.kept_bytes <= 4000
    assert [blocks.page(start, end, 1000, now) for start, end in pages] == made
    assert blocks.page(0, now, 1000, now) is None


def test_a_fault_rule_acts_on_an_answer_that_is_kept() -> None:
    """Armed between two equal requests it refuses the second; disarmed, the bytes are the old."""
    venue = Venue()
    query = _query(START - 48 * HOUR, START - 24 * HOUR, 1000)
    first = venue.reply(HISTORY, query)
    rule = {"id": "r", "action": {"type": "reject", "code": -1000, "msg": "no", "status": 400}}
    venue.simulation.faults.add([FaultRule.model_validate(rule)])
    assert json.loads(venue.reply(HISTORY, query).body) == {"code": -1000, "msg": "no"}
    venue.simulation.faults.clear()
    assert venue.reply(HISTORY, query).body == first.body


def test_a_kept_answer_still_counts_against_the_limit() -> None:
    """Every page costs its weight; over the limit the answer is 429 and not what is kept."""
    venue = Venue()
    query = _query(START - 48 * HOUR, START - 24 * HOUR, 1000)
    limit = WEIGHT_WINDOWS[Family.FUNDING_HISTORY].limit
    assert {venue.reply(HISTORY, query).status for _ in range(limit)} == {200}
    assert venue.reply(HISTORY, query).status == 429


def test_the_unfinished_candle_is_never_a_kept_one() -> None:
    """Asked for again later it has moved on; the finished ones before it are the same bytes."""
    venue = Venue()
    path, query = "/fapi/v1/klines", "symbol=BTCUSDT&interval=1h&limit=5"
    first = venue.rows(path, query)
    venue.clock.move(5)
    second = venue.rows(path, query)
    assert second[:-1] == first[:-1]
    assert second[-1][0] == first[-1][0]
    assert second[-1][5] != first[-1][5]
    venue.clock.move(3600)
    third = venue.rows(path, query)
    assert third[:3] == second[1:4]
    assert third[3][0] == second[4][0]
    assert third[3] != second[4]


def test_prices_and_books_follow_the_market() -> None:
    """Bulk answers move on with the clock however often they were asked for before."""
    venue = Venue()
    paths = ("ticker/24hr", "ticker/bookTicker", "premiumIndex")
    for prefix in ("/fapi/v1/", "/api/v3/"):
        asked = [prefix + path for path in paths if prefix != "/api/v3/" or path != "premiumIndex"]
        before = [venue.reply(path).body for path in asked]
        venue.clock.move(60)
        after = [venue.reply(path).body for path in asked]
        assert all(one != other for one, other in zip(before, after, strict=True))


def test_rows_are_kept_by_the_object_and_within_a_bound() -> None:
    """An equal row that is another object is encoded anew, and the first kept goes first."""
    made: list[tuple[int]] = []

    def encode_row(row: tuple[int]) -> bytes:
        made.append(row)
        return str(row[0]).encode()

    kept = KeptRows(encode_row, max_rows=2)
    rows = [(number,) for number in (1000, 1001, 1002)]
    assert kept.array(rows[:2]) == kept.array(rows[:2]) == b"[1000,1001]"
    assert len(made) == 2
    assert kept.array(rows) == b"[1000,1001,1002]"
    assert len(kept) == 2
    assert kept.array(rows[:1]) == b"[1000]"
    assert len(made) == 4
