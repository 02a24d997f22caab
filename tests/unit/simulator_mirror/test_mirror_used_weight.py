"""The weight that a whole address has used: what of the mirror's readings waits for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from services.simulator.app import Application
from services.simulator.market.source import Kind
from services.simulator.mirror.addresses import Addresses
from services.simulator.mirror.data_client import DataAwayError, DataClient
from services.simulator.mirror.used_weight import Need, UsedWeight
from tests.support.simulator import running_simulator
from tests.support.tiny_market import HandClock

HEADER = "X-MBX-USED-WEIGHT-1M"
TICKERS, TICKERS_WEIGHT = "/fapi/v1/ticker/24hr", 40
LIMITS = {Kind.SPOT: 6000, Kind.PERPETUAL: 2400}


# Not frozen: the test moves it.
@dataclass(slots=True)
class Seconds:
    """A monotonic clock that stands still between moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the seconds set last."""
        return self.now


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("need", list(Need))
def test_a_reading_is_put_off_before_its_share_is_passed(kind: Kind, need: Need) -> None:
    """Not even the heaviest takes the count beyond it; the other market's count is another."""
    used = UsedWeight(Seconds())
    most = LIMITS[kind] * need // 100
    used.note(kind, {HEADER: str(most - 20)})
    assert used.problem(kind, need) is None
    used.note(kind, {HEADER: str(most - 19)})
    problem = used.problem(kind, need)
    assert problem is not None
    assert problem.startswith(f"put off for 60 s: this address has used {most - 19} of the ")
    (other,) = set(Kind) - {kind}
    assert used.problem(other, Need.UPKEEP) is None


def test_what_can_wait_waits_first_and_orders_of_a_connector_last() -> None:
    """A connector's scans may use 60 %, its orders 80 %: between them lies what values orders."""
    assert Need.UPKEEP < 60 < Need.VALUE < 80


def test_a_minute_that_turned_at_the_venue_makes_room_when_it_has_passed_here_too() -> None:
    """Its count begins anew at any moment; what was used in the last sixty seconds still is."""
    seconds = Seconds()
    used = UsedWeight(seconds)
    used.note(Kind.SPOT, {HEADER: "5000"})
    seconds.now = 59.0
    used.note(Kind.SPOT, {HEADER: "4"})
    assert used.problem(Kind.SPOT, Need.VALUE) is not None
    seconds.now = 60.0
    assert used.problem(Kind.SPOT, Need.UPKEEP) is None


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: "-1"}, {HEADER: "many"}])
def test_a_reply_that_tells_no_count_changes_nothing(headers: dict[str, str]) -> None:
    """Histories of funding are counted elsewhere."""
    used = UsedWeight(Seconds())
    used.note(Kind.SPOT, headers)
    assert used.problem(Kind.SPOT, Need.UPKEEP) is None


@dataclass(frozen=True, slots=True)
class _Rig:
    venue: Application
    client: DataClient
    session: aiohttp.ClientSession
    wire: HandClock
    seconds: Seconds

    async def use(self, weight: int) -> None:
        """Let another program of this address use so much of the perpetuals' weight."""
        for _ in range(weight // TICKERS_WEIGHT):
            async with self.session.get(self.venue.url + TICKERS) as answer:
                assert answer.status == 200

    async def marks(self, need: Need) -> bool:
        """Tell whether the marks could be read."""
        try:
            await self.client.read("/fapi/v1/premiumIndex", need)
        except DataAwayError:
            return False
        return True

    async def used(self) -> int:
        """Return the venue's own count, with the unit that asking costs."""
        path = "/fapi/v1/ticker/price?symbol=BTCUSDT"
        async with self.session.get(self.venue.url + path) as answer:
            return int(answer.headers[HEADER])

    def pass_minute(self) -> None:
        """Let a minute go by, at the venue and here."""
        self.wire.move(60)
        self.seconds.now += 60


@pytest.fixture
async def rig() -> AsyncIterator[_Rig]:
    """Run a venue whose clock the test moves, and a client of it."""
    wire, seconds = HandClock(), Seconds()
    async with running_simulator(wire=wire) as venue, aiohttp.ClientSession() as session:
        client = DataClient(Addresses.of(venue.url), session, 5.0, seconds)
        yield _Rig(venue, client, session, wire, seconds)


async def test_what_others_of_the_address_used_puts_readings_off_for_a_minute(rig: _Rig) -> None:
    """Nothing leaves for the venue meanwhile, and the first question after it is answered."""
    await rig.use(1200)
    # the reply to this one tells of the others
    assert await rig.marks(Need.UPKEEP)
    assert not await rig.marks(Need.UPKEEP)
    assert await rig.marks(Need.VALUE)
    await rig.use(480)
    assert await rig.marks(Need.VALUE)
    before = await rig.used()
    for _ in range(50):
        assert not await rig.marks(Need.VALUE)
        assert not await rig.marks(Need.UPKEEP)
    assert await rig.used() == before + 1
    assert (await rig.client.ask("/fapi/v1/premiumIndex", "")).status == 200
    await rig.client.read("/api/v3/ticker/price", Need.UPKEEP)
    rig.pass_minute()
    assert await rig.marks(Need.UPKEEP)


async def test_readings_alone_stop_at_their_share(rig: _Rig) -> None:
    """Five minutes of asking as fast as it goes leave a connector what is its own each time."""
    for _ in range(5):
        while await rig.marks(Need.UPKEEP):
            pass
        while await rig.marks(Need.VALUE):
            pass
        # of 2,400: nothing of the mirror's is above 70 %
        assert 1600 < await rig.used() <= 1681
        rig.pass_minute()
