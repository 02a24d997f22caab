"""EngineService: decode, call one use case, encode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import engine_pb2, engine_pb2_grpc
from services.common.codec import require_text
from services.common.errors import InvalidFieldError
from services.common.logs import bind_context
from services.common.paging import page_size, take_page
from services.engine import command_codec as decode
from services.engine.strategy_codec import MODE_TO_WIRE, decision_to_proto, switch_command
from services.engine.view_codec import position_to_proto, status_to_proto
from services.engine.wire_enums import STATUS_FROM_WIRE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import grpc.aio

    from services.engine.ports import EngineApi
    from services.engine.strategy_api import StrategyApi
    from services.engine.views import PositionView
    from services.engine.watching import PositionFeed


class EngineServicer(engine_pb2_grpc.EngineServiceServicer):
    """The engine's use cases on the wire; errors are turned into statuses by the server."""

    def __init__(self, engine: EngineApi, feed: PositionFeed, strategy: StrategyApi) -> None:
        self._engine = engine
        self._feed = feed
        self._strategy = strategy

    async def OpenHedgedPosition(
        self,
        request: engine_pb2.OpenHedgedPositionRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.OpenHedgedPositionRequest, engine_pb2.OpenHedgedPositionResponse
        ],
    ) -> engine_pb2.OpenHedgedPositionResponse:
        """Start an entry."""
        view = await self._engine.open(decode.open_command(request))
        # What was only tried out is no position.
        if not request.validate_only:
            bind_context(position_id=view.position_id)
        return engine_pb2.OpenHedgedPositionResponse(position=position_to_proto(view))

    async def CloseHedgedPosition(
        self,
        request: engine_pb2.CloseHedgedPositionRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.CloseHedgedPositionRequest, engine_pb2.CloseHedgedPositionResponse
        ],
    ) -> engine_pb2.CloseHedgedPositionResponse:
        """Start an exit."""
        command = decode.close_command(request)
        bind_context(position_id=command.position_id)
        view = await self._engine.close(command)
        return engine_pb2.CloseHedgedPositionResponse(position=position_to_proto(view))

    async def ReduceHedgedPosition(
        self,
        request: engine_pb2.ReduceHedgedPositionRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.ReduceHedgedPositionRequest, engine_pb2.ReduceHedgedPositionResponse
        ],
    ) -> engine_pb2.ReduceHedgedPositionResponse:
        """Start a proportional exit."""
        command = decode.reduce_command(request)
        bind_context(position_id=command.position_id)
        view = await self._engine.reduce(command)
        return engine_pb2.ReduceHedgedPositionResponse(position=position_to_proto(view))

    async def CloseAllHedgedPositions(
        self,
        request: engine_pb2.CloseAllHedgedPositionsRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.CloseAllHedgedPositionsRequest, engine_pb2.CloseAllHedgedPositionsResponse
        ],
    ) -> engine_pb2.CloseAllHedgedPositionsResponse:
        """Start the exit of everything that is on."""
        views = await self._engine.close_all(decode.close_all_command(request))
        return engine_pb2.CloseAllHedgedPositionsResponse(
            positions=[position_to_proto(view) for view in views]
        )

    async def GetHedgedPosition(
        self,
        request: engine_pb2.GetHedgedPositionRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.GetHedgedPositionRequest, engine_pb2.GetHedgedPositionResponse
        ],
    ) -> engine_pb2.GetHedgedPositionResponse:
        """Read one position."""
        position_id = require_text(request, "position_id")
        bind_context(position_id=position_id)
        view = self._engine.get(position_id)
        return engine_pb2.GetHedgedPositionResponse(position=position_to_proto(view))

    async def ListHedgedPositions(
        self,
        request: engine_pb2.ListHedgedPositionsRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.ListHedgedPositionsRequest, engine_pb2.ListHedgedPositionsResponse
        ],
    ) -> engine_pb2.ListHedgedPositionsResponse:
        """List positions, newest first."""
        unknown = [state for state in request.states if state not in STATUS_FROM_WIRE]
        if unknown:
            raise InvalidFieldError("states", "names a state that does not exist")
        wanted = frozenset(STATUS_FROM_WIRE[state] for state in request.states)
        # Filtered before paging: a page of a filtered list must be full.
        rows = [view for view in self._engine.positions() if not wanted or view.status in wanted]
        page, token = take_page(
            rows, _position_id, request.page_size, request.page_token, ",".join(sorted(wanted))
        )
        return engine_pb2.ListHedgedPositionsResponse(
            positions=[position_to_proto(view) for view in page], next_page_token=token
        )

    async def WatchHedgedPositions(
        self,
        request: engine_pb2.WatchHedgedPositionsRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.WatchHedgedPositionsRequest, engine_pb2.WatchHedgedPositionsResponse
        ],
    ) -> AsyncIterator[engine_pb2.WatchHedgedPositionsResponse]:
        """Stream positions and their changes."""
        async for response in self._feed.watch(
            request.resume_token, frozenset(request.position_ids)
        ):
            yield response

    async def Halt(
        self,
        request: engine_pb2.HaltRequest,
        context: grpc.aio.ServicerContext[engine_pb2.HaltRequest, engine_pb2.HaltResponse],
    ) -> engine_pb2.HaltResponse:
        """Stop opening."""
        status = await self._engine.halt(decode.halt_command(request))
        return engine_pb2.HaltResponse(status=status_to_proto(status))

    async def Resume(
        self,
        request: engine_pb2.ResumeRequest,
        context: grpc.aio.ServicerContext[engine_pb2.ResumeRequest, engine_pb2.ResumeResponse],
    ) -> engine_pb2.ResumeResponse:
        """Allow opening again."""
        status = await self._engine.resume(decode.resume_command(request))
        return engine_pb2.ResumeResponse(status=status_to_proto(status))

    async def GetStatus(
        self,
        request: engine_pb2.GetStatusRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.GetStatusRequest, engine_pb2.GetStatusResponse
        ],
    ) -> engine_pb2.GetStatusResponse:
        """Read the engine's state."""
        return engine_pb2.GetStatusResponse(status=status_to_proto(self._engine.status()))

    async def SetStrategyMode(
        self,
        request: engine_pb2.SetStrategyModeRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.SetStrategyModeRequest, engine_pb2.SetStrategyModeResponse
        ],
    ) -> engine_pb2.SetStrategyModeResponse:
        """Set who takes opportunities."""
        mode = await self._strategy.switch(switch_command(request))
        return engine_pb2.SetStrategyModeResponse(mode=MODE_TO_WIRE[mode])

    async def ListDecisions(
        self,
        request: engine_pb2.ListDecisionsRequest,
        context: grpc.aio.ServicerContext[
            engine_pb2.ListDecisionsRequest, engine_pb2.ListDecisionsResponse
        ],
    ) -> engine_pb2.ListDecisionsResponse:
        """List what the strategy decided, newest first."""
        rows = [
            each
            for each in self._strategy.decisions()
            if not request.symbols or each.symbol in request.symbols
        ]
        return engine_pb2.ListDecisionsResponse(
            mode=MODE_TO_WIRE[self._strategy.mode],
            decisions=[decision_to_proto(each) for each in rows[: page_size(request.page_size)]],
        )


def _position_id(view: PositionView) -> str:
    return view.position_id
