"""What the processes of a system in use expose: sound, documented, bounded, marked by position."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.clients import scanner_client
from cli.scanning import run_scan
from opensqt.market_maker.v1 import engine_pb2
from scripts.metrics_reference import LABELS, SERIES_OF_ONE_PROCESS, find_metrics
from tests.support.prometheus_server import PROGRAM, PrometheusServer, Target, prometheus_server
from tests.support.stack import OPEN, StackDriver, running_stack

PROMTOOL = shutil.which("promtool")
RULES = sorted((Path(__file__).resolve().parents[2] / "deploy/prometheus/rules").glob("*.yml"))

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROMTOOL is None, reason="needs promtool (Debian package prometheus)"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]


OPENMETRICS = "application/openmetrics-text; version=1.0.0"
MONEY = (
    "order_duration_seconds",
    "naked_leg_seconds",
    "hedge_dispatch_seconds",
    "exit_dispatch_skew_seconds",
    "slippage_ratio",
)
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PLAIN = re.compile(r"_(bucket|sum|count)$")
NOT_OURS = re.compile(r"^(process|python)_")


@dataclass(frozen=True, slots=True)
class Used:
    """A system that scanned, entered and left; `position_id` is the one that was left."""

    driver: StackDriver
    position_id: str

    @property
    def targets(self) -> Mapping[str, str]:
        """Where each process that has metrics listens, by its name."""
        found = {}
        for name, service in self.driver.stack.services.items():
            ready: dict[str, Any] = json.loads(service.ready_file.read_text(encoding="utf-8"))
            if "metrics_address" in ready:
                found[name] = ready["metrics_address"]
        return found

    async def expositions(self, accept: str = "text/plain") -> dict[str, str]:
        """Return what each process exposes."""

        def read(address: str) -> str:
            request = urllib.request.Request(
                f"http://{address}/metrics", headers={"Accept": accept}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
                return str(answer.read().decode())

        return {
            name: await asyncio.to_thread(read, address) for name, address in self.targets.items()
        }


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="used")
async def _used(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Used]:
    """Run the system, scan, enter, leave, and keep one position on."""
    async with running_stack(tmp_path_factory.mktemp("exposed")) as driver:
        async with scanner_client(driver.stack.arb_settings().scanner) as scanner:
            await run_scan(scanner, str(uuid.uuid4()), lambda _: None)
        left = await driver.enter("BTCUSDT")
        await driver.leave(left)
        assert (await driver.enter("ETHUSDT")).state == OPEN
        yield Used(driver, left.position_id)


async def test_promtool_finds_nothing_to_say_of_any_process(used: Used) -> None:
    """Names, help texts and types follow the conventions."""
    for name, text in (await used.expositions()).items():
        done = await asyncio.to_thread(
            subprocess.run,
            [str(PROMTOOL), "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), name


async def test_everything_that_is_exposed_is_documented_and_bounded(used: Used) -> None:
    """No label has more values than its bound, and none of them is an id."""
    names = {
        each.name.replace("<service>", service)
        for each in find_metrics()
        for service in ("connector", "engine", "scanner")
    }
    ids = re.compile(rf"{used.position_id}|[0-9a-f]{{8}}-[0-9a-f]{{4}}-|[0-9a-f]{{16}}")
    for process, text in (await used.expositions()).items():
        samples = [(name, labels) for name, labels in SAMPLE.findall(text)]
        assert len(samples) < SERIES_OF_ONE_PROCESS, process
        values: defaultdict[str, set[str]] = defaultdict(set)
        for name, labels in samples:
            if NOT_OURS.match(name):
                continue
            assert name in names or PLAIN.sub("", name) in names, name
            for label, value in LABEL.findall(labels):
                assert label == "le" or ids.search(value) is None, name
                values[label].add(value)
        values.pop("le", None)
        assert {label for label, found in values.items() if len(found) > LABELS[label][1]} == set()


async def test_latencies_that_cost_money_are_marked_with_their_position(used: Used) -> None:
    """The exemplar leads from a slow bucket to the lines of one position in the log."""
    text = (await used.expositions(OPENMETRICS))["engine"]
    for name in MONEY:
        marked = re.findall(
            rf'^opensqt_engine_{name}_bucket.* # {{position_id="([^"]+)"}}', text, re.M
        )
        assert marked, name
    assert used.position_id in text


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="watching")
async def _watching(
    used: Used, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[PrometheusServer]:
    """Let a Prometheus with our rules watch the system."""
    targets = []
    for name, address in used.targets.items():
        job, _, exchange = name.partition("-")
        labels = {"job": job} | ({"exchange": exchange} if exchange else {})
        targets.append(Target(address, labels))
    async with prometheus_server(tmp_path_factory.mktemp("watching"), targets, RULES) as server:
        yield server


async def firing(server: PrometheusServer) -> set[str]:
    """Return the names of the alerts that fire."""
    alerts = (await server.ask("alerts"))["alerts"]
    return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}


@pytest.mark.skipif(PROGRAM is None, reason="needs prometheus (Debian package prometheus)")
async def test_a_healthy_system_raises_no_alert_and_a_halted_one_does(
    used: Used, watching: PrometheusServer
) -> None:
    """The rules as they are shipped, over what the processes really tell."""

    async def has_judged() -> bool:
        told = await watching.instant("instance:opensqt_engine_gross_notional:sum")
        return told.largest > 0

    await used.driver.until(has_judged, "the rules were evaluated", seconds=20)
    assert await firing(watching) == set()
    reason = {"request_id": str(uuid.uuid4()), "reason": "to see the alert"}
    await used.driver.engine.Halt(engine_pb2.HaltRequest(**reason))

    async def is_told() -> bool:
        return "EngineHalted" in await firing(watching)

    await used.driver.until(is_told, "the halt was an alert", seconds=20)
