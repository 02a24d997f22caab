"""A real Prometheus that scrapes what a test names, and answers as Grafana would ask it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import os
import re
import shutil
import urllib.parse
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.scanner_rig import until

PROGRAM = shutil.which("prometheus")
_LISTENS = re.compile(r"Listening on.*address=127\.0\.0\.1:(\d+)")


@dataclass(frozen=True, slots=True)
class Target:
    """One exporter: where it listens, and the labels that its series get."""

    address: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question brought: its series with a finite value, and the largest of those values."""

    series: int
    largest: float


@dataclass(frozen=True, slots=True)
class PrometheusServer:
    """A server that runs on `port` of loopback."""

    port: int

    async def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an API call; fails with Prometheus's own words when it is refused."""
        return await asyncio.to_thread(self._ask, path, parameters)

    async def range(self, expr: str, start: float, end: float, step: float) -> Answer:
        """Ask over a span, as a panel with a time axis does."""
        data = await self.ask(
            "query_range", query=expr, start=str(start), end=str(end), step=str(step)
        )
        return _answer([one["values"] for one in data["result"]])

    async def instant(self, expr: str) -> Answer:
        """Ask for now, as a table does."""
        data = await self.ask("query", query=expr)
        return _answer([[one["value"]] for one in data["result"]])

    def _ask(self, path: str, parameters: Mapping[str, str]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            query = urllib.parse.urlencode(parameters)
            connection.request("GET", f"/api/v1/{path}?{query}")
            told = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert told["status"] == "success", f"{parameters}: {told}"
        return told["data"]


def _answer(rows: Sequence[Sequence[tuple[float, str]]]) -> Answer:
    finite = [[v for _, text in row if math.isfinite(v := float(text))] for row in rows]
    return Answer(
        series=sum(1 for row in finite if row),
        largest=max((value for row in finite for value in row), default=math.nan),
    )


def _configuration(targets: Sequence[Target], rules: Sequence[Path]) -> dict[str, Any]:
    jobs: dict[str, list[dict[str, Any]]] = {}
    for target in targets:
        labels = dict(target.labels)
        jobs.setdefault(labels.pop("job"), []).append(
            {"targets": [target.address], "labels": labels}
        )
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": static} for job, static in jobs.items()
        ],
    }


@asynccontextmanager
async def prometheus_server(
    folder: Path, targets: Sequence[Target], rules: Sequence[Path] = ()
) -> AsyncIterator[PrometheusServer]:
    """Run a server for the length of the block, once every target has been scraped."""
    log = folder / "prometheus.log"
    process = await _start(folder, _configuration(targets, rules), log)
    try:
        await until(lambda: _LISTENS.search(log.read_text(encoding="utf-8")) is not None)
        told = _LISTENS.search(log.read_text(encoding="utf-8"))
        assert told is not None
        server = PrometheusServer(int(told.group(1)))

        async def scraped() -> bool:
            return await _up_count(server) == len(targets)

        await until(scraped, 20)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _start(
    folder: Path, configuration: Mapping[str, Any], log: Path
) -> asyncio.subprocess.Process:
    assert PROGRAM is not None
    file = folder / "prometheus.yml"

    def prepare() -> int:
        folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML too.
        file.write_text(json.dumps(configuration), encoding="utf-8")
        return os.open(log, os.O_CREAT | os.O_WRONLY)

    output = await asyncio.to_thread(prepare)
    try:
        return await asyncio.create_subprocess_exec(
            PROGRAM,
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            "--enable-feature=exemplar-storage",
            stdout=output,
            stderr=output,
        )
    finally:
        os.close(output)


async def _up_count(server: PrometheusServer) -> int:
    try:
        answer = await server.instant("sum(up)")
    except (OSError, ValueError):
        return 0
    return 0 if math.isnan(answer.largest) else int(answer.largest)
