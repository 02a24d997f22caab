"""One stream of a connector: opened, read, and after every gap opened again."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import grpc

from opensqt.market_maker.v1 import events_pb2, exchange_pb2
from services.common.call_errors import from_call_error, is_cancelled
from services.common.errors import InvalidFieldError, RejectedError, RetryableError
from services.common.logs import get_logger
from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.live_codec import quote_of, rate_of
from services.scanner.live_feeds import Feed, FeedKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.common.clock import Clock
    from services.common.errors import OpensqtError
    from services.scanner.live_book import LiveBook
    from services.scanner.live_metrics import LiveMetrics
    from services.scanner.live_rules import LiveRules

_FIRST_BACKOFF_SECONDS = 0.2
_CHECK_SECONDS = 0.5
_RANDOM = random.SystemRandom()
_log = get_logger(__name__)


class LiveStream:
    """Brings the rows of one feed into the book until it is cancelled.

    A stream that ends, fails, or is silent about any followed leg for half the time that makes a
    leg stale is a gap: it is counted, and after a wait the stream is opened again, which brings a
    snapshot. Nothing here makes an old row look new: rows keep the time they came.
    """

    def __init__(
        self,
        feed: Feed,
        kind: InstrumentKind,
        stub: Any,
        book: LiveBook,
        *,
        rules: LiveRules,
        clock: Clock,
        metrics: LiveMetrics,
        jitter: Callable[[], float] = _RANDOM.random,
    ) -> None:
        self._feed = feed
        self._kind = kind
        self._stub = stub
        self._book = book
        self._rules = rules
        self._silence = rules.silence.total_seconds() / 2
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._heard: dict[str, float] = {}

    async def run(self) -> None:
        """Read until cancelled."""
        failures = 0
        while True:
            least = 0.0
            try:
                cause = await self._session()
            except grpc.aio.AioRpcError as failed:
                cause, error = "failed", from_call_error(failed)
                least = self._least_wait(error)
                # Once for an outage; the counter has the rest.
                if failures == 0 or self._heard:
                    _log.warning(
                        "live_stream_failed",
                        exchange=self._feed.venue,
                        stream=self._feed.kind.value,
                        reason=error.reason,
                    )
            except Exception:
                # The other streams must not end with this one.
                _log.exception("live_stream_broken", exchange=self._feed.venue)
                cause, least = "failed", self._rules.max_backoff_seconds
            if is_cancelled():
                raise asyncio.CancelledError
            failures = 0 if self._heard else failures + 1
            self._metrics.gaps.labels(self._feed.venue, self._feed.kind.value, cause).inc()
            await self._clock.sleep(max(least, self._backoff(failures)))

    async def _session(self) -> str:
        """Open the stream and read it; return why it is over: `ended` or `silent`."""
        self._heard = {}
        began = checked = self._clock.monotonic()
        call = self._open()
        try:
            while True:
                try:
                    async with asyncio.timeout(self._silence):
                        row = await call.read()
                except TimeoutError:
                    return "silent"
                if row is grpc.aio.EOF:
                    return "ended"
                now = self._clock.monotonic()
                self._take(row, now)
                if now - checked >= _CHECK_SECONDS:
                    checked = now
                    if self._is_silent_of_a_leg(began, now):
                        return "silent"
        finally:
            call.cancel()

    def _open(self) -> Any:
        if self._feed.kind is FeedKind.RATES:
            return self._stub.SubscribeFundingRate(exchange_pb2.SubscribeFundingRateRequest())
        request = exchange_pb2.SubscribePriceRequest(symbols=self._feed.symbols)
        return self._stub.SubscribePrice(request)

    def _take(self, row: events_pb2.FundingUpdate | events_pb2.PriceChange, now: float) -> None:
        leg = InstrumentKey(self._feed.venue, row.symbol, self._kind)
        # The rates of all perpetuals come; most are nobody's leg.
        if self._book.news(leg) is None:
            return
        try:
            if isinstance(row, events_pb2.FundingUpdate):
                rate = rate_of(row, self._rules.max_rate)
                if rate is None:
                    return
                self._book.take_rate(leg, rate, now)
            else:
                quote = quote_of(row)
                if quote is None:
                    return
                self._book.take_quote(leg, quote, now)
        except InvalidFieldError:
            # The leg keeps what it had, grows old with it, and is marked.
            self._metrics.malformed.labels(self._feed.venue, self._feed.kind.value).inc()
        else:
            self._heard[row.symbol] = now

    def _is_silent_of_a_leg(self, began: float, now: float) -> bool:
        return any(
            now - max(began, news.since, self._heard.get(leg.symbol, 0.0)) > self._silence
            for leg in self._book.legs
            if self._brings(leg) and (news := self._book.news(leg)) is not None
        )

    def _brings(self, leg: InstrumentKey) -> bool:
        if leg.venue != self._feed.venue:
            return False
        return self._feed.kind is FeedKind.RATES or leg.symbol in self._feed.symbols

    def _backoff(self, failures: int) -> float:
        """Return seconds to wait: doubling, with jitter."""
        doubled = _FIRST_BACKOFF_SECONDS * float(2 ** min(failures, 16))
        return min(doubled, self._rules.max_backoff_seconds) * (0.5 + 0.5 * self._jitter())

    def _least_wait(self, error: OpensqtError) -> float:
        """Return what the connector asks to wait; what it refuses now it will refuse again."""
        if isinstance(error, RetryableError) and error.retry_after is not None:
            return error.retry_after.total_seconds()
        return self._rules.max_backoff_seconds if isinstance(error, RejectedError) else 0.0
