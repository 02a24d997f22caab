"""Parameters of a Binance request, read strictly, refused with the venue's own codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar
from urllib.parse import parse_qsl

from services.simulator.core.clock import from_millis
from services.simulator.core.errors import VenueError

_NUMBER = re.compile(r"(0|[1-9][0-9]{0,17}|0[0-9]{0,17})?(\.[0-9]{0,18})?", re.ASCII)
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_Enum = TypeVar("_Enum", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Params:
    """Query and body parameters of one request; an empty value counts as not sent."""

    values: Mapping[str, str]

    @classmethod
    def parse(cls, query: str, body: str) -> Params:
        """Read URL-encoded parameters; those of the query come first, as on the venue."""
        # blank values are kept: ccxt's strings begin with an ampersand
        values = dict(parse_qsl(body, keep_blank_values=True)) if body else {}
        if query:
            values.update(parse_qsl(query, keep_blank_values=True))
        return cls(values)

    def text(self, name: str) -> str | None:
        """Return a parameter, None when it was not sent."""
        return self.values.get(name) or None

    def require(self, name: str) -> str:
        """Return a parameter; raises VenueError -1102 when it was not sent."""
        value = self.values.get(name)
        if not value:
            raise VenueError(
                -1102,
                f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.",
            )
        return value

    def decimal(self, name: str) -> Decimal | None:
        """Return a non-negative number; raises VenueError -1100 for anything else."""
        value = self.text(name)
        if value is None:
            return None
        # checked before Decimal sees it: it would take NaN, exponents and foreign digits
        if not _NUMBER.fullmatch(value) or value == ".":
            raise VenueError(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is "
                "'^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
            )
        return Decimal(value)

    def integer(self, name: str) -> int | None:
        """Return a whole number; raises VenueError -1100 for anything else."""
        value = self.text(name)
        if value is None:
            return None
        if not _INTEGER.fullmatch(value):
            raise VenueError(
                -1100,
                f"Illegal characters found in parameter '{name}'; "
                "legal range is '^[0-9]{1,20}$'.",
            )
        return int(value)

    def limit(self, default: int, maximum: int) -> int:
        """Return the page size asked for, cut to what the venue gives."""
        value = self.integer("limit")
        return default if value is None else max(1, min(value, maximum))

    def time(self, name: str) -> datetime | None:
        """Return an instant given in milliseconds."""
        value = self.integer(name)
        return None if value is None else from_millis(value)

    def flag(self, name: str) -> bool:
        """Return a boolean; raises VenueError -1100 when it is neither true nor false."""
        value = (self.text(name) or "false").lower()
        if value not in {"true", "false"}:
            raise VenueError(-1100, f"Illegal characters found in parameter '{name}'.")
        return value == "true"

    def choice(self, name: str, enum: type[_Enum], code: int, words: str) -> _Enum:
        """Return a mandatory enum value; raises VenueError with the venue's code for that enum."""
        try:
            return enum(self.require(name))
        except ValueError:
            raise VenueError(code, words) from None
