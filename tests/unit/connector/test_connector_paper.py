"""Settings of a connector on paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from services.common.errors import FatalError
from services.common.paper import PAPER_KEY
from services.connector.ledger import Ledger
from services.connector.settings import ConnectorPart

PAPER = "http://127.0.0.1:8080"


def part(folder: Path, **changes: Any) -> ConnectorPart:
    """Return the settings of a connector on paper."""
    values: dict[str, Any] = {
        "exchange": "binance",
        "paper_url": PAPER,
        "ledger_path": folder / "paper.ledger",
    }
    return ConnectorPart(**{**values, **changes})


def test_paper_has_one_address_and_a_key_of_nobody(tmp_path: Path) -> None:
    """Everything goes to the paper venue; no key was set."""
    made = part(tmp_path)
    assert made.venue_url == PAPER
    assert made.has_key
    assert not made.has_own_key
    assert made.read_credentials().api_key == PAPER_KEY


@pytest.mark.parametrize(
    "change",
    [
        {"api_key": SecretStr("k"), "api_secret": SecretStr("s")},
        {"base_url": "http://127.0.0.1:8081"},
        {"exchange": "gate-swap"},
        {"paper_url": "127.0.0.1:8080"},
    ],
)
def test_what_would_mix_paper_and_venue_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """A key, another address, a venue that no mirror follows."""
    with pytest.raises(ValidationError):
        part(tmp_path, **change)


def test_a_ledger_of_paper_is_no_venues(tmp_path: Path) -> None:
    """A connector on the venue does not start with it."""
    on_paper = part(tmp_path)
    ledger = Ledger(on_paper.ledger_path, on_paper.ledger_owner)
    ledger.open()
    ledger.close()
    live = part(tmp_path, paper_url=None)
    assert live.ledger_owner == "binance"
    with pytest.raises(FatalError, match="on paper"):
        Ledger(live.ledger_path, live.ledger_owner).open()
