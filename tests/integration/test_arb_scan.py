"""`arb scan` for symbols by name, against a scanner and its venues."""

from __future__ import annotations

import io
import uuid
from decimal import Decimal

from rich.console import Console

from cli import commands
from cli.scanning import OpportunityFilter
from cli.session import Session
from cli.settings import ArbSettings
from services.common.metrics import ServiceMetrics
from services.common.settings import EndpointSettings, VenueSettings
from services.scanner.bootstrap import scanner
from services.scanner.history_store import MemoryHistoryStore
from services.scanner.settings import ScannerSettings
from tests.support.fake_exchange import exchange_server
from tests.support.scanner_rig import markets


async def test_a_symbol_that_no_venue_lists_is_named() -> None:
    """One that is listed is not, though nothing of it passes the filter."""
    spot, perpetual = markets()
    async with exchange_server(spot) as first, exchange_server(perpetual) as second:
        venues = (
            VenueSettings(name="spotty", kind="spot", address=first.address),
            VenueSettings(name="perpy", kind="perpetual", address=second.address),
        )
        settings, store = ScannerSettings(venues=venues), MemoryHistoryStore()
        async with scanner(settings, ServiceMetrics("scanner"), store=store) as server, server:
            told = io.StringIO()
            session = Session(
                ArbSettings(scanner=EndpointSettings(address=server.address)),
                json=False,
                console=Console(file=told),
                errors=Console(file=io.StringIO()),
            )
            wanted = OpportunityFilter(Decimal(1000), ("AAAUSDT", "NOPEUSDT"))
            assert await commands.scan(session, wanted, 5, str(uuid.uuid4())) == 0
    lines = told.getvalue().splitlines()
    assert "no opportunity stands that fits what was asked for" in lines
    assert [line for line in lines if "is no perpetual that this scan saw" in line] == [
        "NOPEUSDT is no perpetual that this scan saw: look at its spelling"
    ]
