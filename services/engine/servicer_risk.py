"""RiskService: what the ledger answers; decode, ask the risk desk, encode."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import risk_pb2, risk_pb2_grpc
from services.common.codec import decimal_to_proto, format_decimal, limit_fraction, require_text
from services.engine.guard_facts import GuardAction
from services.engine.unserved import UnservedRiskService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    import grpc.aio
    from google.type import decimal_pb2

    from services.engine.reconcile_desk import ReconcileDesk, SymbolComparison
    from services.engine.risk_alerts import AlertFeed, RiskAlert
    from services.engine.risk_desk import RiskDesk
    from services.engine.risk_views import SymbolRisk

_HUNDRED = Decimal(100)
_SEVERITY = {
    GuardAction.ALERT: "warning",
    GuardAction.TRIP: "warning",
    GuardAction.REDUCE: "critical",
    GuardAction.CLOSE: "critical",
}


class RiskServicer(UnservedRiskService, risk_pb2_grpc.RiskServiceServicer):  # type: ignore[misc]  # its base is made at run time
    """Serves limits, exposure, breakers, alerts, comparisons; the base refuses the rest by name."""

    def __init__(self, desk: RiskDesk, alerts: AlertFeed, comparisons: ReconcileDesk) -> None:
        self._desk = desk
        self._alerts = alerts
        self._comparisons = comparisons

    async def GetRiskMetrics(
        self,
        request: risk_pb2.GetRiskMetricsRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.GetRiskMetricsRequest, risk_pb2.GetRiskMetricsResponse
        ],
    ) -> risk_pb2.GetRiskMetricsResponse:
        """Read figures per symbol."""
        rows = self._desk.symbol_risks(request.symbols)
        return risk_pb2.GetRiskMetricsResponse(metrics=[_metrics(row) for row in rows])

    async def GetPositionLimits(
        self,
        request: risk_pb2.GetPositionLimitsRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.GetPositionLimitsRequest, risk_pb2.GetPositionLimitsResponse
        ],
    ) -> risk_pb2.GetPositionLimitsResponse:
        """Read the limits, which are the same for every symbol."""
        return risk_pb2.GetPositionLimitsResponse(
            symbol=request.symbol, max_notional_value=_number(self._desk.limits.max_leg_notional)
        )

    async def GetExposure(
        self,
        request: risk_pb2.GetExposureRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.GetExposureRequest, risk_pb2.GetExposureResponse
        ],
    ) -> risk_pb2.GetExposureResponse:
        """Read the exposure of the portfolio."""
        rows = self._desk.symbol_risks(())
        total = sum((row.notional for row in rows), Decimal(0))
        gains = [row.unrealized for row in rows]
        known = [gain for gain in gains if gain is not None]
        return risk_pb2.GetExposureResponse(
            total_notional=_number(total),
            total_unrealized_pnl=_number(sum(known, Decimal(0)))
            if len(known) == len(gains)
            else None,
            exposures=[
                risk_pb2.SymbolExposure(
                    symbol=row.symbol,
                    notional_value=_number(row.notional),
                    percentage_of_portfolio=_number(
                        row.notional / total * _HUNDRED if total else Decimal(0)
                    ),
                )
                for row in rows
            ],
        )

    async def SubscribeRiskAlerts(
        self,
        request: risk_pb2.SubscribeRiskAlertsRequest,
        context: grpc.aio.ServicerContext[risk_pb2.SubscribeRiskAlertsRequest, risk_pb2.RiskAlert],
    ) -> AsyncIterator[risk_pb2.RiskAlert]:
        """Stream alerts as they are raised."""
        async for alert in self._alerts.watch():
            yield alert_to_proto(alert)

    async def GetCircuitBreakerStatus(
        self,
        request: risk_pb2.GetCircuitBreakerStatusRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.GetCircuitBreakerStatusRequest, risk_pb2.GetCircuitBreakerStatusResponse
        ],
    ) -> risk_pb2.GetCircuitBreakerStatusResponse:
        """Read a breaker."""
        view = self._desk.breaker(request.symbol)
        return risk_pb2.GetCircuitBreakerStatusResponse(
            status=risk_pb2.CircuitBreakerStatus(
                symbol=view.symbol,
                is_open=view.open_time is not None,
                reason=view.reason,
                opened_at=_millis(view.open_time),
                consecutive_losses=view.losses,
                total_pnl=_number(view.day_result),
            )
        )

    async def OpenCircuitBreaker(
        self,
        request: risk_pb2.OpenCircuitBreakerRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.OpenCircuitBreakerRequest, risk_pb2.OpenCircuitBreakerResponse
        ],
    ) -> risk_pb2.OpenCircuitBreakerResponse:
        """Stop entries."""
        await self._desk.open_breaker(request.symbol, require_text(request, "reason"))
        return risk_pb2.OpenCircuitBreakerResponse(success=True)

    async def CloseCircuitBreaker(
        self,
        request: risk_pb2.CloseCircuitBreakerRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.CloseCircuitBreakerRequest, risk_pb2.CloseCircuitBreakerResponse
        ],
    ) -> risk_pb2.CloseCircuitBreakerResponse:
        """Allow entries again."""
        await self._desk.close_breaker(request.symbol)
        return risk_pb2.CloseCircuitBreakerResponse(success=True)

    async def TriggerReconciliation(
        self,
        request: risk_pb2.TriggerReconciliationRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.TriggerReconciliationRequest, risk_pb2.TriggerReconciliationResponse
        ],
    ) -> risk_pb2.TriggerReconciliationResponse:
        """Compare ledger and venues now."""
        started = self._comparisons.trigger(request.symbol)
        return risk_pb2.TriggerReconciliationResponse(
            reconciliation_id=started.comparison_id, status=started.state.value
        )

    async def GetReconciliationStatus(
        self,
        request: risk_pb2.GetReconciliationStatusRequest,
        context: grpc.aio.ServicerContext[
            risk_pb2.GetReconciliationStatusRequest, risk_pb2.GetReconciliationStatusResponse
        ],
    ) -> risk_pb2.GetReconciliationStatusResponse:
        """Read a comparison; nothing is ever corrected by one."""
        found = self._comparisons.get(require_text(request, "reconciliation_id"))
        return risk_pb2.GetReconciliationStatusResponse(
            reconciliation_id=found.comparison_id,
            status=found.state.value,
            started_at=_millis(found.start_time),
            completed_at=_millis(found.end_time),
            results=[_comparison(row) for row in found.rows],
        )


def _comparison(row: SymbolComparison) -> risk_pb2.ReconciliationResult:
    return risk_pb2.ReconciliationResult(
        symbol=row.symbol,
        position_match=row.is_equal,
        local_position=_number(row.expected),
        exchange_position=_number(row.told),
        divergence=None if row.told is None else _number(row.told - row.expected),
    )


def _metrics(row: SymbolRisk) -> risk_pb2.SymbolRiskMetrics:
    return risk_pb2.SymbolRiskMetrics(
        symbol=row.symbol,
        position_size=_number(row.quantity),
        notional_value=_number(row.notional),
        unrealized_pnl=_number(row.unrealized),
        risk_score=_number(row.used_ratio),
        limit_breach=bool(row.broken_limit),
        limit_type=row.broken_limit,
        last_price=_number(row.last_price),
    )


def alert_to_proto(alert: RiskAlert) -> risk_pb2.RiskAlert:
    """Encode an alert; its figures by name."""
    row = alert.finding
    return risk_pb2.RiskAlert(
        symbol=row.symbol,
        alert_type=row.guard,
        severity=_SEVERITY[row.action],
        message=f"{row.text}; answer: {row.action.value}",
        timestamp=_millis(alert.at),
        metadata={
            "position_id": row.position_id,
            **{name: format_decimal(limit_fraction(value)) for name, value in row.figures},
        },
    )


def _number(value: Decimal | None) -> decimal_pb2.Decimal | None:
    return None if value is None else decimal_to_proto(limit_fraction(value))


def _millis(at: datetime | None) -> int:
    return 0 if at is None else int(at.timestamp() * 1000)
