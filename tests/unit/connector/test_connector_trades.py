"""Paging of executions over windows of time and runs of ids, and settings of the connector."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from services.common.errors import InvalidFieldError
from services.connector.call_deadline import bound_by_deadline
from services.connector.order_types import Side, VenueFill
from services.connector.profile import Priority
from services.connector.rate_budget import CALL_DEADLINE, CALL_PRIORITY
from services.connector.record_shelf import RecordShelf
from services.connector.settings import ConnectorPart
from services.connector.trade_reader import TradeReader, TradesRequest
from services.connector.venues import find_profile
from tests.support.connector_orders import instrument

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(hours=24)


class HandTrades:
    """A venue that bounds the span of one request, as Binance spot does."""

    def __init__(self, times: list[datetime]) -> None:
        self.rows = [trade(number, time) for number, time in enumerate(sorted(times), start=1)]
        self.calls = 0

    async def fills(
        self,
        _instrument: Any,
        *,
        start: datetime | None,
        end: datetime | None,
        limit: int,
        first_trade_id: str = "",
    ) -> list[VenueFill]:
        """Return rows from an id on, or of a window no longer than allowed, or the newest."""
        self.calls += 1
        if first_trade_id:
            return [row for row in self.rows if int(row.trade_id) >= int(first_trade_id)][:limit]
        if start is None:
            return self.rows[-limit:]
        assert end is not None
        assert end - start < WINDOW
        return [row for row in self.rows if row.time and start <= row.time <= end][:limit]


def trade(number: int, time: datetime) -> VenueFill:
    """Return a fill of 0.001 BTC at 100."""
    return VenueFill(
        trade_id=str(number),
        exchange_order_id="1",
        exchange_symbol="BTCUSDT",
        side=Side.BUY,
        price=Decimal(100),
        quantity=Decimal("0.001"),
        fee=Decimal(0),
        fee_asset="BTC",
        time=time,
    )


def reader(venue: HandTrades, now: datetime) -> TradeReader:
    """Return a reader on the hand-made venue at an instant."""

    class Clock:
        def now(self) -> datetime:
            return now

    class Account:
        clock = Clock()
        profile = find_profile("binance")

    class Desk:
        shelf = RecordShelf(10)

    return TradeReader(cast("Any", Account()), cast("Any", venue), cast("Any", Desk()))


async def read_all(
    source: TradeReader, start: datetime, end: datetime | None, page_size: int
) -> list[str]:
    """Return the ids of all pages."""
    seen: list[str] = []
    token = ""
    for _ in range(500):
        request = TradesRequest(instrument(), start, end, page_size, token)
        fills, token = await source.page(request)
        assert len(fills) <= page_size
        seen.extend(fill.trade_id for fill in fills)
        if not token:
            return seen
    raise AssertionError("the pages do not end")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 20 * 24 * 60), max_size=40),
    st.integers(1, 7),
    st.integers(0, 20 * 24 * 60),
)
def test_pages_give_every_execution_of_the_span_once(
    minutes: list[int], page_size: int, end_minute: int
) -> None:
    """Whatever the gaps and the page size, pages give the rows of [start, end) once, in order."""
    venue = HandTrades([START + timedelta(minutes=minute) for minute in minutes])
    end = START + timedelta(minutes=end_minute)
    source = reader(venue, START + timedelta(days=21))
    seen = asyncio.run(read_all(source, START, end, page_size))
    assert seen == [row.trade_id for row in venue.rows if row.time and row.time < end]


async def test_a_long_silence_is_crossed_in_bounded_steps() -> None:
    """Months without a trade cost a few windows per call, and the pages still end."""
    venue = HandTrades([START + timedelta(days=95)])
    source = reader(venue, START + timedelta(days=100))
    assert await read_all(source, START, None, 100) == ["1"]


async def test_without_a_start_the_newest_come_in_one_page() -> None:
    """With no start there is one page: the newest rows."""
    venue = HandTrades([START + timedelta(minutes=n) for n in range(5)])
    source = reader(venue, START + timedelta(days=1))
    request = TradesRequest(instrument(), None, None, 2, "")
    fills, token = await source.page(request)
    assert ([fill.trade_id for fill in fills], token) == (["4", "5"], "")


@pytest.mark.parametrize("token", ["x1", "i", "t", "iabc", "t1x", "t99999999999999999", "i١", "-"])
async def test_token_that_is_not_ours_is_refused(token: str) -> None:
    """A foreign page token is a wrong field, not a crash."""
    source = reader(HandTrades([]), START)
    with pytest.raises(InvalidFieldError) as refused:
        await source.page(TradesRequest(instrument(), START, None, 10, token))
    assert refused.value.field == "page_token"


async def test_deadline_of_the_caller_reaches_what_waits() -> None:
    """Every unary method sets the caller's deadline, and none when the caller has none."""

    class Context:
        remaining: float | None = 5.0

        def invocation_metadata(self) -> None:
            return None

        def time_remaining(self) -> float | None:
            return self.remaining

    @bound_by_deadline
    class Servicer:
        async def GetThing(self, _request: None, _context: Context) -> float | None:  # noqa: N802 - as gRPC names it
            return CALL_DEADLINE.get()

    context = Context()
    assert await Servicer().GetThing(None, context) is not None
    context.remaining = None
    assert await Servicer().GetThing(None, context) is None


@pytest.mark.parametrize(
    ("told", "priority"),
    [
        ((), Priority.DATA),
        ((("read-priority", "scan"),), Priority.SCAN),
        ((("x-request-id", "a"), ("read-priority", "scan")), Priority.SCAN),
        ((("read-priority", "exit"),), Priority.DATA),
        ((("priority", "scan"),), Priority.DATA),
    ],
)
async def test_a_caller_may_put_its_reads_behind_others_and_never_before(
    told: tuple[tuple[str, str], ...], priority: Priority
) -> None:
    """Only the word for a scan is heard; each call starts from the rank of a plain read."""

    class Context:
        def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
            return told

        def time_remaining(self) -> None:
            return None

    @bound_by_deadline
    class Servicer:
        async def GetThing(self, _request: None, _context: Context) -> Priority:  # noqa: N802 - as gRPC names it
            return CALL_PRIORITY.get()

    CALL_PRIORITY.set(Priority.SCAN)
    assert await Servicer().GetThing(None, Context()) is priority


def part(**changes: Any) -> ConnectorPart:
    """Return settings of a spot connector."""
    values: dict[str, Any] = {"exchange": "binance", "ledger_path": Path("x.ledger")}
    return ConnectorPart(**{**values, **changes})


def test_fence_is_the_venues_unless_set() -> None:
    """Production's fence is receive window, processing bound and clock bound of the venue."""
    held = part().fence()
    assert held is not None
    assert held.total == timedelta(seconds=16)
    short = part(recv_window_ms=500, venue_processing_seconds=0.5, clock_bound_seconds=0.1)
    fence = short.fence()
    assert fence is not None
    assert fence.total == timedelta(seconds=1.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"exchange": "nosuch"},
        {"api_key": SecretStr("only the key")},
        {"base_url": "ftp://127.0.0.1"},
        {"recv_window_ms": 0},
        {"unknown": 1},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(changes: dict[str, Any]) -> None:
    """Unknown venues, half a key, other schemes and unknown names do not start."""
    with pytest.raises(ValidationError):
        part(**changes)


def test_secrets_are_masked_in_every_form() -> None:
    """Neither repr nor text of the settings shows a key."""
    held = part(api_key=SecretStr("canary-key"), api_secret=SecretStr("canary-secret"))
    assert "canary" not in f"{held!r} {held}"
