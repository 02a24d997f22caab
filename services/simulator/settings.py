"""Settings of the simulator: where it listens, its market, its accounts, its rules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from services.common.paper import PAPER_ACCOUNT, PAPER_KEY, PAPER_SECRET
from services.common.secrets_files import SecretFile, read_secret
from services.common.settings import ServiceSettings
from services.common.settings_part import Port, SettingsPart, is_loopback
from services.simulator.core.accounts import AccountSeed
from services.simulator.core.fees import FeeSchedule
from services.simulator.mirror.addresses import Addresses
from services.simulator.mirror.pace import MirrorPace

Amount = Annotated[Decimal, Field(ge=0)]
Rate = Annotated[Decimal, Field(ge=0, lt=1)]


class HttpSettings(SettingsPart):
    """Where the venue and its control endpoint listen; loopback only unless `public` says so."""

    host: str = "127.0.0.1"
    port: Port = 0
    # A container publishes its port to its own network, which is not loopback.
    public: bool = False

    @model_validator(mode="after")
    def _loopback_unless_public(self) -> Self:
        if not self.public and not is_loopback(self.host):
            raise ValueError(f"listening on {self.host} needs public = true")
        return self


class AccountSettings(SettingsPart):
    """One customer: an API key pair, in place or in files, and what its wallets hold at first."""

    name: str = "default"
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    passphrase: SecretStr | None = None
    """What OKX asks for besides; any will do where none is set."""
    api_key_file: SecretFile | None = None
    api_secret_file: SecretFile | None = None
    spot: Mapping[str, Amount] = {}
    margin: Mapping[str, Amount] = {}
    futures: Mapping[str, Amount] = {}
    can_withdraw: bool = False

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name in ("api_key", "api_secret"):
            given = (getattr(self, name), getattr(self, f"{name}_file"))
            if (given[0] is None) == (given[1] is None):
                # two sources of one secret would leave open which of them holds
                raise ValueError(f"set {name} or {name}_file, one of the two")
        return self

    def seed(self) -> AccountSeed:
        """Return the account as the core takes it, secrets read."""
        return AccountSeed(
            self.name,
            _secret(self.api_key, self.api_key_file),
            _secret(self.api_secret, self.api_secret_file),
            dict(self.spot),
            dict(self.margin),
            dict(self.futures),
            self.can_withdraw,
            "" if self.passphrase is None else self.passphrase.get_secret_value(),
        )


def _secret(value: SecretStr | None, file: Path | None) -> str:
    if value is not None:
        return value.get_secret_value()
    if file is None:
        raise ValueError("neither a secret nor its file is set")
    return read_secret(file).get_secret_value()


class MarketSettings(SettingsPart):
    """The market: generated from `seed`, or recorded where `data` names a directory."""

    seed: int = 1
    symbol_count: Annotated[int, Field(ge=1, le=2000)] = 320
    history_days: Annotated[int, Field(ge=1, le=400)] = 90
    data: Path | None = None
    # None: now for the generated market, the end of the recordings for a recorded one.
    start: datetime | None = None
    speed: Annotated[Decimal, Field(ge=0, le=1_000_000)] = Decimal(1)

    @field_validator("start")
    @classmethod
    def _start_is_aware(cls, start: datetime | None) -> datetime | None:
        if start is not None and start.tzinfo is None:
            raise ValueError("must name its time zone, as 2026-03-20T00:00:00Z")
        return start


class FeeSettings(SettingsPart):
    """Commission rates as fractions."""

    spot_maker: Rate = Decimal("0.001")
    spot_taker: Rate = Decimal("0.001")
    perpetual_maker: Rate = Decimal("0.0002")
    perpetual_taker: Rate = Decimal("0.0005")

    def schedule(self) -> FeeSchedule:
        """Return the schedule the core charges."""
        return FeeSchedule(**self.model_dump())


class MarginSettings(SettingsPart):
    """Interest on cross-margin loans, a fraction of principal per hour."""

    hourly_rate: Rate = Decimal("0.00001")
    hourly_rates: Mapping[str, Rate] = {}


class RuleSettings(SettingsPart):
    """Behaviour of the venue: matching, limits, streams."""

    processing_bound_seconds: Annotated[float, Field(ge=0, le=600)] = 10.0
    """Longest time after which an order request may still be executed."""
    replenish_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """Market time in which consumed depth comes back."""
    book_depth: Annotated[int, Field(ge=1, le=1000)] = 20
    """Levels of each side that orders can take."""
    liquidates: bool = True
    """Close futures accounts whose equity falls under their maintenance margin."""
    # off for load tests: one address does what a venue's thousands do
    limits: bool = True
    limit_scale: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    listen_key_seconds: Annotated[float, Field(gt=0)] = 3600.0
    tick_seconds: Annotated[float, Field(gt=0, le=10)] = 0.1
    """How often streams are fed and resting orders looked at, in real time."""
    stream_queue: Annotated[int, Field(ge=1)] = 10_000
    """Messages a stream may owe a slow reader before it is cut."""


class MirrorSettings(SettingsPart):
    """Paper trading: the market is a real venue's, the account and its fills are made up.

    The account's key is no secret (services/common/paper.py): it opens nothing else.
    """

    venue: Literal["binance"] = "binance"
    """Whose public data is followed, spot and USD-M."""
    base_url: str | None = None
    """One address in place of the venue's own."""
    spot: Mapping[str, Amount] = {"USDT": Decimal(10_000)}
    margin: Mapping[str, Amount] = {}
    futures: Mapping[str, Amount] = {"USDT": Decimal(10_000)}
    latency_seconds: Annotated[float, Field(ge=0, le=10)] = 0.05
    """How long an order or a cancel takes to the matching."""
    stale_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Age of prices and books by which nothing is filled any more."""
    follow_seconds: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How often books and trades are read of symbols in which an order rests."""
    price_seconds: Annotated[float, Field(gt=0, le=60)] = 3.0
    """How often the prices of all symbols are read, and settled funding rates that are owed."""
    reload_seconds: Annotated[float, Field(gt=0, le=86_400)] = 900.0
    """How often the trading rules are read."""
    request_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0

    @field_validator("base_url")
    @classmethod
    def _base_url_is_whole(cls, url: str | None) -> str | None:
        # without its scheme it would be a venue that is away for ever
        if url is not None and not (
            urlsplit(url).scheme in ("http", "https") and urlsplit(url).netloc
        ):
            raise ValueError("must begin with http:// or https://, as http://127.0.0.1:8080")
        return url

    @model_validator(mode="after")
    def _read_before_stale(self) -> Self:
        if self.stale_seconds <= max(self.follow_seconds, self.price_seconds):
            raise ValueError("stale_seconds must be above follow_seconds and price_seconds")
        return self

    @model_validator(mode="after")
    def _no_faster_than_the_venue_takes(self) -> Self:
        paces = (
            ("follow_seconds", self.follow_seconds, 0.5),
            ("price_seconds", self.price_seconds, 1.0),
            ("reload_seconds", self.reload_seconds, 60.0),
        )
        for name, seconds, least in paces:
            # Faster readings alone use up what the venue allows an address in a minute.
            if self.base_url is None and seconds < least:
                raise ValueError(f"{name} must be {least:g} or more on the venue itself")
        return self

    def addresses(self) -> Addresses:
        """Return where the venue's public data is."""
        return Addresses.of(self.base_url)

    def pace(self) -> MirrorPace:
        """Return how often what is read."""
        return MirrorPace(self.follow_seconds, self.price_seconds, self.reload_seconds)

    def seed(self) -> AccountSeed:
        """Return the paper account."""
        wallets = (dict(self.spot), dict(self.margin), dict(self.futures))
        return AccountSeed(PAPER_ACCOUNT, PAPER_KEY, PAPER_SECRET, *wallets)


class SimulatorSettings(ServiceSettings):
    """All of it; with `mirror` the market is a real venue's, and `market` is left out."""

    service: ClassVar[str] = "simulator"

    http: HttpSettings = HttpSettings()
    control_token_file: SecretFile | None = None
    accounts: tuple[AccountSettings, ...] = ()
    market: MarketSettings = MarketSettings()
    fees: FeeSettings = FeeSettings()
    margin: MarginSettings = MarginSettings()
    rules: RuleSettings = RuleSettings()
    mirror: MirrorSettings | None = None

    @model_validator(mode="after")
    def _one_market(self) -> Self:
        if self.mirror is not None and "market" in self.model_fields_set:
            raise ValueError("a mirrored market is its venue's: leave [market] out")
        return self

    def seeds(self) -> tuple[AccountSeed, ...]:
        """Return the accounts, that of the mirror too."""
        mirrored = () if self.mirror is None else (self.mirror.seed(),)
        return (*(account.seed() for account in self.accounts), *mirrored)
