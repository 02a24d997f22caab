"""The pulse of a venue through its connector: the last price of one symbol, the cheapest read."""

from __future__ import annotations

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.call_errors import translated
from services.common.errors import RejectedError
from services.engine.venue_pulse import ANSWER_SECONDS


class ConnectorPulse:
    """Implements `venue_pulse.VenuePulse`; weight 1 or 2 of the thousands that a minute has."""

    def __init__(self, stub: exchange_pb2_grpc.ExchangeServiceAsyncStub) -> None:
        self._stub = stub
        self._symbol = ""

    async def ask(self) -> None:
        """See `VenuePulse.ask`."""
        try:
            with translated():
                await self._ask()
        except RejectedError:
            # Delisted, perhaps: another one next time.
            self._symbol = ""
            raise

    async def _ask(self) -> None:
        if not self._symbol:
            request = exchange_pb2.GetSymbolsRequest()
            known = (await self._stub.GetSymbols(request, timeout=ANSWER_SECONDS)).symbols
            self._symbol = next(iter(known), "")
        priced = exchange_pb2.GetLatestPriceRequest(symbol=self._symbol)
        await self._stub.GetLatestPrice(priced, timeout=ANSWER_SECONDS)
