"""The ready file: how a supervisor or a test learns where a service listens."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a serving process says of itself; addresses are `host:port`, None when it has none."""

    service: str
    grpc_address: str | None = None
    metrics_address: str | None = None
    http_address: str | None = None
    page_address: str | None = None


def write_ready_file(path: Path, readiness: Readiness) -> None:
    """Write the ready file in one step, so that a reader sees all of it or none.

    The folder is made when it is missing. Raises OSError when it cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, str | int] = {"service": readiness.service, "pid": os.getpid()}
    for key in ("grpc_address", "metrics_address", "http_address", "page_address"):
        value = getattr(readiness, key)
        if value is not None:
            document[key] = value
    # In the same folder: a rename is atomic within one file system only.
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_ready_file(path: Path) -> None:
    """Remove the ready file when it is still ours; another process may have taken the path over."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if isinstance(document, dict) and document.get("pid") == os.getpid():
        path.unlink(missing_ok=True)


@contextmanager
def ready_file(path: Path | None, readiness: Readiness) -> Iterator[None]:
    """Keep the ready file for the length of the block; without a path do nothing."""
    if path is None:
        yield
        return
    write_ready_file(path, readiness)
    try:
        yield
    finally:
        remove_ready_file(path)
