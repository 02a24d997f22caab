"""The stack in containers: a whole trade through published ports, then every kind of failure."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request

import pytest
from rich.console import Console

from cli.demo.result import summary
from cli.demo.story import Story
from tests.support.compose_stack import ROOT, ComposeStack
from tests.support.compose_strikes import (
    driving,
    next_symbol,
    settled,
    settled_after_exit,
    strike,
    taken,
)
from tests.support.stack import OPEN

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

_SERVICES = ("connector-spot", "connector-perp", "scanner", "engine")
_PYTHON = ("simulator", *_SERVICES)
_WATCHERS = ("prometheus", "alertmanager")
_OUTAGE_SECONDS = 10.0
_PROBE = (ROOT / "tests" / "support" / "container_probe.py").read_text(encoding="utf-8")


async def test_a_trade_through_published_ports(
    compose_stack: ComposeStack, told: list[str]
) -> None:
    """Scan, entry with a lead filled in part, funding and exit; the venue's books agree."""
    async with driving(compose_stack) as driver:
        await next_symbol(compose_stack, driver)
    console = Console(width=160, record=True, quiet=True)
    started = time.monotonic()
    evidence = await Story(compose_stack, console).play()
    result = summary(evidence)
    told.append(
        f"scan, entry, funding, exit in {time.monotonic() - started:.0f} s: {json.dumps(result)}"
    )
    assert result["flat"] is True, result


def test_containers_can_do_nothing_else(compose_stack: ComposeStack, told: list[str]) -> None:
    """No root, no capability, a read-only root, and nowhere to write but state and /tmp."""
    for name in _PYTHON:
        found = json.loads(compose_stack.execute(name, _PROBE))
        told.append(f"{name}: {found}")
        assert found["uid"] == 10001
        assert int(found["capabilities"], 16) == int(found["bounding"], 16) == 0
        assert found["no_new_privileges"] == "1"
        # The simulated exchange lives in memory alone.
        state = [] if name == "simulator" else ["/var/lib/opensqt"]
        assert found["writes"] == ["/tmp", *state], name  # noqa: S108 - looked at
    for name, row in compose_stack.containers().items():
        limits = row["HostConfig"]
        assert limits["ReadonlyRootfs"], name
        assert limits["CapDrop"] == ["ALL"], name
        assert limits["Memory"] > 0, name
        assert limits["PidsLimit"] == 256, name
        published = [
            one["HostIp"] for each in (limits["PortBindings"] or {}).values() for one in each
        ]
        assert set(published) <= {"127.0.0.1"}, name


def test_prometheus_scrapes_every_target(compose_stack: ComposeStack, told: list[str]) -> None:
    """Every target of the shipped configuration is up."""
    address = f"http://{compose_stack.published('PROMETHEUS_PORT')}/api/v1/targets"
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(address, timeout=20) as answer:
            targets = json.load(answer)["data"]["activeTargets"]
        down = [one["scrapeUrl"] for one in targets if one["health"] != "up"]
        if not down or time.monotonic() > deadline:
            break
    told.append(f"prometheus: {len(targets)} targets, down: {down or 'none'}")
    assert len(targets) >= 5
    assert not down
    assert compose_stack.containers()["prometheus"]["State"]["Running"]


def test_promtool_finds_nothing(compose_stack: ComposeStack, told: list[str]) -> None:
    """Configuration and rules as mounted, and what every service exposes, are sound."""
    checks = ["promtool check config /etc/prometheus/prometheus.yml"]
    for name in _SERVICES:
        page = f"/tmp/{name}.txt"  # noqa: S108 - inside the container
        fetch = f"wget -q -O {page} http://{name}:9160/metrics"
        checks.append(f"{fetch} && promtool check metrics <{page}")
    for check in checks:
        compose_stack.shell("prometheus", check)
    told.append(f"promtool: configuration with its rules, metrics of {len(_SERVICES)} services")


def test_the_page_wants_a_token(compose_stack: ComposeStack, told: list[str]) -> None:
    """The status page answers a browser that shows the token, and no other."""
    address = f"https://{compose_stack.published('PAGE_PORT')}/"
    folder = compose_stack.directory / "operator"
    trusting = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    token = (folder / "at" / "engine.token").read_text(encoding="ascii")
    proof = base64.b64encode(f"operator:{token}".encode()).decode("ascii")
    shown = urllib.request.Request(address, headers={"Authorization": f"Basic {proof}"})
    with urllib.request.urlopen(shown, timeout=20, context=trusting) as answer:  # noqa: S310 - ours
        page = answer.read().decode("utf-8")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=20, context=trusting)
    refused.value.close()
    told.append(f"status page: {len(page)} characters; without the token {refused.value.code}")
    assert "<html" in page
    assert refused.value.code == 401


@pytest.mark.parametrize("victim", [*_SERVICES, *_WATCHERS])
async def test_a_killed_container_comes_back(
    compose_stack: ComposeStack, told: list[str], victim: str
) -> None:
    """SIGKILL during an entry: matched or flat afterwards by the venue's books, healthy again."""
    await strike(compose_stack, told, f"kill -9 {victim}", lambda: compose_stack.kill(victim))


async def test_all_containers_killed_at_once(compose_stack: ComposeStack, told: list[str]) -> None:
    """All but the venue itself die in one moment."""
    victims = (*_SERVICES, *_WATCHERS)
    await strike(compose_stack, told, "kill -9 of all", lambda: compose_stack.kill(*victims))


@pytest.mark.parametrize("victim", ["connector-spot", "connector-perp"])
async def test_a_connector_without_network(
    compose_stack: ComposeStack, told: list[str], victim: str
) -> None:
    """Cut off from venue and engine for ten seconds during an entry."""

    def outage() -> None:
        for network in ("inside", "venue"):
            stack_network = compose_stack.network(network)
            identity = compose_stack.containers()[victim]["Id"]
            compose_stack.docker("network", "disconnect", stack_network, identity)
        _wait(_OUTAGE_SECONDS)
        for network in ("inside", "venue"):
            name = compose_stack.network(network)
            compose_stack.docker("network", "connect", "--alias", victim, name, identity)

    await strike(compose_stack, told, f"network of {victim} cut for 10 s", outage)


async def test_a_paused_engine(compose_stack: ComposeStack, told: list[str]) -> None:
    """Frozen for ten seconds during an entry."""

    def outage() -> None:
        identity = compose_stack.containers()["engine"]["Id"]
        compose_stack.docker("pause", identity)
        _wait(_OUTAGE_SECONDS)
        compose_stack.docker("unpause", identity)

    await strike(compose_stack, told, "engine paused for 10 s", outage)


async def test_the_venue_dies_with_all_others(compose_stack: ComposeStack, told: list[str]) -> None:
    """Whatever runs dies, the simulated exchange with its books: healthy again, and it trades."""
    victims = ("simulator", *_SERVICES, *_WATCHERS)
    await asyncio.to_thread(compose_stack.kill, *victims)
    healthy = await compose_stack.until_healthy()
    async with driving(compose_stack) as driver:
        # By name: the new venue's time begins anew, before the histories that the scanner has.
        symbol = "LINKUSDT"
        before = await driver.books()
        held = await settled(driver, await taken(compose_stack, symbol))
        assert held.state == OPEN, held
        await driver.assert_matched_or_flat(await settled_after_exit(driver, held), before)
    told.append(f"kill -9 of all and the venue: healthy {healthy:.1f} s, {symbol} in and out")


def _wait(seconds: float) -> None:
    # The length of the outage itself: there is nothing to poll for.
    threading.Event().wait(seconds)
