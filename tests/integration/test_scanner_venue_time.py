"""A venue whose own clock jumps: nothing that was published is taken back for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.common.codec import to_millis
from tests.support.fake_exchange import NOW, FakeExchange, FakeListing, history
from tests.support.scanner_rig import FAILED, SUCCEEDED, listed, scanned, scanning


@pytest.mark.parametrize("jump", [timedelta(days=3), timedelta(days=-3)])
async def test_venue_clock_that_jumps_empties_no_list(jump: timedelta) -> None:
    """The scan that meets it says what is wrong and keeps the list; the next scan is right."""
    spot, perpetual = FakeExchange(perpetual=False), FakeExchange(perpetual=True)
    for symbol in ("AAAUSDT", "BBBUSDT", "CCCUSDT"):
        spot.list(FakeListing(symbol))
        perpetual.list(FakeListing(symbol, rates=history("0.0005"), next_rate="0.0005"))
    async with scanning(spot, perpetual) as stub:
        assert (await scanned(stub)).state == SUCCEEDED
        perpetual.now = NOW + jump
        wrong = await scanned(stub)
        assert wrong.state == FAILED
        assert any("its clock or its history is wrong" in part for part in wrong.missing_parts)
        assert len(await listed(stub)) == 3
        # Back again and nine hours later, what has settled since is read as if nothing had been.
        perpetual.now = NOW + timedelta(hours=9)
        for listing in perpetual.listings.values():
            listing.rates.append((to_millis(NOW + timedelta(hours=4, minutes=30)), "0.0007"))
        assert (await scanned(stub)).state == SUCCEEDED
        found = await listed(stub)
        assert [each.short_funding.last_settlement_time.seconds for each in found] == [
            int((NOW + timedelta(hours=4, minutes=30)).timestamp())
        ] * 3
