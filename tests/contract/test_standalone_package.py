"""The distribution of the contract stands alone: built, installed and used without this tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import opensqt

PROTO_ROOT = Path(opensqt.__file__).resolve().parents[1]

WHAT_IS_THERE = """
import importlib.util, sys
from opensqt.market_maker.v1 import engine_pb2_grpc, exchange_pb2, exchange_pb2_grpc
assert importlib.util.find_spec("services") is None
assert importlib.util.find_spec("ccxt") is None
order = exchange_pb2.GetOrderRequest(symbol="BTCUSDT", client_order_id="a1")
assert exchange_pb2.GetOrderRequest.FromString(order.SerializeToString()) == order
print(exchange_pb2.__file__)
"""


def build_wheel(folder: Path) -> Path:
    """Build the distribution from a copy of proto/ that has nothing around it."""
    source = folder / "source"
    shutil.copytree(PROTO_ROOT, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        check=True, cwd=source, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def needed_by(names: list[str]) -> set[str]:
    """List the distributions that these need, through all of their own needs."""
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(text) for text in metadata.requires(name) or ()]
        open_names += [r.name for r in needs if not r.marker or r.marker.evaluate({"extra": ""})]
    return found


def lay_in(name: str, site: Path) -> None:
    """Link one installed distribution into another environment, file by file."""
    for file in metadata.files(name) or ():
        if ".." in file.parts:
            continue
        target = site / Path(*file.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(str(file.locate())).resolve())


@pytest.fixture(scope="module")
def lone_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an empty environment, install the wheel, and lay in what the wheel says it needs.

    The needs come from the environment that runs the tests, so no registry is asked; nothing that
    the wheel does not declare is there.
    """
    folder = tmp_path_factory.mktemp("lone")
    wheel = build_wheel(folder)
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq", "--no-deps",
         "--no-index", "--disable-pip-version-check", str(wheel)],
        check=True, capture_output=True,
    )  # fmt: skip
    site = next((environment / "lib").glob("python*/site-packages"))
    requires = next(site.glob("opensqt_protos-*.dist-info/METADATA")).read_text(encoding="utf-8")
    lines = [line for line in requires.splitlines() if line.startswith("Requires-Dist:")]
    for name in needed_by([Requirement(line.split(":", 1)[1]).name for line in lines]):
        lay_in(name, site)
    return python


def run_alone(python: Path, program: str, *arguments: str) -> str:
    """Run a program in the lone environment, outside of this tree, and return what it printed."""
    result = subprocess.run(
        [str(python), "-I", "-c", program, *arguments],
        check=False, capture_output=True, text=True, cwd=python.parent, timeout=25,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_lone_package_brings_its_modules_types_and_nothing_else(lone_python: Path) -> None:
    """The stubs import from the wheel; our services and ccxt are not there."""
    module = Path(run_alone(lone_python, WHAT_IS_THERE).strip())
    site = lone_python.parents[1]
    assert module.resolve().is_relative_to(site.resolve())
    package = module.parents[2]
    assert (package / "py.typed").is_file()
    assert module.with_suffix(".pyi").is_file()
    assert module.with_name("exchange.proto").is_file()
