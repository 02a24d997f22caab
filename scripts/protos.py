"""Generate the Python package `opensqt` from the `.proto` files, and hold it to them.

`generate` rewrites the committed modules; `check` generates into a scratch folder, fails on any
difference, lints the contract with buf and refuses a change that would break a caller of the
committed baseline. buf reads descriptor sets made by protoc, because it would otherwise fetch
google/type over the network.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.type import decimal_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
PACKAGE = Path("opensqt/market_maker/v1")
BASELINE = PROTO_ROOT / "baseline.binpb"
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py", "*_pb2_grpc.pyi")
# googleapis-common-protos is the one source of google/type and google/rpc, here as at run time.
GOOGLE_ROOT = Path(decimal_pb2.__file__).resolve().parents[2]
GRPC_TOOLS_PROTOS = Path(protoc.__file__).resolve().parent / "_proto"


class ChoreFailedError(Exception):
    """A tool refused; its own output says why."""


def say(text: str) -> None:
    """Write one line to standard output."""
    sys.stdout.write(f"{text}\n")


def run_protoc(*arguments: str) -> None:
    """Run protoc over every source file; raise ChoreFailedError when it refuses."""
    # protoc looks for protoc-gen-mypy on the PATH, and make does not activate the environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = sorted(
        str(path.relative_to(PROTO_ROOT)) for path in PROTO_ROOT.glob("opensqt/**/*.proto")
    )
    includes = [f"-I{path}" for path in (PROTO_ROOT, GOOGLE_ROOT, GRPC_TOOLS_PROTOS)]
    if protoc.main(["protoc", *includes, *arguments, *sources]) != 0:
        raise ChoreFailedError("protoc refused the sources")


def generate_into(folder: Path) -> None:
    """Write messages, services and their stubs below `folder`."""
    run_protoc(
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        f"--mypy_out=quiet:{folder}",
        f"--mypy_grpc_out=quiet:{folder}",
    )


def generated_names(folder: Path) -> set[str]:
    """Name the generated modules that `folder` holds."""
    return {path.name for pattern in GENERATED for path in folder.glob(pattern)}


def generate() -> None:
    """Rewrite the committed modules, and drop those whose source is gone."""
    package = PROTO_ROOT / PACKAGE
    for name in generated_names(package):
        # All, before making any: a module whose source is gone would stay importable.
        (package / name).unlink()
    generate_into(PROTO_ROOT)
    say(f"generated {len(generated_names(package))} modules")


def build_descriptor_set(path: Path, *extra: str) -> None:
    """Write all descriptors and what they import to `path`."""
    run_protoc(f"--descriptor_set_out={path}", "--include_imports", *extra)


def differences(scratch: Path) -> list[str]:
    """Name the generated modules that differ from the committed ones."""
    made, committed = scratch / PACKAGE, PROTO_ROOT / PACKAGE
    names = sorted(generated_names(made) | generated_names(committed))
    # Not shallow: files written in one second with one size would count as equal.
    _, differing, missing = filecmp.cmpfiles(made, committed, names, shallow=False)
    return sorted(differing + missing)


def run_buf(*arguments: str) -> None:
    """Run buf; raise ChoreFailedError when it finds something."""
    # The environment's own first: another version may judge differently.
    buf = shutil.which("buf", path=str(Path(sys.executable).parent)) or "buf"
    command = [buf, *arguments, "--config", str(PROTO_ROOT / "buf.yaml")]
    if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:  # noqa: S603 - our own arguments
        raise ChoreFailedError(f"buf {arguments[0]} found the above")


def check() -> None:
    """Fail unless the committed modules are current and the contract is clean and compatible."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        generate_into(scratch)
        stale = differences(scratch)
        if stale:
            raise ChoreFailedError(f"run `make proto`; these differ: {', '.join(stale)}")
        descriptors = scratch / "descriptors.binpb"
        # buf finds the comments that it asks for in the source info.
        build_descriptor_set(descriptors, "--include_source_info")
        run_buf("lint", str(descriptors))
        run_buf("breaking", str(descriptors), "--against", str(BASELINE))
    say("protos: generated code is current, lint is clean, nothing breaks the baseline")


def main() -> int:
    """Run the chore named on the command line; 1 when it failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chore", choices=("generate", "check", "baseline"))
    chore = parser.parse_args().chore
    try:
        if chore == "generate":
            generate()
        elif chore == "check":
            check()
        else:
            build_descriptor_set(BASELINE)
    except ChoreFailedError as error:
        sys.stderr.write(f"protos: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
