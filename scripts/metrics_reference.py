"""Write docs/metrics.md from the code, or fail where it is not what the code says.

Metrics are read from the calls that make them, so none can be left out; a label that has no bound
below, or a name against Prometheus' conventions, is refused.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.written_files import ROOT, UnwritableError, run
from services.engine.symbol_series import MOST_SYMBOLS, OTHER_SYMBOLS

PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "deploy" / "prometheus" / "rules"
SERVICES = ("common", "connector", "engine", "scanner")
COMMON = "common"
# A gauge whose labels come and go is made by a function of this name.
CURRENT = "current"
KINDS = {"counter": "counter", "gauge": "gauge", "histogram": "histogram", CURRENT: "gauge"}
SERIES_OF_ONE_PROCESS = 5_000

LABELS: dict[str, tuple[str, int]] = {
    "action": ("what a finding asks for: alert, trip, reduce, close", 4),
    "cause": ("why a stream broke", 16),
    "code": ("gRPC status by name", 17),
    "endpoint_class": ("endpoints that share an allowance at the venue; `all` is a ban", 64),
    "event": ("what happened to a stream, task or publication", 16),
    "exchange": ("a venue of the settings", 32),
    "guard": ("one of the engine's guards", 16),
    "kind": ("kind of row of a venue", 64),
    "leg": ("long or short", 2),
    "limit": ("name of a limit of the whole engine", 8),
    "method": ("gRPC method, or the method of a connector", 96),
    "mode": ("active, reducing, halted", 3),
    "order_class": ("entry, hedge, unwind, exit", 4),
    "outcome": ("how something ended", 16),
    "priority": ("priority of a task", 8),
    "quote_asset": ("currency of the amounts", 16),
    "rank": ("place among the best opportunities, 1 to 10", 10),
    "reason": ("a reason of errors.md, or of an exclusion", 128),
    "state": ("state at the end", 8),
    "status": ("HTTP status", 16),
    "stream": ("kind of stream", 16),
    "symbol": (
        f"symbol of an open position; gone when it is closed; beyond the bound `{OTHER_SYMBOLS}`",
        MOST_SYMBOLS + 1,
    ),
    "task": ("kind of task", 16),
    "verdict": ("what the sending of an order proved", 8),
}
"""Every label with its meaning and the most values it may have in one process."""

_UNITS = ("_seconds", "_ratio", "_notional", "_count", "_length")
_INTRODUCTION = """# Metrics

Written by `make reference` from the code; do not edit. Names are
`opensqt_<service>_<thing>_<unit>`, in base units (seconds, ratios; money in the quote asset);
counters end in `_total` and count since the start. Every process serves them at
`http://HOST:PORT/metrics` of its `[metrics]` table, with the usual `process_` and `python_` figures
of its own.

Scraped as OpenMetrics, which Prometheus does by itself, what costs money carries an exemplar with
the `position_id`: `opensqt_engine_order_duration_seconds`, `opensqt_engine_naked_leg_seconds`,
`opensqt_engine_hedge_dispatch_seconds`, `opensqt_engine_exit_dispatch_skew_seconds` and
`opensqt_engine_slippage_ratio`. Start Prometheus with `--enable-feature=exemplar-storage` to keep
them.

`deploy/prometheus/prometheus.yml` scrapes the stack of `docker-compose.yml`; a connector's venue is
the label `exchange` of its target. [The runbook](runbook.md) says what to do about each alert."""


class UnknownMetricError(UnwritableError):
    """The code makes a metric that cannot be documented; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as the code makes it; `name` is the exposed one."""

    service: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str


def find_metrics() -> list[Metric]:
    """Return all metrics of all services, by service and name.

    Raises UnknownMetricError for a name, text or label that is no literal, is against the
    conventions or stands twice in a service.
    """
    found: dict[tuple[str, str], Metric] = {}
    for service in SERVICES:
        for path in sorted((ROOT / "services" / service).rglob("*.py")):
            for metric in _metrics_of(service, path):
                key = (metric.service, metric.name)
                if key in found:
                    raise UnknownMetricError(f"{metric.name} is made twice")
                found[key] = metric
    return [found[key] for key in sorted(found)]


def _metrics_of(service: str, path: Path) -> Iterator[Metric]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == CURRENT
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in inner:
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        called = node.func.id if isinstance(node.func, ast.Name) else called
        is_maker = called in KINDS and (isinstance(node.func, ast.Attribute) or called == CURRENT)
        if is_maker and len(node.args) > 1:
            yield _metric(service, called, node, f"{path.relative_to(ROOT)}:{node.lineno}")


def _metric(service: str, called: str, node: ast.Call, place: str) -> Metric:
    try:
        values = [ast.literal_eval(argument) for argument in node.args[:8]]
        named = {one.arg: one.value for one in node.keywords if one.arg == "labels"}
        labels = ast.literal_eval(named["labels"]) if named else ()
    except ValueError as error:
        raise UnknownMetricError(f"{place}: name, text and labels must be literals") from error
    if called == CURRENT:
        labels = tuple(values[2:])
    elif len(values) > 2:
        labels = values[2]
    name, text = values[0], values[1]
    kind = KINDS[called]
    base = name.removesuffix("_total") if kind == "counter" else name
    full = f"opensqt_{'<service>' if service == COMMON else service}_{base}"
    metric = Metric(
        service, f"{full}_total" if kind == "counter" else full, kind, tuple(labels), text
    )
    _check(metric, base, place)
    return metric


def _check(metric: Metric, base: str, place: str) -> None:
    unknown = [label for label in metric.labels if label not in LABELS]
    if unknown:
        raise UnknownMetricError(
            f"{place}: label {unknown[0]} has no bound in {Path(__file__).name}"
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*", base) or base.endswith(("_total", "_info", "_bucket")):
        raise UnknownMetricError(f"{place}: {base} is not named by Prometheus' conventions")
    if metric.kind == "histogram" and not base.endswith(_UNITS):
        raise UnknownMetricError(f"{place}: the histogram {base} does not end in its unit")


def alerts() -> list[tuple[str, str, str]]:
    """Return every alert with its severity and summary, in the order of the rules."""
    text = (RULES / "alerts.yml").read_text(encoding="utf-8")
    row = re.compile(
        r"- alert: (\w+)$.*?severity: (\w+)\}.*?summary: (.+?)$", re.MULTILINE | re.DOTALL
    )
    return row.findall(text)


def recorded() -> list[str]:
    """Return the names of the recorded series."""
    return re.findall(r"- record: (\S+)", (RULES / "recording.yml").read_text(encoding="utf-8"))


def page() -> str:
    """Return the whole page."""
    lines = _INTRODUCTION.splitlines()
    metrics = find_metrics()
    titles = {COMMON: "Every service", "connector": "Connector"}
    for service in SERVICES:
        lines += ["", f"## {titles.get(service, service.capitalize())}", ""]
        lines += ["| metric | kind | labels | shows |", "|---|---|---|---|"]
        for one in (metric for metric in metrics if metric.service == service):
            labels = ", ".join(f"`{label}`" for label in one.labels)
            text = one.text.rstrip(".").replace("|", "\\|")
            lines.append(f"| `{one.name}` | {one.kind} | {labels} | {text} |")
    lines += ["", "## Labels", "", "Never an order's or a position's id, never a caller."]
    lines += [f"At most {SERIES_OF_ONE_PROCESS:,} series come from one process.", ""]
    lines += ["| label | is | values at most |", "|---|---|---|"]
    used = {label for metric in metrics for label in metric.labels}
    lines += [f"| `{name}` | {LABELS[name][0]} | {LABELS[name][1]} |" for name in sorted(used)]
    lines += ["", "## Alerts", "", "| alert | severity | says |", "|---|---|---|"]
    for name, severity, summary in alerts():
        lines.append(f"| [{name}](runbook.md#{name.lower()}) | {severity} | {summary} |")
    lines += ["", "## Recorded series", ""]
    lines += [f"- `{name}`" for name in recorded()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run(__doc__, "reference", lambda: {PAGE: page()}))
