"""What every dashboard has around its panels: choices, marks of what happened, links, source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from scripts.dashboards.promql import rise

if TYPE_CHECKING:
    from scripts.dashboards.plan import DashboardPlan, Variable

DATASOURCE_UID = "opensqt-prometheus"
DATASOURCE = models.DataSourceRef(type_val="prometheus", uid=DATASOURCE_UID)

_SETTLED = "opensqt_engine_positions_settled_total"
MARKS = (
    ("Entries", "green", "Entered", rise(_SETTLED, where='state="open"')),
    ("Exits", "blue", "Left", rise(_SETTLED, where='state="closed"')),
    (
        "Entries undone",
        "orange",
        "Entered and undone: no leg is on",
        rise(_SETTLED, where='state="flat"'),
    ),
    ("Halts", "red", "Halted", 'max(opensqt_engine_mode{mode="halted"}) == 1'),
    ("Alerts", "purple", "{{alertname}} {{exchange}}", 'ALERTS{alertstate="firing"}'),
)
"""Name, colour, heading and question of the marks over every panel."""
WINDOWS = ("5m", "15m", "1h", "6h", "1d", "7d")
_DEFAULT_WINDOW = "1h"


class Mark(models.AnnotationQuery):
    """An annotation with what Grafana's Prometheus source reads beside the schema."""

    def __init__(self, name: str, colour: str, heading: str, expr: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, icon_color=colour, expr=expr)
        self.heading = heading

    def to_json(self) -> dict[str, object]:
        """Return the annotation as it stands in the file."""
        return {**super().to_json(), "step": "15s", "titleFormat": self.heading}


class _MarkBuilder(dashboard.AnnotationQuery):
    def __init__(self, mark: Mark) -> None:
        super().__init__()
        self._internal = mark


def add_frame(board: dashboard.Dashboard, plan: DashboardPlan) -> None:
    """Add to the board what all have."""
    for variable in plan.variables:
        board.with_variable(_choice(variable))
    board.with_variable(_window())
    for name, colour, heading, expr in MARKS:
        board.annotation(_MarkBuilder(Mark(name, colour, heading, expr)))
    board.link(
        dashboard.DashboardLink("OpenSQT")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags(["opensqt"])
        .keep_time(True)
    )


def _choice(variable: Variable) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(DATASOURCE)
        .query(
            {
                "qryType": 1,
                "query": f"label_values({variable.metric},{variable.label})",
                "refId": "PrometheusVariableQueryEditor-VariableQuery",
            }
        )
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _window() -> dashboard.IntervalVariable:
    def option(text: str) -> models.VariableOption:
        return models.VariableOption(selected=text == _DEFAULT_WINDOW, text=text, value=text)

    return (
        dashboard.IntervalVariable("window")
        .label("Window of quantiles")
        .values(",".join(WINDOWS))
        .options([option(text) for text in WINDOWS])
        .current(option(_DEFAULT_WINDOW))
    )
