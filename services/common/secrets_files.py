"""Secrets come as files: read once, newline stripped, and made known to the log's mask."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from services.common.masking import register_secret

MAX_SECRET_BYTES = 65_536
"""Largest secret file: a private key fits, a wrong path to a log file does not."""


def read_secret_lines(path: Path) -> tuple[SecretStr, ...]:
    """Return the non-empty lines of a secret file; each is masked in logs from here on.

    Raises ValueError with a text free of the content when the file is missing, unreadable, too
    large, not UTF-8 or empty.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the secret file: {error.strerror}") from None
    if len(raw) > MAX_SECRET_BYTES:
        raise ValueError(f"the secret file is larger than {MAX_SECRET_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        # Not chained: a UnicodeDecodeError carries the bytes it could not read.
        raise ValueError("the secret file is not UTF-8 text") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not lines:
        # A path that is a file is no secret that stands where its file should.
        raise ValueError(f"{path} is empty: the secret goes into that file, alone on a line")
    for line in lines:
        register_secret(line)
    return tuple(SecretStr(line) for line in lines)


def read_secret(path: Path) -> SecretStr:
    """Return the secret of a file with exactly one line.

    Raise ValueError as `read_secret_lines` does.
    """
    lines = read_secret_lines(path)
    if len(lines) != 1:
        raise ValueError("the secret file must hold exactly one line")
    return lines[0]


def _check_secret(path: Path) -> Path:
    read_secret(path)
    return path


def _check_readable(path: Path) -> Path:
    try:
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot read the file: {error.strerror}") from None
    return path


SecretFile = Annotated[Path, AfterValidator(_check_secret)]
"""A setting that names a one-line secret file; read (and so checked) when the settings load."""

ReadableFile = Annotated[Path, AfterValidator(_check_readable)]
"""A setting that names a file which must be readable when the settings load, as a certificate."""
