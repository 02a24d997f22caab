"""What the engine tells of itself, taken down in the trace."""

from __future__ import annotations

from decimal import Decimal

from services.engine.orders import OrderClass
from services.engine.views import PositionStatus, PositionView, StatusView
from simulation.world_trace import Trace


class Listener:
    """Implements `PositionListener` and `EngineObserver`."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.statuses: dict[str, PositionStatus] = {}
        self.counts: dict[str, int] = {}
        self.status: StatusView | None = None

    def position_changed(self, view: PositionView) -> None:
        """Note a change of status."""
        if self.statuses.get(view.position_id) is not view.status:
            self.statuses[view.position_id] = view.status
            self._trace.tell("position", f"{view.position_id} {view.status}")

    def order_ended(
        self,
        exchange: str,
        order_class: OrderClass,
        outcome: str,
        seconds: float,
        position_id: str,
    ) -> None:
        """Note how an order came back."""
        del seconds, position_id
        self._count(f"order_{outcome}")
        self._trace.tell("order", f"{exchange} {order_class} {outcome}")

    def order_slipped(
        self, exchange: str, order_class: OrderClass, ratio: float, position_id: str
    ) -> None:
        """Ignore: prices of fills are in the books."""

    def position_settled(
        self,
        status: PositionStatus,
        unhedged_seconds: float,
        residual_notional: Decimal,
        position_id: str,
    ) -> None:
        """Note a position at rest."""
        del position_id
        self._count(f"settled_{status}")
        self._trace.tell("settled", f"{status} {unhedged_seconds:.6f} {residual_notional}")

    def hedge_dispatched(self, seconds: float, position_id: str) -> None:
        """Count a hedge."""
        del seconds, position_id
        self._count("hedges")

    def exit_dispatched(self, skew_seconds: float, position_id: str) -> None:
        """Count an exit."""
        del skew_seconds, position_id
        self._count("exits")

    def unhedged_alarm(self, exchange: str) -> None:
        """Note an alarm."""
        self._count("alarms")
        self._trace.tell("alarm", exchange)

    def entry_refused(self, reason: str) -> None:
        """Note a refusal."""
        self._count("refusals")
        self._trace.tell("refused", reason)

    def journal_written(self, seconds: float) -> None:
        """Count a durable write."""
        del seconds
        self._count("writes")

    def journal_failed(self) -> None:
        """Count a durable write that failed."""
        self._count("write_failures")

    def engine_changed(self, status: StatusView) -> None:
        """Keep the last one."""
        self.status = status

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1
