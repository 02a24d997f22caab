"""Settings of a connector on paper."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from services.common.errors import FatalError
from services.common.paper import PAPER_KEY
from services.connector.exchange_factory import build_exchange, new_session
from services.connector.ledger import Ledger
from services.connector.profile import Credentials
from services.connector.settings import ConnectorPart
from services.connector.venues import PAPER_VENUES, find_profile

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
        {"api_secret": SecretStr("s")},
        {"api_passphrase": SecretStr("p")},
    ],
)
def test_what_would_mix_paper_and_venue_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """A key, another address, a venue that no mirror follows."""
    with pytest.raises(ValidationError):
        part(tmp_path, **change)


def _hosts(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {host for one in value.values() for host in _hosts(one)}
    return {urlsplit(value).hostname or ""} if isinstance(value, str) and "://" in value else set()


@pytest.mark.parametrize("exchange", PAPER_VENUES)
async def test_the_venue_itself_is_no_paper_venue(tmp_path: Path, exchange: str) -> None:
    """Every host that orders can go to by ccxt is refused as a paper venue, however it is put."""
    async with _built(part(tmp_path, exchange=exchange, paper_url=None)) as built:
        hosts = _hosts({name: built.urls.get(name) for name in ("api", "test", "demo")})
    assert "fapi.binance.com" in hosts
    odd = {"FAPI.Binance.com", "fapi.binance.com.", "me@fapi.binance.com:443/x", "binance.com"}
    # What an input method for Chinese types; the resolver is asked for the plain name.
    odd |= {"fapi\u3002binance\u3002com", "fapi.\uff42inance.com"}
    for host in hosts | odd:
        with pytest.raises(ValidationError, match="is the venue itself"):
            part(tmp_path, exchange=exchange, paper_url=f"http://{host}")
    for host in ("notbinance.com", "paper:8080", "paper_venue:8080", "10.1.2.3", "[::1]:8080"):
        assert part(tmp_path, exchange=exchange, paper_url=f"http://{host}").is_paper


@pytest.mark.parametrize("exchange", PAPER_VENUES)
async def test_on_paper_no_other_address_is_known(tmp_path: Path, exchange: str) -> None:
    """Each address of ccxt, of REST, streams and order entry, is that of the paper venue."""
    form = find_profile(exchange).websocket
    assert form is not None
    async with _built(part(tmp_path, exchange=exchange)) as built:
        assert _hosts(built.urls["api"]) == {"127.0.0.1"}
        assert urlsplit(form.url(built)).netloc == urlsplit(PAPER).netloc


@contextlib.asynccontextmanager
async def _built(made: ConnectorPart) -> AsyncIterator[Any]:
    async with new_session() as session:
        exchange = build_exchange(
            find_profile(made.exchange),
            session,
            base_url=made.venue_url,
            credentials=Credentials(),
            recv_window=timedelta(seconds=5),
            request_timeout=timedelta(seconds=5),
        )
        yield exchange
        await exchange.close()


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
