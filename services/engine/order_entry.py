"""Order entry over one long-lived call to a connector: half the wire's time of a unary call.

An order goes this way while the call is open, else by `PlaceOrder`; never both. What breaks after
the order was handed over leaves its outcome unknown: the connector keeps it by its client order id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Final

import grpc.aio
from google.protobuf import duration_pb2

from opensqt.market_maker.v1 import order_entry_pb2, resources_pb2, types_pb2
from services.common.call_errors import from_call_error, from_status, is_cancelled
from services.common.engine_epoch import epoch_metadata
from services.common.errors import OpensqtError, OutcomeUnknownError
from services.common.logs import get_logger
from services.common.time_codec import to_duration
from services.common.tracing import present_traceparent
from services.engine.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from opensqt.market_maker.v1 import exchange_pb2_grpc
    from services.common.clock import Clock

FIRST_PAUSE_SECONDS: Final = 0.2
MOST_PAUSE_SECONDS: Final = 1.0
# From the answer to the drive, to the hedge's own task, and to gRPC.
_TURNS_OF_A_HEDGE: Final = 5

_Response = order_entry_pb2.EnterOrdersResponse
_log = get_logger(__name__)


class OrderEntry:
    """One venue's order-entry call, opened again after each break."""

    def __init__(
        self,
        venue: str,
        stub: exchange_pb2_grpc.ExchangeServiceAsyncStub,
        clock: Clock,
        epoch: int = 0,
    ) -> None:
        self._venue = venue
        self._shown = epoch_metadata(epoch)
        self._stub = stub
        self._clock = clock
        self._ids = count(1)
        self._requests = _Requests()
        self._waiting: dict[int, asyncio.Future[_Response]] = {}
        self._leads: set[int] = set()
        self._deadlines = Deadlines()
        self.is_open = False

    @property
    def is_idle(self) -> bool:
        """Whether no order waits for its answer."""
        return not self._waiting

    async def place(
        self, request: resources_pb2.PlaceOrderRequest, seconds: float
    ) -> resources_pb2.Order:
        """Hand the order over and wait for its answer; call only while `is_open`.

        Raises what `PlaceOrder` stands for, OutcomeUnknownError when no answer comes in time.
        """
        entry = next(self._ids)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[entry] = answer
        if request.order_class == types_pb2.ORDER_CLASS_ENTRY:
            self._leads.add(entry)
        self._requests.put(
            order_entry_pb2.EnterOrdersRequest(
                entry_id=entry,
                order=request,
                timeout=_timeout_of(seconds),
                traceparent=present_traceparent(),
            )
        )
        try:
            with self._deadlines.within(seconds):
                response: _Response = await answer
        except TimeoutError:
            problem = f"no answer from {self._venue} in time"
            raise _unknown(request, problem) from None
        except OpensqtError as error:
            raise _unknown(request, error.message) from error
        finally:
            self._waiting.pop(entry, None)
            self._leads.discard(entry)
        if response.HasField("error"):
            raise from_status(response.error, client_order_id=request.client_order_id)
        return response.order

    async def run(self) -> None:
        """Keep the call open until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            was_open, error = await self._session()
            if is_cancelled():
                raise asyncio.CancelledError
            self._break(error)
            pause = FIRST_PAUSE_SECONDS if was_open else min(pause * 2, MOST_PAUSE_SECONDS)
            await self._clock.sleep(pause)

    async def _session(self) -> tuple[bool, OpensqtError]:
        was_open = False
        # A queue of its own: what an earlier call did not take must never be sent by a later one.
        requests = self._requests = _Requests()
        call = self._stub.EnterOrders(requests, metadata=self._shown)
        try:
            async for response in call:
                if not was_open:
                    was_open = self.is_open = True
                    _log.info("order_entry_open", venue=self._venue)
                is_lead = response.entry_id in self._leads
                self._answer(response)
                if is_lead:
                    await _let_hedge_leave()
        except grpc.aio.AioRpcError as error:
            return was_open, from_call_error(error)
        except asyncio.CancelledError:
            # gRPC says so too when the call alone was cancelled; only our own end is one.
            if is_cancelled():
                raise
        except Exception:
            # One odd answer must not end order entry for good: the next call is as good as new.
            _log.exception("order_entry_broken", venue=self._venue)
        finally:
            self.is_open = False
            requests.end()
            call.cancel()
        return was_open, OpensqtError("the connector ended the call", reason="STREAM_DROPPED")

    def _answer(self, response: _Response) -> None:
        # None: an answer that came after its caller's time; the resolver asks for that order.
        waiting = self._waiting.get(response.entry_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(response)

    def close(self) -> None:
        """Tell whoever still waits that the outcome is unknown here."""
        self._break(OpensqtError("the engine is stopping", reason="SERVICE_STOPPING"))

    def _break(self, error: OpensqtError) -> None:
        waiting = [one for one in self._waiting.values() if not one.done()]
        # Once per break, and per break only: a connector that is away is told of elsewhere.
        write = _log.warning if waiting else _log.debug
        write("order_entry_down", venue=self._venue, reason=error.reason, unanswered=len(waiting))
        for one in waiting:
            one.set_exception(error)


@asynccontextmanager
async def open_order_entry(
    venue: str, stub: exchange_pb2_grpc.ExchangeServiceAsyncStub, clock: Clock, epoch: int = 0
) -> AsyncIterator[OrderEntry]:
    """Keep an order-entry call open beside the block."""
    entry = OrderEntry(venue, stub, clock, epoch)
    task = asyncio.create_task(entry.run())
    try:
        yield entry
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        entry.close()


class _Requests:
    """The entries of one call, as gRPC takes them; ended, not left, when the call is over.

    No generator: gRPC may still wait in it when the call is gone, and it cannot be closed then.
    """

    def __init__(self) -> None:
        # No asyncio.Queue: it is bounded, joined and shared, and costs as much as the encoding.
        self._entries: deque[order_entry_pb2.EnterOrdersRequest | None] = deque()
        self._taker: asyncio.Future[None] | None = None

    def put(self, request: order_entry_pb2.EnterOrdersRequest) -> None:
        """Hand one entry over."""
        self._add(request)

    def end(self) -> None:
        """Let whoever waits for the next entry go."""
        self._add(None)

    def _add(self, entry: order_entry_pb2.EnterOrdersRequest | None) -> None:
        self._entries.append(entry)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> order_entry_pb2.EnterOrdersRequest:
        while not self._entries:
            self._taker = asyncio.get_running_loop().create_future()
            await self._taker
        request = self._entries.popleft()
        if request is None:
            raise StopAsyncIteration
        return request


async def _let_hedge_leave() -> None:
    """Ask gRPC for the next answer only when the hedge of this one can be on the wire."""
    for _ in range(_TURNS_OF_A_HEDGE):
        await asyncio.sleep(0)


@lru_cache(maxsize=16)
def _timeout_of(seconds: float) -> duration_pb2.Duration:
    return to_duration(timedelta(seconds=seconds))


def _unknown(request: resources_pb2.PlaceOrderRequest, problem: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(problem, client_order_id=request.client_order_id)
