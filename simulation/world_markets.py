"""What does not differ between worlds and costs most to make, made once in a process.

The generated market, and the venue's markets as ccxt holds them: they are read through the same
gateway as in a world, on a loop of their own, so that a world finds them the same whether it is the
first of its process or not.
"""

from __future__ import annotations

import asyncio
import copy
import random
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from services.connector.exchange_factory import build_exchange
from services.connector.market_loader import LoadedMarkets, _share_rows
from services.connector.profile import DEFAULT_RECV_WINDOW, Credentials
from services.connector.symbols import build_instruments
from services.connector.venues import find_profile
from services.simulator.bootstrap import make_simulation, make_source
from services.simulator.gateway import Gateway
from services.simulator.settings import AccountSettings, MarketSettings, SimulatorSettings
from simulation.loop import run_simulated
from simulation.loop_time import START, SimClock, own_time
from simulation.transport import SimSession, VenueDoor
from simulation.transport_network import Network
from simulation.transport_sockets import SocketDoor

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.connector.profile import VenueProfile
    from services.simulator.market.source import MarketSource

ACCOUNT: Final = "trader"
API_KEY: Final = "simulated-key"
API_SECRET: Final = "simulated-secret"  # noqa: S105 - opens nothing outside this process
OWN_COINS: Final = {"BTC": Decimal("1.5"), "ETH": Decimal(7)}
"""What the account holds that is not the engine's, in coins it trades too."""

SYMBOLS: Final = ("BTCUSDT", "ETHUSDT")
"""What lives trade."""

BASE_URL: Final = "http://venue.simulated"


@cache
def simulator_settings(
    symbol_count: int, market_seed: int, processing_seconds: float
) -> SimulatorSettings:
    """Return the venue's settings: one account with enough of everything, no limits by the day."""
    return SimulatorSettings.model_validate(
        {
            "accounts": [
                AccountSettings.model_validate(
                    {
                        "name": ACCOUNT,
                        "api_key": API_KEY,
                        "api_secret": API_SECRET,
                        "spot": {"USDT": 1_000_000, **OWN_COINS},
                        "margin": {"USDT": 1_000_000},
                        "futures": {"USDT": 1_000_000},
                    }
                )
            ],
            "market": MarketSettings(
                seed=market_seed, symbol_count=symbol_count, start=START, history_days=2
            ),
            "rules": {"processing_bound_seconds": processing_seconds},
        }
    )


@cache
def market_source(symbol_count: int, market_seed: int) -> MarketSource:
    """Return the generated market, a function of time alone."""
    settings = MarketSettings(
        seed=market_seed, symbol_count=symbol_count, start=START, history_days=2
    )
    return make_source(settings, START)


@cache
def loaded_markets(code: str, symbol_count: int, market_seed: int) -> LoadedMarkets:
    """Return a venue's markets as its own gateway tells them to ccxt."""
    return run_simulated(_load(code, symbol_count, market_seed), seconds=60.0)


async def _load(code: str, symbol_count: int, market_seed: int) -> LoadedMarkets:
    loop = asyncio.get_running_loop()
    chance = random.Random(0)  # noqa: S311 - repeats, on purpose
    clock = SimClock(loop)
    with own_time(clock, chance):
        simulation = make_simulation(
            simulator_settings(symbol_count, market_seed, 1.0),
            wire=clock,
            source=market_source(symbol_count, market_seed),
        )
        gateway, network = Gateway(simulation), Network(loop, chance)
        session = SimSession(
            code,
            network,
            VenueDoor(gateway, network, lambda _kind, _what: None),
            SocketDoor(simulation, gateway, network),
        )
        profile = find_profile(code)
        source = build_exchange(
            profile,
            session,  # type: ignore[arg-type]  # stands for an aiohttp session
            base_url=BASE_URL,
            credentials=Credentials(),
            recv_window=DEFAULT_RECV_WINDOW,
            request_timeout=timedelta(seconds=30),
        )
        await source.load_markets(True)
        _share_rows(source)
        await source.close()
        found = build_instruments(source.markets.values(), profile, None)
        return LoadedMarkets(source, tuple(found))


def prepare(code: str, symbol_count: int, market_seed: int) -> None:
    """Make what worlds of these figures share, outside of any of them."""
    loaded_markets(code, symbol_count, market_seed)
    for is_signed in (False, True):
        _template(code, is_signed=is_signed)


@cache
def _template(code: str, *, is_signed: bool) -> Any:
    return run_simulated(_build(code, is_signed=is_signed))


async def _build(code: str, *, is_signed: bool) -> Any:
    credentials = Credentials(API_KEY, API_SECRET) if is_signed else Credentials()
    template = build_exchange(
        find_profile(code),
        None,  # type: ignore[arg-type]  # each copy gets its own
        base_url=BASE_URL,
        credentials=credentials,
        recv_window=DEFAULT_RECV_WINDOW,
        request_timeout=timedelta(seconds=30),
    )
    template.asyncio_loop = None
    return template


def copy_exchange(
    profile: VenueProfile,
    session: Any,
    *,
    base_url: str | None,
    credentials: Credentials,
    recv_window: timedelta,
    request_timeout: timedelta,
) -> Any:
    """Return what `build_exchange` returns, copied: to build one takes ccxt 15 ms.

    Containers are copied one level deep, ccxt's options two: deeper it does not write.
    """
    del base_url
    template = _template(profile.code, is_signed=bool(credentials.api_key))
    exchange = copy.copy(template)
    vars(exchange).update(_copied(vars(template)))
    exchange.options = {**template.options, **_copied(template.options)}
    exchange.options["recvWindow"] = round(recv_window.total_seconds() * 1_000)
    exchange.timeout = round(request_timeout.total_seconds() * 1_000)
    exchange.session = session
    exchange.asyncio_loop = asyncio.get_running_loop()
    return exchange


def _copied(held: dict[str, Any]) -> dict[str, Any]:
    return {name: value.copy() for name, value in held.items() if isinstance(value, dict | list)}


class KeptLoader:
    """Stands for the connector's `MarketLoader`: the markets are there, after a latency."""

    def __init__(self, network: Network, link: str, find: Callable[[], LoadedMarkets]) -> None:
        self._network = network
        self._link = link
        self._find = find

    def __call__(
        self, build: Any, profile: VenueProfile, allowed: frozenset[str] | None
    ) -> KeptLoader:
        """Be made as the real one is."""
        del build, profile, allowed
        return self

    async def load(self) -> LoadedMarkets:
        """Return the kept markets."""
        await asyncio.sleep(2 * self._network.delay(self._link))
        return self._find()
