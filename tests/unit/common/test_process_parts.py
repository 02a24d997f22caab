"""Clock, ids, ready file, metrics, status details: the small parts of a process."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.rpc import code_pb2, error_details_pb2
from prometheus_client import REGISTRY

from services.common.clock import SystemClock
from services.common.errors import (
    Code,
    FatalError,
    InvalidFieldError,
    OutcomeUnknownError,
    RejectedError,
)
from services.common.ids import RandomIds
from services.common.metrics import MetricsExporter, ServiceMetrics
from services.common.readiness import Readiness, ready_file, remove_ready_file, write_ready_file
from services.common.settings import MetricsSettings
from services.common.status_details import to_status_proto


async def test_the_system_clock_is_aware_and_steady() -> None:
    """Wall time has a zone, monotonic time does not run backwards, a negative sleep returns."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(-1)
    assert clock.monotonic() >= before
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_random_ids_fit_every_venue() -> None:
    """At most 26 of [a-z0-9], never starting with t, and no two alike."""
    ids = {RandomIds().new_id() for _ in range(2_000)}
    assert len(ids) == 2_000
    assert all(re.fullmatch(r"[a-su-z][a-z0-9]{0,25}", made) for made in ids)
    assert len({made[0] for made in ids}) == 25


def test_the_ready_file_is_there_for_the_block_only(tmp_path: Path) -> None:
    """It holds the process id and the addresses that exist; no other file is left behind."""
    path = tmp_path / "ready.json"
    with ready_file(path, Readiness("simulator", http_address="127.0.0.1:1")):
        assert json.loads(path.read_text()) == {
            "service": "simulator",
            "pid": os.getpid(),
            "http_address": "127.0.0.1:1",
        }
        assert list(tmp_path.iterdir()) == [path]
    assert list(tmp_path.iterdir()) == []


def test_the_ready_files_folder_is_made(tmp_path: Path) -> None:
    """A service on a new machine starts like any other."""
    path = tmp_path / "var" / "run" / "ready.json"
    with ready_file(path, Readiness("x")):
        assert path.is_file()


def test_no_path_means_no_file() -> None:
    """The setting is optional."""
    with ready_file(None, Readiness("x")):
        pass


def test_another_processs_ready_file_is_left(tmp_path: Path) -> None:
    """A late shutdown does not remove the file of its successor."""
    path = tmp_path / "ready.json"
    path.write_text(json.dumps({"service": "x", "pid": os.getpid() + 1}))
    remove_ready_file(path)
    assert path.exists()
    path.write_text("broken")
    remove_ready_file(path)
    assert path.exists()


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """A folder in the file's place fails the write; the temporary file goes away."""
    path = tmp_path / "ready.json"
    path.mkdir()
    with pytest.raises(OSError, match=r"ready\.json"):
        write_ready_file(path, Readiness("x"))
    assert list(tmp_path.iterdir()) == [path]


def test_the_exporter_serves_the_given_registry_only() -> None:
    """Names carry the service, and the global registry stays empty of them."""
    metrics = ServiceMetrics("demo")
    metrics.add_process_metrics()
    metrics.counter("entries", "Entries.", ("outcome",)).labels("filled").inc()
    metrics.gauge("residual", "Residual.").set(2)
    ServiceMetrics("demo")
    with (
        MetricsExporter(MetricsSettings(), metrics.registry) as exporter,
        urllib.request.urlopen(f"http://{exporter.address}/metrics", timeout=5) as reply,
    ):
        text = reply.read().decode()
    assert 'opensqt_demo_entries_total{outcome="filled"} 1.0' in text
    assert "opensqt_demo_residual 2.0" in text
    assert "process_resident_memory_bytes" in text
    assert not [m for m in REGISTRY.collect() if m.name.startswith("opensqt_")]


def test_a_taken_port_of_the_metrics_is_named() -> None:
    """Whoever reads the log learns which of the two ports it is."""
    registry = ServiceMetrics("demo").registry
    with MetricsExporter(MetricsSettings(), registry) as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(FatalError, match=f"metrics on 127.0.0.1:{port}") as caught:
            MetricsExporter(MetricsSettings(port=port), registry)
    assert caught.value.reason == "PORT_TAKEN"


def test_every_code_of_ours_is_a_canonical_one() -> None:
    """The enum that knows no gRPC names gRPC's codes."""
    for code in Code:
        assert code_pb2.Code.Value(code.value) > 0


def test_a_status_always_fits_the_headers() -> None:
    """A venue's page of HTML as message and metadata cannot blow the caller's 8 KiB of headers."""
    huge = "<html>\n" * 10_000
    for error in (
        RejectedError(huge, metadata={f"key{n}": "v" * 100 for n in range(100)}),
        InvalidFieldError(huge, huge),
    ):
        status = to_status_proto(error)
        assert status.ByteSize() < 5_000
        assert "\n" not in status.message
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.reason == error.reason


def test_an_unknown_outcome_always_names_its_order() -> None:
    """The client order id is in the metadata, beside what the raiser adds."""
    error = OutcomeUnknownError("sent", client_order_id="a1", metadata={"resolveAfter": "x"})
    assert error.metadata == {"clientOrderId": "a1", "resolveAfter": "x"}
