"""What a world does to its interpreter while it lives, and takes back at its end."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

_SILENT: Final = logging.CRITICAL


def memory_folder() -> str | None:
    """Return where folders are in memory, None where the machine has no such place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of one's own in it


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Log nothing, and collect no garbage: when it would is not the seed's to say."""
    before, was_on = logging.root.manager.disable, gc.isenabled()
    # What was there before need not be looked through when the world is collected.
    gc.freeze()
    told = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_SILENT))
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        logging.disable(before)
        structlog.configure(**told)
        gc.unfreeze()
        if was_on:
            gc.enable()


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Say nothing of coroutines that refuse to end: they were killed, not left."""
    told = sys.unraisablehook
    sys.unraisablehook = lambda _problem: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = told
