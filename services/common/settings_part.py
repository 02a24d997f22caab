"""What every table of the settings is made of: a frozen base, ports, the question of loopback."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Port = Annotated[int, Field(ge=0, le=65_535)]


class SettingsPart(BaseModel):
    """A table inside the settings: frozen, and unknown keys are errors."""

    # pydantic quotes the wrong input in its errors, and that may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def is_loopback(host: str) -> bool:
    """Tell whether a host, without port, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
