"""The stack of docker-compose.yml, driven as an operator drives it: compose, published ports, mTLS.

With a Docker engine that reaches no image registry the images are built on the host's network and
stand-ins are made for those nobody publishes here; the shipped files stay what they are.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cli.demo.control import ControlError, SimulatorControl
from cli.demo.stack import LocalStack, StackOptions
from cli.settings import ArbSettings, read_arb_settings
from services.common.settings import EndpointSettings
from tests.support.compose_ports import SHIPPED, free_ports
from tests.support.image_stand_ins import is_stand_in, make_stand_ins

ROOT: Final = Path(__file__).resolve().parents[2]
_BUILD_SECONDS: Final = 1_500.0
_CALL_SECONDS: Final = 600.0


class ComposeStack(LocalStack):
    """One compose project with a name of its own, so that it never touches an operator's."""

    def __init__(
        self,
        directory: Path,
        profile: str,
        *,
        env_file: Path | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Take profiles (with commas between), an environment file, and services beside or over."""
        super().__init__(directory, StackOptions())
        self.profile = profile
        self.ports = free_ports()
        self.project = f"opensqt-e2e-{profile.replace(',', '-')}"
        self.is_lab = is_stand_in("python:3.13-slim-trixie")
        self._env_file = env_file
        self._more = _services_file(directory / "more.yml", more) if more else None
        lab = {name: {"build": {"network": "host"}} for name in self.built()}
        self._override = _services_file(directory / "lab.yml", lab)

    def built(self) -> list[str]:
        """Return the services of the profile whose images are made from this tree."""
        return [name for name, one in self._services().items() if "build" in one]

    def _services(self) -> dict[str, dict[str, str]]:
        return _services(self._text("config", lab=False), self.profile)

    @property
    def control(self) -> SimulatorControl:
        """The simulator's control endpoint, through its published port."""
        token = (self.directory / "operator" / "control-token").read_text(encoding="ascii")
        return SimulatorControl(self.published("SIMULATOR_PORT"), token=token)

    def published(self, name: str) -> str:
        """Return the address on this host of one of compose's port variables."""
        return f"127.0.0.1:{self.ports[name]}"

    def arb_settings(self) -> ArbSettings:
        """Settings of an `arb` on this host, from the folder that the operator exports."""
        return read_arb_settings(self.directory / "operator" / "arb-here.toml")

    def engines(self) -> list[EndpointSettings]:
        """Return the published engines, of which one is at work."""
        first = self.arb_settings().engine
        if self.profile != "scale":
            return [first]
        second = self.published("SECOND_ENGINE_PORT")
        return [first, first.model_copy(update={"address": second})]

    def build(self) -> float:
        """Build the images, stand-ins included; return the seconds."""
        started = time.monotonic()
        if self.is_lab:
            make_stand_ins(self.images())
        self._run("build", "-q", seconds=_BUILD_SECONDS)
        return time.monotonic() - started

    def images(self) -> list[str]:
        """Return the images of the profile that others publish."""
        return [one["image"] for one in self._services().values() if "build" not in one]

    def up(self) -> None:
        """Start all that can run here, and bring the operator's folder over."""
        self._run("up", "-d", "--no-build", *self.services_here())
        folder = self.directory / "operator"
        shutil.rmtree(folder, ignore_errors=True)
        content = self._bytes("run", "--rm", "-T", "secrets", "export", "/secrets")
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")
        text = (folder / "arb.toml").read_text(encoding="utf-8")
        for name in ("at/", "ca.pem", "tls.pem", "tls.key"):
            text = text.replace(f'"{name}', f'"{folder}/{name}')
        for name, port in SHIPPED.items():
            text = text.replace(f'"127.0.0.1:{port}"', f'"{self.published(name)}"')
        (folder / "arb-here.toml").write_text(text, encoding="utf-8")

    def services_here(self) -> list[str]:
        """Return the services whose image is to be had here: Grafana's is not, in a lab."""
        return [
            name
            for name, one in self._services().items()
            if "build" in one or not self.is_lab or is_stand_in(one["image"])
        ]

    def down(self) -> None:
        """Remove everything of the project, its volumes too."""
        self._run("down", "-v", "--remove-orphans", "-t", "5")

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what `docker inspect` says of every container, by service."""
        label = f"label=com.docker.compose.project={self.project}"
        ids = _docker("ps", "-aq", "--filter", label).split()
        rows = json.loads(_docker("inspect", *ids)) if ids else []
        return {
            row["Config"]["Labels"]["com.docker.compose.service"]: row
            for row in rows
            if row["Config"]["Labels"].get("com.docker.compose.oneoff") != "True"
        }

    def kill(self, *services: str) -> None:
        """SIGKILL the processes of these containers from outside, as the kernel would."""
        # `docker kill` counts as an operator's stop, after which no restart policy applies.
        before = self.containers()
        for name in services:
            os.kill(before[name]["State"]["Pid"], signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            after = self.containers()
            if all(_start(after[name]) != _start(before[name]) for name in services):
                return
        raise AssertionError(f"not started again: {services}")

    async def until_healthy(self, seconds: float = 300.0) -> float:
        """Wait until every container is healthy, or ended well where it runs once.

        Return the seconds it took.
        """
        started = time.monotonic()
        while sick := self._sick():
            if time.monotonic() - started > seconds:
                raise AssertionError(f"not healthy within {seconds:.0f} s: {sick}\n{self.logs()}")
            await asyncio.sleep(0.5)
        return time.monotonic() - started

    def _sick(self) -> dict[str, str]:
        sick = {}
        for name, row in self.containers().items():
            state = row["State"]
            told = state.get("Health", {}).get("Status", state["Status"])
            once = name == "secrets" and state["Status"] == "exited" and state["ExitCode"] == 0
            if told != "healthy" and not once:
                sick[name] = f"{told} ({state['Status']}, exit {state['ExitCode']})"
        return sick

    def logs(self, *services: str) -> str:
        """Return the last lines of these services, by default of all."""
        return self._text("logs", "--no-color", "--tail=15", *services)[-6_000:]

    def execute(self, service: str, program: str) -> str:
        """Run a line of Python inside a container and return what it prints."""
        identity = self.containers()[service]["Id"]
        return _docker("exec", identity, "/opt/opensqt/bin/python", "-c", program)

    def shell(self, service: str, line: str) -> str:
        """Run a line of shell in a container that has one; return what it prints."""
        identity = self.containers()[service]["Id"]
        return _docker("exec", identity, "/bin/sh", "-c", line)

    def docker(self, *arguments: str) -> str:
        """Run a docker command and return its output."""
        return _docker(*arguments)

    def network(self, name: str) -> str:
        """Return the engine's name of one of the stack's networks."""
        return f"{self.project}_{name}"

    def compose(self, *arguments: str) -> str:
        """Run a compose command of this project and return its output."""
        return self._text(*arguments)

    def _run(self, *arguments: str, seconds: float = _CALL_SECONDS) -> None:
        self._bytes(*arguments, seconds=seconds)

    def _text(self, *arguments: str, lab: bool = True) -> str:
        return self._bytes(*arguments, lab=lab).decode("utf-8", "replace")

    def _bytes(self, *arguments: str, lab: bool = True, seconds: float = _CALL_SECONDS) -> bytes:
        files = ["-f", str(ROOT / "docker-compose.yml")]
        if self._more:
            files += ["-f", str(self._more)]
        if lab and self.is_lab:
            files += ["-f", str(self._override)]
        command = [*_compose(), "--project-directory", str(ROOT), "-p", self.project]
        if self._env_file:
            command += ["--env-file", str(self._env_file)]
        targets = "prometheus-scale.yml" if self.profile == "scale" else "prometheus.yml"
        chosen = {"COMPOSE_PROFILES": self.profile, "PROMETHEUS_CONFIG": targets}
        ports = {name: str(port) for name, port in self.ports.items()}
        environment = {**os.environ, **chosen, **ports}
        return _output([*command, *files, *arguments], seconds, environment)


@contextmanager
def running(stack: ComposeStack, told: list[str]) -> Iterator[ComposeStack]:
    """Build the stack, start it and wait until it is healthy; remove all of it at the end."""
    stack.down()
    try:
        told.append(f"images built in {stack.build():.0f} s")
        started = time.monotonic()
        stack.up()
        asyncio.run(stack.until_healthy())
        seconds = time.monotonic() - started
        told.append(f"{len(stack.containers())} containers, all healthy {seconds:.0f} s after `up`")
        yield stack
    finally:
        stack.down()


async def poll(holds: Callable[[], Awaitable[bool]], what: str, seconds: float = 60.0) -> None:
    """Wait until the condition holds; a service that does not answer yet does not hold it."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if await holds():
                return
        except (ControlError, OSError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.25)


def _start(container: dict[str, Any]) -> str:
    return str(container["State"]["StartedAt"])


def _services_file(path: Path, services: Mapping[str, Any]) -> Path:
    # JSON is YAML.
    path.write_text(json.dumps({"services": services}), encoding="utf-8")
    return path


def _compose() -> list[str]:
    return ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]


def _services(config: str, profile: str) -> dict[str, dict[str, str]]:
    """Return the services of a profile from `compose config`: plain YAML, two columns a level.

    Compose 1.29 prints those of every profile.
    """
    services: dict[str, dict[str, str]] = {}
    section = name = key = ""
    for line in config.splitlines():
        text, depth = line.strip(), len(line) - len(line.lstrip())
        if depth == 0:
            section = text
        elif section != "services:":
            continue
        elif depth == 2:
            name = text.rstrip(":")
            services[name] = {}
        elif text.startswith("- ") and depth <= 6:
            services[name][key] += f" {text[2:]}"
        elif depth == 4:
            key, _, value = text.partition(":")
            services[name][key] = value.strip()
    return {
        name: one
        for name, one in services.items()
        if "profiles" not in one or set(profile.split(",")) & set(one["profiles"].split())
    }


def _docker(*arguments: str) -> str:
    return _output(["docker", *arguments], _CALL_SECONDS).decode("utf-8", "replace")


def _output(
    command: Sequence[str], seconds: float, environment: dict[str, str] | None = None
) -> bytes:
    ended = subprocess.run(
        command, capture_output=True, timeout=seconds, check=False, env=environment
    )
    if ended.returncode:
        told = ended.stderr.decode("utf-8", "replace")[-3_000:]
        raise AssertionError(f"{' '.join(command)} failed:\n{told}")
    return ended.stdout
