"""Spans: where the present work stands, what ends with it, and that nothing is made when off."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from services.common.errors import RejectedError
from services.common.open_tracer import open_tracer
from services.common.span_tracer import SpanTracer
from services.common.trace_context import TraceContext
from services.common.tracing import (
    NULL_TRACER,
    SPAN,
    Span,
    SpanKind,
    link_present,
    present,
    present_traceparent,
    traced,
    under,
)
from services.common.tracing_settings import TracingSettings
from tests.support.hand_clock import HandClock

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
WITHOUT_EXTRA = """
import sys
sys.modules["opentelemetry.exporter"] = None
import asyncio
from services.common.clock import SystemClock
from services.common.errors import FatalError
from services.common.open_tracer import open_tracer
from services.common.tracing_settings import TracingSettings
async def main():
    try:
        async with open_tracer(TracingSettings(address="127.0.0.1:1"), "demo", SystemClock()):
            raise AssertionError("opened")
    except FatalError as error:
        print(error.reason, error.message)
asyncio.run(main())
"""
OFF = """
import sys
import services.connector.bootstrap, services.engine.bootstrap, services.scanner.bootstrap
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def tracer_of(spans: list[Span], ratio: float = 1.0) -> SpanTracer:
    """Return a tracer into a list, on a clock that stands."""
    return SpanTracer(HandClock(), spans.append, ratio)


def test_work_inside_work_is_a_child() -> None:
    """The inner one ends first, hangs on the outer one and says what it is about."""
    spans: list[Span] = []
    tracer = tracer_of(spans)
    root = tracer.begin("entry")
    assert root is not None
    with under(root), traced("checks", symbol="BTCUSDT"), traced("read"):
        assert present_traceparent().startswith(f"00-{root.context.trace_id:032x}-")
    read, checks, entry = spans
    assert entry is root
    assert (checks.parent, read.parent) == (root.context, checks.context)
    assert {span.context.trace_id for span in spans} == {root.context.trace_id}
    assert checks.facts == {"symbol": "BTCUSDT"}
    assert SPAN.get() is None


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RejectedError("no", reason="ENTRY_CHECKS_FAILED"), "ENTRY_CHECKS_FAILED"),
        (ValueError("the secret is abc"), "ValueError"),
        (asyncio.CancelledError(), "CANCELLED"),
    ],
)
def test_an_error_is_told_by_its_reason(error: BaseException, problem: str) -> None:
    """Never by its text, which may hold anything."""
    spans: list[Span] = []
    with pytest.raises(type(error)), under(tracer_of(spans).begin("entry")):
        raise error
    assert spans[0].problem == problem


async def test_tasks_keep_the_span_they_were_started_under() -> None:
    """What runs beside others does not move them."""
    spans: list[Span] = []
    tracer = tracer_of(spans)

    async def work(name: str) -> None:
        with under(tracer.begin(name)):
            await asyncio.sleep(0)
            with traced(f"{name}-part"):
                await asyncio.sleep(0)

    await asyncio.gather(work("a"), work("b"))
    by_name = {span.name: span for span in spans}
    for name in ("a", "b"):
        assert by_name[f"{name}-part"].parent == by_name[name].context


def test_without_a_span_nothing_is_made() -> None:
    """Every block that could be one is the same block that does nothing."""
    assert traced("a", fact=1) is traced("b") is under(None)
    with traced("a") as span:
        assert span is None
        assert present_traceparent() == ""
    link_present(TraceContext(1, 2))
    assert NULL_TRACER.begin("entry") is None
    assert NULL_TRACER.join("call", CALLER) is None


def test_a_call_joins_what_its_caller_shows() -> None:
    """The caller's choice holds, whatever share is kept here."""
    spans: list[Span] = []
    tracer = tracer_of(spans, ratio=0.0)
    span = tracer.join("call", CALLER)
    assert span is not None
    assert span.kind is SpanKind.SERVER
    assert span.parent is not None
    assert span.parent.traceparent == CALLER
    assert tracer.join("call", "") is None
    assert tracer.begin("entry") is None


def test_a_present_span_is_not_ended_and_can_be_linked() -> None:
    """Who only stands under it leaves its end to its owner."""
    spans: list[Span] = []
    root = tracer_of(spans).begin("entry")
    assert root is not None
    with present(root):
        link_present(TraceContext(1, 2))
    assert spans == []
    assert root.links == (TraceContext(1, 2),)


@pytest.mark.parametrize(
    "table",
    [
        {"address": "collector.example.net:4317"},
        {"address": "localhost"},
        {"address": "127.0.0.1:4317", "sample_ratio": 1.5},
        {"address": "127.0.0.1:4317", "sample_rate": 1},
    ],
)
def test_settings_refuse_what_cannot_be_meant(table: dict[str, object]) -> None:
    """Spans off loopback without TLS, no port, more than all, a key that does not exist."""
    with pytest.raises(ValueError, match=r"tls|host:port|less than|[Ee]xtra"):
        TracingSettings.model_validate(table)


async def test_off_is_the_tracer_that_does_nothing() -> None:
    """Without the table."""
    async with open_tracer(None, "demo", HandClock()) as tracer:
        assert tracer is NULL_TRACER


def test_off_imports_nothing_and_a_missing_extra_is_named() -> None:
    """The services load without OpenTelemetry; who asks for it learns what to install."""
    off = subprocess.run(
        [sys.executable, "-c", OFF], check=True, capture_output=True, text=True, timeout=25
    )
    assert off.stdout == "[]\n"
    missing = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRA],
        check=True,
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert missing.stdout.startswith("TRACING_EXTRA_MISSING ")
    assert "pip install ./proto '.[tracing]'" in missing.stdout
