"""docker-compose.yml in every compose of this machine: each profile loads without a word."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
_COMPOSES = (("docker-compose",), ("docker", "compose"))
_PROFILES = (
    ("--profile", "default"),
    ("--profile", "scale"),
    ("--profile", "live"),
    ("--env-file", "deploy/live.env.example", "--profile", "live"),
    ("--env-file", "deploy/live.env.example", "--profile", "live", "--profile", "paper"),
    ("--env-file", "deploy/paper.env.example"),
    ("-f", "docker-compose.yml", "-f", "deploy/traces.yml"),
)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("compose", _COMPOSES, ids=" ".join)
@pytest.mark.parametrize("options", _PROFILES, ids=" ".join)
def test_every_profile_loads_without_a_warning(
    compose: tuple[str, ...], options: tuple[str, ...]
) -> None:
    """Neither says that a variable is not set, a key is unknown or a version is obsolete."""
    if shutil.which(compose[0]) is None or _run(*compose, "version").returncode:
        pytest.skip(f"no {' '.join(compose)} here")
    done = _run(*compose, *options, "config", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
