"""The word by which an engine shows a connector which of its lives is calling.

An epoch is the number of a start, or of a takeover where several engines share a journal; each is
above all before. It stands in the metadata of calls that send orders or ask about one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from services.common.errors import InvalidFieldError

if TYPE_CHECKING:
    from collections.abc import Iterable

ENGINE_EPOCH_KEY: Final = "engine-epoch"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

Metadata = tuple[tuple[str, str], ...]


def epoch_metadata(epoch: int) -> Metadata:
    """Return a call's metadata with the epoch; none for 0."""
    return ((ENGINE_EPOCH_KEY, str(epoch)),) if epoch else ()


def read_epoch(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    """Return the epoch in a call's metadata, 0 where there is none.

    Raises InvalidFieldError for one that is no number above zero, or is there twice.
    """
    found = [value for key, value in metadata if key == ENGINE_EPOCH_KEY]
    if not found:
        return 0
    value = found[0]
    if len(found) > 1 or not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise InvalidFieldError(ENGINE_EPOCH_KEY, "must be one number above zero")
    return int(value)
