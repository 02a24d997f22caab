"""Ended spans on their way to a receiver: what arrives, and what a receiver that is away costs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult

from services.common import otlp_sender
from services.common.clock import SystemClock
from services.common.logs import configure_logging
from services.common.masking import MASK, register_secret
from services.common.open_tracer import open_tracer
from services.common.settings import ClientTlsSettings, LogSettings, TlsSettings
from services.common.tls import server_credentials
from services.common.trace_context import TraceContext
from services.common.tracing import SpanKind, traced, under
from services.common.tracing_settings import TracingSettings
from tests.support.certificates import CertificateAuthority
from tests.support.otlp_receiver import OtlpReceiver, running_receiver


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Collect what is logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(LogSettings(), "demo", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_sender, "PAUSE_SECONDS", 0.02)


async def test_a_span_arrives_as_it_was() -> None:
    """Name, parents, times, facts, links and the reason of an error."""
    clock = SystemClock()
    async with running_receiver() as receiver:
        settings = TracingSettings(address=receiver.address, service_name="told")
        before = clock.now().timestamp()
        async with open_tracer(settings, "demo", clock) as tracer:
            root = tracer.begin("entry", links=(TraceContext(3, 4),))
            assert root is not None
            with under(root):
                with pytest.raises(KeyError), traced("checks", symbol="BTCUSDT", count=2):
                    raise KeyError("BTCUSDT")
                tracer.child(root, "lead", SpanKind.CLIENT).end()
            root.facts["opportunity_ids"] = ("a", "b")
        after = clock.now().timestamp()
    checks, lead, entry = receiver.spans
    assert {span.service for span in receiver.spans} == {"told"}
    assert {span.trace_id for span in receiver.spans} == {f"{root.context.trace_id:032x}"}
    assert (entry.parent_id, checks.parent_id, lead.parent_id) == (
        "",
        entry.span_id,
        entry.span_id,
    )
    assert checks.facts == {"symbol": "BTCUSDT", "count": 2}
    assert (checks.problem, entry.problem) == ("KeyError", "")
    assert entry.facts["opportunity_ids"] == ("a", "b")
    assert entry.links == ((f"{3:032x}", f"{4:016x}"),)
    assert before - 1 < entry.start / 1e9 <= checks.end / 1e9 <= entry.end / 1e9 < after + 1


async def test_a_receiver_that_is_away_costs_one_line(
    lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spans wait, what finds no room is dropped, and once it is there the rest arrives."""
    tries: list[int] = []
    export = OTLPSpanExporter.export

    def counted(self: OTLPSpanExporter, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        tries.append(len(spans))
        return export(self, spans)

    monkeypatch.setattr(OTLPSpanExporter, "export", counted)
    receiver = OtlpReceiver()
    await receiver.start()
    await receiver.stop()
    settings = TracingSettings(address=receiver.address, call_timeout=timedelta(seconds=0.2))
    async with open_tracer(settings, "demo", SystemClock()) as tracer:
        for number in range(otlp_sender.MOST_WAITING + 5):
            span = tracer.begin(f"span-{number}")
            assert span is not None
            span.end()
        # Some tries, of which only the first tells anything.
        await _until(lambda: len(tries) > 2)
        await receiver.start()
        await receiver.until(
            lambda: len(receiver.spans) == otlp_sender.MOST_WAITING, "all that waited"
        )
        await _until(lambda: "traces_sent_again" in lines.getvalue())
    await receiver.stop()
    assert receiver.spans[0].name == "span-0"
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [row["event"] for row in told] == ["traces_not_sent", "traces_sent_again"]
    assert told[0]["receiver"] == receiver.address
    assert told[0]["service"] == "demo"
    assert told[1]["dropped"] == 5


async def test_the_end_does_not_wait_for_a_receiver_that_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service stops within its bounds, not within those of a call."""
    monkeypatch.setattr(otlp_sender, "CLOSE_SECONDS", 0.1)
    settings = TracingSettings(address="127.0.0.1:1", call_timeout=timedelta(minutes=10))
    async with open_tracer(settings, "demo", SystemClock()) as tracer:
        span = tracer.begin("entry")
        assert span is not None
        span.end()


async def test_token_and_certificates_go_along(tmp_path: Path) -> None:
    """A receiver off loopback asks for both."""
    authority = CertificateAuthority(tmp_path)
    server, client = authority.issue("receiver"), authority.issue("engine")
    token = tmp_path / "token"
    token.write_text("receiver-token-77\n")
    credentials = server_credentials(
        TlsSettings(
            certificate_file=server.certificate,
            key_file=server.key,
            client_ca_file=authority.file,
        )
    )
    async with running_receiver(credentials=credentials) as receiver:
        settings = TracingSettings(
            address=receiver.address,
            token_file=token,
            tls=ClientTlsSettings(
                ca_file=authority.file,
                certificate_file=client.certificate,
                key_file=client.key,
                server_name="localhost",
            ),
        )
        async with open_tracer(settings, "demo", SystemClock()) as tracer:
            span = tracer.begin("entry")
            assert span is not None
            span.end()
    assert [span.name for span in receiver.spans] == ["entry"]
    assert receiver.metadata[0]["authorization"] == "Bearer receiver-token-77"
    assert receiver.spans[0].service == "opensqt-demo"


async def test_a_registered_secret_is_masked_in_facts() -> None:
    """A caller may write anything into an opportunity id."""
    register_secret("canary-value-92")
    async with running_receiver() as receiver:
        settings = TracingSettings(address=receiver.address)
        async with open_tracer(settings, "demo", SystemClock()) as tracer:
            span = tracer.begin("entry")
            assert span is not None
            span.facts["opportunity_id"] = "x canary-value-92"
            span.facts["opportunity_ids"] = ("x canary-value-92", "y" * 5_000_000)
            span.end("canary-value-92")
    facts = receiver.spans[0].facts
    many = facts.pop("opportunity_ids")
    assert isinstance(many, tuple)
    assert many[0] == f"x {MASK}"
    # A receiver takes no message above 4 MiB, and nothing after one that it does not take.
    assert str(many[1]).endswith("y... (4999000 more characters)")
    assert facts == {"opportunity_id": f"x {MASK}"}
    assert receiver.spans[0].problem == MASK


async def _until(holds: Callable[[], bool]) -> None:
    """Poll until it holds; fails when it does not within ten seconds."""
    async with asyncio.timeout(10):
        while True:
            if holds():
                return
            await asyncio.sleep(0.02)
