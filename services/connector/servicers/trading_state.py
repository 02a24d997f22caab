"""Methods of `ExchangeService` that stop and resume opening on the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import trading_state_pb2
from services.common.codec import require_text, to_timestamp
from services.common.errors import FatalError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc.aio import ServicerContext

    from services.connector.order_part import OrderPart
    from services.connector.trading_halt import HaltState

    Context = ServicerContext[Any, Any]
    Change = trading_state_pb2.HaltTradingRequest | trading_state_pb2.ResumeTradingRequest

_logger = get_logger(__name__)
_MAX_REASON = 500
_MAX_NAME = 64


class TradingStateMethods:
    """Mixed into the servicer, which sets `_orders`; the interceptor sends what is raised."""

    _orders: OrderPart

    async def HaltTrading(
        self, request: trading_state_pb2.HaltTradingRequest, context: Context
    ) -> trading_state_pb2.HaltTradingResponse:
        """Stop opening."""
        halt = self._orders.limits.halt
        return trading_state_pb2.HaltTradingResponse(state=await self._change(request, halt.halt))

    async def ResumeTrading(
        self, request: trading_state_pb2.ResumeTradingRequest, context: Context
    ) -> trading_state_pb2.ResumeTradingResponse:
        """Allow opening again."""
        halt = self._orders.limits.halt
        return trading_state_pb2.ResumeTradingResponse(
            state=await self._change(request, halt.resume)
        )

    async def GetTradingState(
        self, request: trading_state_pb2.GetTradingStateRequest, context: Context
    ) -> trading_state_pb2.GetTradingStateResponse:
        """Return whether positions may be opened."""
        state = self._encode(self._orders.limits.halt.state())
        return trading_state_pb2.GetTradingStateResponse(state=state)

    async def _change(
        self, request: Change, change: Callable[[str, str], HaltState]
    ) -> trading_state_pb2.TradingState:
        reason = require_text(request, "reason", max_length=_MAX_REASON)
        name = "caller"
        if request.changed_by:
            name = require_text(request, "changed_by", max_length=_MAX_NAME)
        try:
            # In a thread: the event loop does not wait for the disk.
            state = await asyncio.to_thread(change, reason, name)
        except OSError as error:
            raise FatalError(
                f"the halt file cannot be written: {error.strerror}", reason="HALT_NOT_KEPT"
            ) from error
        _logger.warning("trading_halt_changed", halted=state.halted, by=name, why=reason)
        return self._encode(state)

    def _encode(self, state: HaltState) -> trading_state_pb2.TradingState:
        ban_end = self._orders.venue.budget.ban_end
        return trading_state_pb2.TradingState(
            halted=state.halted,
            reason=state.reason,
            changed_at=to_timestamp(state.at),
            changed_by=state.by,
            reduce_only=self._orders.limits.is_reduce_only,
            banned_until=None if ban_end is None else to_timestamp(ban_end),
        )
