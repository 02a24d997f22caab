"""Gauges of what is on and at risk, set anew every few seconds from the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.logs import get_logger
from services.common.metrics import CurrentGauge
from services.engine.figures import EarningsBook, held_figures

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from services.common.clock import Clock
    from services.common.metrics import ServiceMetrics
    from services.engine.book import PositionBook
    from services.engine.guard_desk import GuardDesk
    from services.engine.risk_desk import RiskDesk

_log = get_logger(__name__)
REFRESH_SECONDS = 5.0
"""Below any scrape interval: what is shown is never two scrapes old."""


class EngineGauges:
    """Shows what is held, what it made, how much of the limits is used, how near the guards are.

    A symbol is a label of open positions alone, so there are never more than those.
    """

    def __init__(self, metrics: ServiceMetrics) -> None:
        def current(name: str, text: str, *labels: str) -> CurrentGauge:
            return CurrentGauge(metrics.gauge(name, text, labels))

        self._unhedged = metrics.gauge(
            "unhedged_notional", "Value without a hedge in all positions now, in quote."
        )
        self._residuals = current(
            "residual_notional", "Signed value without a hedge of open positions.", "symbol"
        )
        self._legs = current(
            "leg_notional", "Signed value of the legs that are on.", "exchange", "symbol", "leg"
        )
        self._result = current(
            "result", "What all positions made, open ones at their marks.", "quote_asset"
        )
        self._funding = current(
            "funding_received", "Funding received less paid, all positions.", "quote_asset"
        )
        self._fees = current("fees_paid", "Trading fees of all positions.", "quote_asset")
        self._used = current("limit_used_ratio", "Share of a limit that is used.", "limit")
        self._margin = current(
            "margin_ratio",
            "Maintenance margin over margin balance where a position is on; 1 is liquidation.",
            "exchange",
        )
        self._distance = current(
            "liquidation_distance_ratio",
            "Adverse move of the mark to the nearest liquidation, as a fraction of it.",
            "exchange",
        )
        self._silence = current(
            "venue_silence_seconds",
            "Time since the guards heard of a venue where a position is on.",
            "exchange",
        )
        self._findings = current(
            "guard_findings", "What guards find now, by what it asks for.", "guard", "action"
        )
        self._breaks = metrics.gauge(
            "reconciliation_breaks", "Holdings that differ from what the venue tells."
        )
        self._stopped = metrics.gauge("symbols_stopped", "Symbols whose breaker is open.")
        self._earned = EarningsBook()

    def refresh(self, ledger: PositionBook, risk: RiskDesk, guards: GuardDesk | None) -> None:
        """Show everything as it is now."""
        positions, marks = ledger.all(), risk.marks()
        held = held_figures(positions, marks)
        self._unhedged.set(float(held.unhedged))
        self._residuals.show(_by_one(held.residuals))
        self._legs.show({key: float(value) for key, value in held.legs.items()})
        earned = self._earned.total(positions, marks)
        self._result.show(_by_one({quote: one.result for quote, one in earned.items()}))
        self._funding.show(_by_one({quote: one.funding for quote, one in earned.items()}))
        self._fees.show(_by_one({quote: one.fees for quote, one in earned.items()}))
        self._used.show(_by_one(risk.used_ratios()))
        self._breaks.set(len(ledger.engine.breaks))
        self._stopped.set(len(ledger.engine.breakers))
        if guards is not None:
            self._show_guards(guards)

    def _show_guards(self, guards: GuardDesk) -> None:
        health = guards.health()
        self._margin.show(_by_one(health.margin_ratios))
        self._distance.show(_by_one(health.distances))
        self._silence.show({(name,): one.total_seconds() for name, one in health.silences.items()})
        self._findings.show({key: float(count) for key, count in health.findings.items()})

    async def run(
        self, ledger: PositionBook, risk: RiskDesk, guards: GuardDesk | None, clock: Clock
    ) -> None:
        """Refresh until cancelled; an error of one round does not end the next."""
        while True:
            try:
                self.refresh(ledger, risk, guards)
            except Exception:
                # Gauges that stand still in silence would show a calm that is not there.
                _log.exception("gauges_failed")
            await clock.sleep(REFRESH_SECONDS)


def _by_one(values: Mapping[str, Decimal]) -> dict[tuple[str, ...], float]:
    return {(label,): float(value) for label, value in values.items()}
