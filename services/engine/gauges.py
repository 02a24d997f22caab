"""Gauges of what is on and at risk, set anew every few seconds from the ledger."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.common.logs import get_logger
from services.common.metrics import CurrentGauge
from services.engine.figures import EarnedSum, EarningsBook, HeldSum, earnings_of
from services.engine.risk_result import utc_day
from services.engine.symbol_series import bounded_symbols

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from services.common.clock import Clock
    from services.common.metrics import ServiceMetrics
    from services.engine.book import PositionBook
    from services.engine.guard_desk import GuardDesk
    from services.engine.guard_health import GuardHealth
    from services.engine.risk_desk import RiskDesk

_log = get_logger(__name__)
REFRESH_SECONDS = 5.0
"""Below any scrape interval: what is shown is never two scrapes old."""

_KNOWN_IN_A_TURN = 100
"""Ended positions of an earlier round: each takes some microseconds, and there may be 100,000."""


class EngineGauges:
    """Shows what is held, what it made, how much of the limits is used, how near the guards are.

    A symbol is a label of open positions alone, and of the largest of them (`symbol_series.py`).
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
        self._whole = metrics.gauge(
            "journal_whole",
            "1 once the journal was read to its end; before, nothing tells what was made.",
        )
        self._age = metrics.gauge(
            "figures_age_seconds", "Time since positions and guards were last shown anew."
        )
        self._shown_at = 0.0
        self._round_age = metrics.gauge(
            "guard_round_age_seconds", "Time since the guards judged and acted; 0 without guards."
        )
        self._earnings = EarningsBook()
        self.day_result: Decimal | None = None
        """What was made since the UTC day's first look, as of the last refresh; None: unknown."""

    async def refresh(
        self, ledger: PositionBook, risk: RiskDesk, guards: GuardDesk | None, clock: Clock
    ) -> None:
        """Show everything as it is now, in steps between which others run: hedges do not wait."""
        is_whole, since = ledger.is_whole, 0
        held, earned = HeldSum(), EarnedSum(utc_day(clock.now()))
        health = None if guards is None else guards.health()
        for position in ledger.all():
            if not position.status.is_final:
                marks = {} if health is None else health.add(position)
                held.add(position, marks)
                await asyncio.sleep(0)
                earned.add(earnings_of(position, marks))
                since = _KNOWN_IN_A_TURN
            elif is_whole:
                since += 1 if self._earnings.knows(position) else _KNOWN_IN_A_TURN
                earned.add(self._earnings.of(position))
            if since >= _KNOWN_IN_A_TURN:
                since = 0
                await asyncio.sleep(0)
        self._whole.set(1 if is_whole else 0)
        self._show_held(held)
        await asyncio.sleep(0)
        # A sum without what has ended would look like a loss.
        self._show_earned(earned if is_whole else None)
        self.day_result = risk.made_today(earned) if is_whole else None
        self._used.show(_by_one(risk.used_ratios(held, earned if is_whole else None)))
        self._breaks.set(len(ledger.engine.breaks))
        self._stopped.set(len(ledger.engine.breakers))
        if guards is not None and health is not None:
            await asyncio.sleep(0)
            self._show_guards(health, guards.found())

    def _show_held(self, held: HeldSum) -> None:
        self._unhedged.set(float(held.unhedged))
        self._residuals.show(bounded_symbols(_by_one(held.residuals), place=0))
        legs: dict[tuple[str, ...], float] = {key: float(value) for key, value in held.legs.items()}
        self._legs.show(bounded_symbols(legs, place=1))

    def _show_earned(self, earned: EarnedSum | None) -> None:
        self._result.show({} if earned is None else _by_one(earned.results))
        self._funding.show({} if earned is None else _by_one(earned.funding))
        self._fees.show({} if earned is None else _by_one(earned.fees))

    def _show_guards(self, health: GuardHealth, found: Mapping[tuple[str, str], int]) -> None:
        self._margin.show(_by_one(health.margin_ratios))
        self._distance.show(_by_one(health.distances))
        self._silence.show({(name,): one.total_seconds() for name, one in health.silences.items()})
        self._findings.show({key: float(count) for key, count in found.items()})

    async def run(
        self, ledger: PositionBook, risk: RiskDesk, guards: GuardDesk | None, clock: Clock
    ) -> None:
        """Refresh until cancelled; an error of one round does not end the next."""
        self._shown_at = clock.monotonic()
        # Read by the exporter's thread: it grows, too, while this loop stands still.
        self._age.set_function(lambda: clock.monotonic() - self._shown_at)
        if guards is not None:
            self._round_age.set_function(lambda: clock.monotonic() - guards.judged_at)
        while True:
            try:
                await self.refresh(ledger, risk, guards, clock)
                self._shown_at = clock.monotonic()
            except Exception:
                # Gauges that stand still in silence would show a calm that is not there.
                _log.exception("gauges_failed")
            await clock.sleep(REFRESH_SECONDS)


def _by_one(values: Mapping[str, Decimal]) -> dict[tuple[str, ...], float]:
    return {(label,): float(value) for label, value in values.items()}
