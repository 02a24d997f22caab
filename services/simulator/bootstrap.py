"""The composition root: settings in, a simulation or a whole application out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.common.secrets_files import read_secret
from services.simulator.app import Application
from services.simulator.core.accounts import Accounts
from services.simulator.core.clock import MarketClock, WireClock
from services.simulator.core.exchange import Exchange
from services.simulator.core.faults import FaultBook
from services.simulator.core.limits import Limits
from services.simulator.core.listen_keys import ListenKeys
from services.simulator.core.margin import MarginDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Liquidity
from services.simulator.http import Witness
from services.simulator.market.source import Kind, MarketSource
from services.simulator.settings import MarketSettings, SimulatorSettings
from services.simulator.simulation import Simulation


class SystemWireClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the system time, aware, in UTC."""
        return datetime.now(UTC)


def make_source(settings: MarketSettings, now: datetime) -> MarketSource:
    """Return the market the settings describe; raises ValueError when the recordings do not do."""
    # imported here, so that a generated market does not load the readers of recordings
    if settings.data is not None:
        from services.simulator.market.recorded import RecordedMarket

        return RecordedMarket(settings.data)
    from services.simulator.market.generator import GeneratedMarket, GeneratorSettings

    return GeneratedMarket(
        GeneratorSettings(
            start=settings.start or now,
            seed=settings.seed,
            symbol_count=settings.symbol_count,
            history_days=settings.history_days,
        )
    )


def make_simulation(
    settings: SimulatorSettings,
    *,
    wire: WireClock | None = None,
    source: MarketSource | None = None,
) -> Simulation:
    """Return a simulation, ready to be called; pass a clock or a market of your own for tests."""
    wire = wire or SystemWireClock()
    source = source or make_source(settings.market, wire.now())
    rules = settings.rules
    clock = MarketClock(wire, settings.market.start or source.start, settings.market.speed)
    liquidity = Liquidity(source, timedelta(seconds=rules.replenish_seconds), rules.book_depth)
    market = Market(source, clock, liquidity)
    exchange = Exchange(
        market,
        wire,
        Accounts(account.seed() for account in settings.accounts),
        settings.fees.schedule(),
        MarginDesk(market, settings.margin.hourly_rates, settings.margin.hourly_rate),
        processing_bound=timedelta(seconds=rules.processing_bound_seconds),
        liquidates=rules.liquidates,
    )
    # recordings are read on first use; a server must not stand still for that on its first call
    for symbol in market.instruments(Kind.PERPETUAL):
        source.funding_state(symbol, market.now())
    return Simulation(
        wire=wire,
        clock=clock,
        market=market,
        exchange=exchange,
        faults=FaultBook(),
        limits=Limits(is_enabled=rules.limits, scale=rules.limit_scale),
        listen_keys=ListenKeys(wire, timedelta(seconds=rules.listen_key_seconds)),
        listen_tokens=ListenKeys(wire, timedelta(hours=24)),
    )


def make_application(
    settings: SimulatorSettings,
    *,
    wire: WireClock | None = None,
    source: MarketSource | None = None,
    witness: Witness | None = None,
) -> Application:
    """Return the application around a new simulation, not yet listening."""
    token = settings.control_token_file
    return Application(
        make_simulation(settings, wire=wire, source=source),
        host=settings.http.host,
        port=settings.http.port,
        control_token=None if token is None else read_secret(token).get_secret_value(),
        tick_seconds=settings.rules.tick_seconds,
        stream_queue=settings.rules.stream_queue,
        witness=witness,
    )
