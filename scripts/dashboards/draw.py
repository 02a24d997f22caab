"""From plans to Grafana's JSON, by Grafana's own SDK."""

from __future__ import annotations

import json
from string import ascii_uppercase

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from scripts.dashboards.frame import DATASOURCE, add_frame
from scripts.dashboards.plan import GRID_WIDTH, DashboardPlan, Kind, Panel, Query, Tone

_AnyPanel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel | table.Panel
_OF_NOW = frozenset({Kind.BARS, Kind.TABLE})
"""Kinds that show one moment: the newest."""


def draw(plan: DashboardPlan) -> str:
    """Return the dashboard as the text of its file."""
    board = (
        dashboard.Dashboard(plan.title)
        .uid(plan.uid)
        .description(plan.text)
        .tags(["opensqt"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time(plan.span, "now")
        .timezone("browser")
        .refresh("30s")
        .version(1)
    )
    add_frame(board, plan)
    number = 0
    for row in plan.rows:
        number += 1
        board.with_row(dashboard.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            board.with_panel(_panel(panel, number))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(plan: Panel, number: int) -> _AnyPanel:
    builder = (
        _of_kind(plan)
        .id(number)
        .title(plan.title)
        .description(plan.text)
        .datasource(DATASOURCE)
        .unit(plan.unit)
        .span(min(plan.width, GRID_WIDTH))
        .height(plan.height)
        .no_value("nothing yet")
    )
    if plan.steps:
        builder.thresholds(_thresholds(plan))
    if plan.words:
        builder.mappings([_words(plan)])
    if plan.decimals is not None:
        builder.decimals(plan.decimals)
    if plan.least is not None:
        builder.min(plan.least)
    if plan.most is not None:
        builder.max(plan.most)
    for letter, query in zip(ascii_uppercase, plan.queries, strict=False):
        builder.with_target(_target(query, letter, plan.kind))
    return builder


def _of_kind(plan: Panel) -> _AnyPanel:
    match plan.kind:
        case Kind.LINES:
            return _lines(plan)
        case Kind.NUMBER:
            return _number(plan)
        case Kind.BARS:
            return _bars()
        case Kind.STATES:
            return _states()
        case Kind.TABLE:
            return _table()


def _lines(plan: Panel) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    tooltip = (
        common.VizTooltipOptions()
        .mode(common_models.TooltipDisplayMode.MULTI)
        .sort(common_models.SortOrder.DESCENDING)
    )
    builder = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(tooltip)
        .line_width(1)
        .fill_opacity(30 if plan.stacked else 8)
        .show_points(common_models.VisibilityMode.AUTO)
        # A service that was restarted leaves a gap, not a line over what nobody saw.
        .span_nulls(False)
    )
    if plan.stacked:
        builder.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if plan.steps:
        style = common.GraphThresholdsStyleConfig()
        builder.thresholds_style(style.mode(common_models.GraphThresholdsStyleMode.DASHED))
    return builder


def _number(plan: Panel) -> stat.Panel:
    mode = common_models.BigValueColorMode
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(mode.BACKGROUND if plan.words else mode.VALUE)
        .graph_mode(
            common_models.BigValueGraphMode.NONE
            if plan.words
            else common_models.BigValueGraphMode.AREA
        )
        .text_mode(common_models.BigValueTextMode.AUTO)
    )


def _bars() -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.BASIC)
    )


def _states() -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common_models.VisibilityMode.NEVER)
        .row_height(0.8)
    )


def _table() -> table.Panel:
    # One line a series: its labels and its value, without the time that all share.
    organise = models.DataTransformerConfig(
        id_val="organize", options={"excludeByName": {"Time": True, "__name__": True}}
    )
    return table.Panel().with_transformation(organise)


def _thresholds(plan: Panel) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=step.value, color=step.tone.value) for step in plan.steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _words(plan: Panel) -> models.ValueMap:
    results = {
        word.value: models.ValueMappingResult(
            text=word.text, color=None if word.tone is Tone.PLAIN else word.tone.value, index=index
        )
        for index, word in enumerate(plan.words)
    }
    return models.ValueMap(options=results)


def _target(query: Query, letter: str, kind: Kind) -> prometheus.Dataquery:
    builder = (
        prometheus.Dataquery()
        .expr(query.expr)
        .ref_id(letter)
        .datasource(DATASOURCE)
        .legend_format(query.legend or "__auto")
        .exemplar(query.exemplar)
    )
    if kind in _OF_NOW:
        builder.instant()
    else:
        builder.range()
    if kind is Kind.TABLE:
        builder.format(PromQueryFormat.TABLE)
    return builder
