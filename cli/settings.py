"""What `arb` needs to know: where the engine, the scanner and the connectors answer.

Sources, the first that knows a key wins: environment `OPENSQT_ARB__…`, the TOML file (`--config`,
else `arb.toml` in the working directory when there is one), the defaults of a local stack.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from services.common.settings import EndpointSettings, SettingsRoot, VenueSettings
from services.common.settings_loader import read_settings

DEFAULT_FILE = Path("arb.toml")


class ArbSettings(SettingsRoot):
    """Settings of the `arb` command."""

    service: ClassVar[str] = "arb"

    engine: EndpointSettings = EndpointSettings(address="127.0.0.1:50060")
    scanner: EndpointSettings = EndpointSettings(address="127.0.0.1:50050")
    connectors: tuple[VenueSettings, ...] = ()


def read_arb_settings(config: Path | None) -> ArbSettings:
    """Read the settings; raises SettingsProblemsError with everything that is wrong."""
    # Here only: a file found elsewhere could aim a command at another account.
    if config is None and DEFAULT_FILE.is_file():
        config = DEFAULT_FILE
    return read_settings(ArbSettings, config, os.environ)
