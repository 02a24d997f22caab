"""One stream of a connector: which rows it takes, when it gives up, how long it waits then."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import grpc
import pytest

from opensqt.market_maker.v1 import events_pb2
from services.common.errors import InvalidFieldError
from services.common.metrics import ServiceMetrics
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.live_book import LiveBook
from services.scanner.live_codec import rate_of
from services.scanner.live_feeds import Feed, FeedKind
from services.scanner.live_metrics import LiveMetrics
from services.scanner.live_rules import LiveRules
from services.scanner.live_stream import LiveStream
from tests.support.hand_clock import HandClock

LEGS = [InstrumentKey("perpy", name, InstrumentKind.PERPETUAL) for name in ("A", "B")]
RULES = LiveRules(silence=timedelta(seconds=20), max_backoff_seconds=30.0)
Session = list[Any] | Exception


class Waits(HandClock):
    """Notes how long was slept, and ends the stream's task after the last wait wanted."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Note the wait and move on."""
        self.waits.append(seconds)
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError
        await super().sleep(seconds)


class Script:
    """A connector's stub whose subscriptions bring what the script says, a second a row."""

    def __init__(self, clock: HandClock, sessions: list[Session]) -> None:
        self._clock = clock
        self._sessions = sessions
        self._rows: list[Any] = []
        self.cancelled_count = 0

    def SubscribeFundingRate(self, _request: object) -> Script:  # noqa: N802 - gRPC fixes the name
        """Begin the next session."""
        session = self._sessions.pop(0)
        if isinstance(session, Exception):
            raise session
        self._rows = list(session)
        return self

    async def read(self) -> Any:
        """Return the next row, then the end."""
        await HandClock.sleep(self._clock, 1.0)
        return self._rows.pop(0) if self._rows else grpc.aio.EOF

    def cancel(self) -> None:
        """Note that the session was left."""
        self.cancelled_count += 1


def row(symbol: str = "A", rate: str = "0.0001", *, settled: bool = False) -> Any:
    """Return a rate as a connector tells it."""
    update = events_pb2.FundingUpdate(symbol=symbol, settled=settled)
    update.rate.value = rate
    return update


async def waits_of(*sessions: Session, book: LiveBook | None = None) -> tuple[list[float], Script]:
    """Return how long the stream waited after each of the sessions, and the connector."""
    clock = Waits(len(sessions))
    news, metrics = book or LiveBook(), LiveMetrics(ServiceMetrics("scanner"))
    news.follow(LEGS, 0.0)
    script = Script(clock, list(sessions))
    stream = LiveStream(
        Feed("perpy", FeedKind.RATES),
        InstrumentKind.PERPETUAL,
        script,
        news,
        rules=RULES,
        clock=clock,
        metrics=metrics,
        jitter=lambda: 1.0,
    )
    with pytest.raises(asyncio.CancelledError):
        await stream.run()
    return clock.waits, script


def failed(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    """Return what a call raises."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "no")


async def test_waits_grow_with_failures_and_begin_anew_with_news() -> None:
    """A stream that brought nothing is opened ever later, one that did at once."""
    waits, script = await waits_of([row()], [], [], [row()], [])
    assert waits == [0.2, 0.4, 0.8, 0.2, 0.4]
    assert script.cancelled_count == 5


@pytest.mark.parametrize(
    "problem", [failed(grpc.StatusCode.PERMISSION_DENIED), ZeroDivisionError("a bug")]
)
async def test_what_will_be_refused_again_is_asked_seldom(problem: Exception) -> None:
    """A refusal for good, and a bug of ours, end nothing and are not tried in a hurry."""
    waits, _ = await waits_of(problem, problem)
    assert waits == [30.0, 30.0]


async def test_a_stream_that_is_silent_of_one_leg_is_opened_anew() -> None:
    """One leg that chatters does not hide that the other says nothing."""
    book = LiveBook()
    _, script = await waits_of([row("A")] * 40, book=book)
    # Rows are a second apart, and half the time that makes a leg stale is ten seconds.
    assert len(script._rows) == 29
    heard = book.news(LEGS[0])
    assert heard is not None
    assert heard.rate is not None
    assert heard.rate.at == 11.0
    assert book.news(LEGS[1]) != heard


@pytest.mark.parametrize("rate", ["0.051", "-0.051"])
def test_a_rate_beyond_belief_is_refused(rate: str) -> None:
    """The bound itself is believed."""
    with pytest.raises(InvalidFieldError):
        rate_of(row(rate=rate), 0.05)
    assert rate_of(row(rate="0.05"), 0.05) is not None


def test_a_settlement_that_passed_is_no_rate_of_the_coming_one() -> None:
    """Told after a gap beside the present rate, it must not replace that."""
    assert rate_of(row(settled=True), 0.05) is None
