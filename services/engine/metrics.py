"""Metrics of the engine: the `EngineObserver` of the core on Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.metrics import FINE_BUCKETS, exemplar_of
from services.engine.orders import OrderClass
from services.engine.views import EngineMode, PositionStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from services.common.metrics import ServiceMetrics
    from services.engine.views import StatusView

_SLIPPAGE_BUCKETS = (-0.01, -0.002, -0.0005, 0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
_MOST_REASONS = 100
"""Reasons of refusals that are told apart: a connector's own are among them, whatever it says."""

_OUTCOMES = ("filled", "partial", "zero", "rejected", "unknown")


class EngineMetrics:
    """Counts orders, positions and the latencies that cost money."""

    def __init__(self, metrics: ServiceMetrics, exchanges: Iterable[str]) -> None:
        self._orders = metrics.counter(
            "orders", "Orders that came back.", ("exchange", "order_class", "outcome")
        )
        self._order_seconds = metrics.histogram(
            "order_duration_seconds", "From sending to the answer.", ("exchange", "order_class")
        )
        self._slippage = metrics.histogram(
            "slippage_ratio",
            "Average price of opening orders against the one decided by; above 0 is worse.",
            ("exchange", "order_class"),
            buckets=_SLIPPAGE_BUCKETS,
        )
        self._settled = metrics.counter("positions_settled", "Positions at rest.", ("state",))
        self._naked = metrics.histogram(
            "naked_leg_seconds", "How long some of a leg was filled with no hedge."
        )
        self._residual = metrics.gauge(
            "settled_residual_notional", "Unhedged value of the position settled last, in quote."
        )
        self._hedge_dispatch = metrics.histogram(
            "hedge_dispatch_seconds",
            "From the lead's fill being known to the hedge leaving.",
            buckets=FINE_BUCKETS,
        )
        self._skew = metrics.histogram(
            "exit_dispatch_skew_seconds",
            "Between the first and the last order of an exit leaving.",
            buckets=FINE_BUCKETS,
        )
        self._alarms = metrics.counter(
            "unhedged_alarms", "Unknown orders that outlived the unhedged budget.", ("exchange",)
        )
        self._refused = metrics.counter("entries_refused", "Entries refused.", ("reason",))
        self._reasons: set[str] = set()
        self._journal = metrics.histogram(
            "journal_write_seconds", "One durable write.", buckets=FINE_BUCKETS
        )
        self._journal_failures = metrics.counter(
            "journal_failures", "Durable writes that failed; orders that needed one wait."
        )
        self._journal_failing = metrics.gauge(
            "journal_failing", "1 while the last durable write failed: entries and exits wait."
        )
        self._mode = metrics.gauge("mode", "1 for the mode the engine is in.", ("mode",))
        self._reconciled = metrics.gauge("reconciled", "1 once start-up recovery is done.")
        self._open = metrics.gauge("open_positions", "Positions neither closed nor flat.")
        self._unknown = metrics.gauge("unknown_orders", "Orders whose outcome is unknown.")
        self._reachable = metrics.gauge(
            "venue_reachable", "1 while the venue answers; asked every two seconds.", ("exchange",)
        )
        self._start_at_zero(exchanges)

    def _start_at_zero(self, exchanges: Iterable[str]) -> None:
        """Show what may come: a counter born with its first event has no increase for an alert."""
        for status in (PositionStatus.OPEN, PositionStatus.FLAT, PositionStatus.CLOSED):
            self._settled.labels(status.value)
        for exchange in exchanges:
            self._alarms.labels(exchange)
            for order_class in OrderClass:
                self._order_seconds.labels(exchange, order_class.value)
                for outcome in _OUTCOMES:
                    self._orders.labels(exchange, order_class.value, outcome)
            for order_class in (OrderClass.ENTRY, OrderClass.HEDGE):
                self._slippage.labels(exchange, order_class.value)

    def order_ended(
        self,
        exchange: str,
        order_class: OrderClass,
        outcome: str,
        seconds: float,
        position_id: str,
    ) -> None:
        """Count one order and how long it took."""
        self._orders.labels(exchange, order_class.value, outcome).inc()
        taken = self._order_seconds.labels(exchange, order_class.value)
        taken.observe(seconds, exemplar_of(position_id))

    def order_slipped(
        self, exchange: str, order_class: OrderClass, ratio: float, position_id: str
    ) -> None:
        """Observe how much worse than decided an order filled."""
        slipped = self._slippage.labels(exchange, order_class.value)
        slipped.observe(ratio, exemplar_of(position_id))

    def position_settled(
        self,
        status: PositionStatus,
        unhedged_seconds: float,
        residual_notional: Decimal,
        position_id: str,
    ) -> None:
        """Count a position that came to rest."""
        self._settled.labels(status.value).inc()
        self._naked.observe(unhedged_seconds, exemplar_of(position_id))
        self._residual.set(float(residual_notional))

    def hedge_dispatched(self, seconds: float, position_id: str) -> None:
        """Observe how fast a hedge left."""
        self._hedge_dispatch.observe(seconds, exemplar_of(position_id))

    def exit_dispatched(self, skew_seconds: float, position_id: str) -> None:
        """Observe the skew of a parallel exit."""
        self._skew.observe(skew_seconds, exemplar_of(position_id))

    def unhedged_alarm(self, exchange: str) -> None:
        """Count an alarm."""
        self._alarms.labels(exchange).inc()

    def entry_refused(self, reason: str) -> None:
        """Count a refused entry; beyond so many reasons as "other"."""
        if len(self._reasons) < _MOST_REASONS:
            self._reasons.add(reason)
        self._refused.labels(reason if reason in self._reasons else "other").inc()

    def journal_written(self, seconds: float) -> None:
        """Observe a durable write."""
        self._journal.observe(seconds)
        self._journal_failing.set(0)

    def journal_failed(self) -> None:
        """Count a failed write and show that orders wait for the journal."""
        self._journal_failures.inc()
        self._journal_failing.set(1)

    def engine_changed(self, status: StatusView) -> None:
        """Show mode, reconciliation and what is open or unknown."""
        # All of them: an alert on the old mode must fall, not go stale.
        for mode in EngineMode:
            self._mode.labels(mode.value).set(1 if status.mode is mode else 0)
        self._reconciled.set(1 if status.reconciled else 0)
        self._open.set(status.open_position_count)
        self._unknown.set(len(status.unknown_client_order_ids))
        for venue in status.venues:
            self._reachable.labels(venue.exchange).set(1 if venue.reachable else 0)
