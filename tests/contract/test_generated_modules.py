"""Every generated module imports first, and `google.type` is registered by one package only."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import opensqt

PROTO_ROOT = Path(opensqt.__file__).resolve().parents[1]
SOURCES = sorted(PROTO_ROOT.glob("opensqt/**/*.proto"))
SOURCE_IDS = [path.stem for path in SOURCES]
GOOGLE = ("google.type.decimal_pb2", "google.rpc.status_pb2", "google.rpc.error_details_pb2")


def module_name(source: Path, suffix: str) -> str:
    """Name the module that is generated from a source file."""
    return ".".join(source.relative_to(PROTO_ROOT).with_suffix("").parts) + suffix


def import_in_fresh_interpreter(*names: str) -> subprocess.CompletedProcess[str]:
    """Import the modules in this order in an interpreter that has imported nothing else."""
    program = f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=False, capture_output=True, text=True
    )


@pytest.mark.parametrize("suffix", ["_pb2", "_pb2_grpc"])
@pytest.mark.parametrize("source", SOURCES, ids=SOURCE_IDS)
@pytest.mark.parametrize("is_ours_first", [True, False], ids=["ours-first", "google-first"])
def test_generated_module_imports_in_both_orders(
    source: Path, suffix: str, is_ours_first: bool
) -> None:
    """A module imports first in a fresh interpreter, and after google.type and google.rpc."""
    ours = module_name(source, suffix)
    order = (ours, *GOOGLE) if is_ours_first else (*GOOGLE, ours)
    result = import_in_fresh_interpreter(*order)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("source", SOURCES, ids=SOURCE_IDS)
def test_module_path_equals_descriptor_name(source: Path) -> None:
    """The import path, the file's path and the registered name are one."""
    name = module_name(source, "_pb2")
    descriptor = importlib.import_module(name).DESCRIPTOR
    assert descriptor.name == str(source.relative_to(PROTO_ROOT))
    assert descriptor.package == ".".join(source.relative_to(PROTO_ROOT).parent.parts)


@pytest.mark.parametrize("name", GOOGLE)
def test_google_types_come_from_one_distribution(name: str) -> None:
    """Exactly one installed distribution holds google.type and google.rpc."""
    path = f"{name.replace('.', '/')}.py"
    owners = {
        distribution.metadata["Name"]
        for distribution in metadata.distributions()
        for file in distribution.files or ()
        if str(file) == path
    }
    assert owners == {"googleapis-common-protos"}


def test_our_tree_holds_no_copy_of_google_sources() -> None:
    """Nothing below proto/ registers a file of google's."""
    assert not list(PROTO_ROOT.glob("**/google/**/*.proto"))
    assert not list(PROTO_ROOT.glob("**/google/**/*_pb2.py"))
