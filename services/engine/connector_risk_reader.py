"""Figures of risk read through a connector: holdings, margin, marks and funding, two calls each."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.call_errors import retry_read
from services.common.errors import FatalError, InvalidFieldError
from services.common.time_codec import from_duration
from services.engine.connector_codec import optional_figure, required_figure
from services.engine.guard_facts import LegMarket
from services.engine.guard_margin import margin_ratio
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from opensqt.market_maker.v1 import resources_pb2

_T = TypeVar("_T")
_ONE = Decimal(1)


class ConnectorRiskReader:
    """Implements `guard_ports.RiskReader` over the connector of one venue."""

    def __init__(
        self,
        name: str,
        kind: InstrumentKind,
        stub: exchange_pb2_grpc.ExchangeServiceAsyncStub,
        *,
        call_seconds: float,
    ) -> None:
        self._name = name
        self._kind = kind
        self._stub = stub
        self._call_seconds = call_seconds

    async def account(self) -> AccountFacts:
        """Read the account; raises `OpensqtError`."""
        request = exchange_pb2.GetAccountRequest()
        return account_facts(
            await self._read(lambda: self._stub.GetAccount(request, timeout=self._call_seconds))
        )

    async def markets(self) -> Mapping[str, LegMarket]:
        """Read the funding of all perpetuals, which brings their marks; raises `OpensqtError`."""
        if self._kind is InstrumentKind.SPOT:
            return {}
        request = exchange_pb2.GetFundingRatesRequest()
        answer = await self._read(
            lambda: self._stub.GetFundingRates(request, timeout=self._call_seconds)
        )
        return {row.symbol: leg_market(row) for row in answer.rates}

    async def _read(self, call: Callable[[], Awaitable[_T]]) -> _T:
        answer = await retry_read(call)
        # gRPC hands over None for a reply whose bytes it cannot decode.
        if answer is None:
            raise FatalError(
                f"connector {self._name} sent a reply that cannot be read",
                reason="CONNECTOR_INVALID",
            )
        return answer


def account_facts(account: resources_pb2.Account) -> AccountFacts:
    """Decode an account; raises FatalError for a figure that is broken."""
    holdings: dict[str, HoldingFacts] = {}
    for row in account.positions:
        before = holdings.get(row.symbol)
        size = required_figure(row, "size") + (before.size if before else 0)
        margin = optional_figure(row, "isolated_margin")
        profit = optional_figure(row, "unrealized_pnl")
        # What an isolated position can lose is its own margin with its own profit.
        balance = None if margin is None else margin + (profit or 0)
        holdings[row.symbol] = HoldingFacts(
            size,
            optional_figure(row, "mark_price"),
            optional_figure(row, "liquidation_price"),
            margin_ratio(optional_figure(row, "maintenance_margin"), balance),
        )
    maintenance = optional_figure(account, "total_maintenance_margin")
    balance = optional_figure(account, "adjusted_equity")
    if balance is None:
        balance = optional_figure(account, "total_margin_balance")
    ratio = margin_ratio(maintenance, balance)
    health = optional_figure(account, "health_score")
    # A venue that tells its health only: 1 is untouched, 0 is liquidation.
    if ratio is None and health is not None:
        ratio = _ONE - health
    return AccountFacts(holdings, ratio, account.is_unified, maintenance, balance)


def leg_market(row: resources_pb2.FundingRate) -> LegMarket:
    """Decode the present funding of one perpetual; raises FatalError for a broken figure."""
    try:
        interval = from_duration(row.interval, "interval") if row.HasField("interval") else None
    except InvalidFieldError as error:
        raise FatalError(
            "the connector sent a bad funding interval", reason="CONNECTOR_INVALID"
        ) from error
    return LegMarket(
        mark=optional_figure(row, "mark_price"),
        index=optional_figure(row, "index_price"),
        funding_rate=optional_figure(row, "rate"),
        funding_interval=interval,
    )
