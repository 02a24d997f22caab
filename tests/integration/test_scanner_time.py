"""What a scan does when its time runs out: it tells what it has."""

from __future__ import annotations

import asyncio

from services.common.settings import VenueSettings
from tests.support.fake_exchange import FakeExchange, FakeListing, exchange_server, history
from tests.support.scanner_rig import PARTIAL, listed, markets, scanned, scanner_of


async def test_hanging_venue_costs_its_own_readings_and_not_the_scan() -> None:
    """What did not answer in time is named; what the others told is published."""
    spot, perpetual = markets()
    hanging = FakeExchange(perpetual=True)
    hanging.list(FakeListing("AAAUSDT", rates=history("0.002"), next_rate="0.002"))
    hanging.gates["GetFundingRates"] = asyncio.Event()
    async with (
        exchange_server(spot) as first,
        exchange_server(perpetual) as second,
        exchange_server(hanging) as third,
    ):
        venues = (
            VenueSettings(name="spotty", kind="spot", address=first.address),
            VenueSettings(name="perpy", kind="perpetual", address=second.address),
            VenueSettings(name="hangy", kind="perpetual", address=third.address),
        )
        async with scanner_of(venues, scan_timeout_seconds=4) as stub:
            scan = await scanned(stub)
            assert scan.state == PARTIAL
            assert [part for part in scan.missing_parts if not part.startswith("hangy")] == []
            assert any("longer than" in part for part in scan.missing_parts)
            (found,) = await listed(stub)
            assert (found.long_leg.exchange, found.short_leg.exchange) == ("spotty", "perpy")
