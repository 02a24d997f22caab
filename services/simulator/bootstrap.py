"""The composition root: settings in, a simulation or a whole application out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.common.secrets_files import read_secret
from services.simulator.app import Application
from services.simulator.core.accounts import Accounts
from services.simulator.core.clock import MarketClock, WireClock
from services.simulator.core.exchange import Exchange
from services.simulator.core.faults import FaultBook
from services.simulator.core.funding import FundingDesk
from services.simulator.core.late_funding import LateFundingDesk
from services.simulator.core.limits import Limits
from services.simulator.core.listen_keys import ListenKeys
from services.simulator.core.margin import MarginDesk
from services.simulator.core.market import Market
from services.simulator.core.matching import Liquidity
from services.simulator.http import Witness
from services.simulator.market.source import Kind, MarketSource
from services.simulator.mirror.mirror import Mirror
from services.simulator.mirror.mirrored_market import MirroredMarket
from services.simulator.mirror.reader import DEPTHS
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
    rules, is_mirrored = settings.rules, settings.mirror is not None
    if settings.mirror is not None:
        source = MirroredMarket(wire.now(), timedelta(seconds=settings.mirror.stale_seconds))
    source = source or make_source(settings.market, wire.now())
    clock = MarketClock(
        wire,
        settings.market.start or source.start,
        settings.market.speed,
        is_real=is_mirrored,
    )
    # of a real book all that was read: what is shown there is there
    depth = max(DEPTHS.values()) if is_mirrored else rules.book_depth
    liquidity = Liquidity(source, timedelta(seconds=rules.replenish_seconds), depth)
    market = Market(source, clock, liquidity)
    exchange = Exchange(
        market,
        wire,
        Accounts(settings.seeds()),
        settings.fees.schedule(),
        MarginDesk(market, settings.margin.hourly_rates, settings.margin.hourly_rate),
        processing_bound=timedelta(seconds=rules.processing_bound_seconds),
        liquidates=rules.liquidates,
        funding_desk=LateFundingDesk if is_mirrored else FundingDesk,
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
        limits=Limits(
            is_enabled=rules.limits, scale=rules.limit_scale, tells_weight=not is_mirrored
        ),
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
    simulation = make_simulation(settings, wire=wire, source=source)
    return Application(
        simulation,
        host=settings.http.host,
        port=settings.http.port,
        control_token=None if token is None else read_secret(token).get_secret_value(),
        tick_seconds=settings.rules.tick_seconds,
        stream_queue=settings.rules.stream_queue,
        witness=witness,
        mirror=_make_mirror(settings, simulation),
    )


def _make_mirror(settings: SimulatorSettings, simulation: Simulation) -> Mirror | None:
    mirror, market = settings.mirror, simulation.market.source
    if mirror is None or not isinstance(market, MirroredMarket):
        return None
    return Mirror(
        simulation,
        market,
        mirror.addresses(),
        mirror.pace(),
        latency_seconds=mirror.latency_seconds,
        timeout_seconds=mirror.request_timeout_seconds,
    )
