"""Settings of the connector: which venue account, where, with which keys, within which bounds."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from services.common.paper import PAPER_KEY, PAPER_SECRET
from services.common.settings import SecretFile, ServiceSettings, SettingsPart, read_secret
from services.common.tracing_settings import TracingSettings
from services.connector.limits_settings import LimitsPart
from services.connector.profile import Credentials, Fence
from services.connector.rate_lanes import CALLS_AT_ONCE, SCAN_CALLS_AT_ONCE
from services.connector.venues import KNOWN_VENUES, PAPER_DOMAINS, PAPER_VENUES, find_profile

Seconds = Annotated[float, Field(gt=0, le=3_600)]
_BASE_URL = re.compile(r"https?://[^/\s]+(/\S*)?")


class ConnectorPart(SettingsPart):
    """The table `[connector]`.

    `exchange` is the venue's code (`okx-swap`), `name` what GetName answers (default: `exchange`).
    `base_url` replaces scheme and host of every venue address, for the simulator. Without keys only
    market data works; OKX and Bitget keys have a passphrase besides, Hyperliquid's key is the
    account's address and its secret the signing key. The three fence parts default to the
    venue's own (see its profile).
    """

    exchange: str
    name: str = Field(default="", max_length=64)
    base_url: str | None = None
    paper_url: str | None = None
    """Address of a paper venue (a simulator with `[mirror]`): the market is the real venue's, but
    orders and account are made up. No keys, and no way to the venue's own address."""
    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    api_key_file: SecretFile | None = None
    api_secret_file: SecretFile | None = None
    api_passphrase: SecretStr | None = None
    api_passphrase_file: SecretFile | None = None
    ledger_path: Path
    recv_window_ms: int | None = Field(default=None, ge=100, le=60_000)
    venue_processing_seconds: float | None = Field(default=None, ge=0, le=3_600)
    clock_bound_seconds: float | None = Field(default=None, ge=0, le=60)
    request_timeout_seconds: Seconds = 10.0
    order_wait_seconds: Seconds = 30.0
    """Longest wait of a PlaceOrder call that has no deadline of its own."""
    fill_wait_seconds: Seconds = 10.0
    """How long a call waits for a market, IOC or FOK order to close, unless it says otherwise."""
    market_reload_seconds: Seconds = 900.0
    clock_check_seconds: Seconds = 60.0
    drain_orders_seconds: Seconds = 5.0
    kept_answers_seconds: Seconds = 300.0
    """How long the account's position mode and fees are believed once they were read."""
    allowance_scale: float = Field(default=1.0, ge=0.01, le=1_000)
    """Multiplies the venue's documented rate limits: below 1 when several processes share an
    address, above 1 for an account whose limits the venue has raised."""
    scan_calls_at_once: int = Field(default=SCAN_CALLS_AT_ONCE, ge=1, le=CALLS_AT_ONCE)
    """Reads of scans on the wire at once; the others of that account have a lane of their own."""
    keep_warm_seconds: float = Field(default=10.0, ge=0.05, le=25)
    """How often a light request keeps a connection open for the next order."""
    idle_collection: bool = True
    """Collect garbage between orders; false leaves it to the interpreter, in the midst of them."""
    subscriber_queue_limit: int = Field(default=10_000, ge=1, le=1_000_000)
    funding_poll_seconds: Annotated[float, Field(ge=0.1, le=50)] = 10.0
    """How often a funding stream is fed on a venue that streams none; below the minute after which
    a silent stream is taken for broken."""
    allow_withdrawal_key: bool = False
    """Whether to start with a key that may withdraw."""
    order_entry: Literal["rest", "websocket"] = "rest"
    """How new orders go to the venue; while the WebSocket is down they go by REST."""
    symbols: tuple[str, ...] = ()
    """Canonical symbols to serve; empty: all the venue lists."""
    limits: LimitsPart = LimitsPart()

    @field_validator("exchange")
    @classmethod
    def _exchange_is_known(cls, code: str) -> str:
        if code not in KNOWN_VENUES:
            raise ValueError(f"unknown venue; known: {', '.join(KNOWN_VENUES)}")
        return code

    @field_validator("base_url", "paper_url")
    @classmethod
    def _base_url_is_whole(cls, url: str | None) -> str | None:
        if url is not None and not _BASE_URL.fullmatch(url):
            raise ValueError("must begin with http:// or https://, as http://127.0.0.1:8080")
        return url

    @model_validator(mode="after")
    def _websocket_is_offered(self) -> Self:
        if self.order_entry == "websocket" and find_profile(self.exchange).websocket is None:
            raise ValueError(f"{self.exchange} takes no orders by WebSocket here; use rest")
        return self

    @model_validator(mode="after")
    def _paper_alone(self) -> Self:
        if self.paper_url is None:
            return self
        if self.exchange not in PAPER_VENUES:
            raise ValueError(f"paper trading mirrors {', '.join(PAPER_VENUES)} alone")
        # A key beside it is one that somebody believes to be in use, or to be out of use.
        secrets = (self.api_secret, self.api_secret_file)
        phrases = (self.api_passphrase, self.api_passphrase_file)
        others = (self.base_url, self.api_key, self.api_key_file, *secrets, *phrases)
        if any(one is not None for one in others):
            raise ValueError("paper trades without keys and without base_url; set paper_url alone")
        # As it is looked up: a full stop of another script is one too.
        host = (urlsplit(self.paper_url).hostname or "").encode("idna").decode().rstrip(".")
        # Orders signed for paper would leave for the venue, and be refused there by luck alone.
        if any(f".{host}".endswith(f".{domain}") for domain in PAPER_DOMAINS):
            raise ValueError(
                f"{host} is the venue itself; paper_url names a simulator with [mirror]"
            )
        return self

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        key = self.api_key is not None or self.api_key_file is not None
        secret = self.api_secret is not None or self.api_secret_file is not None
        # Half a key would show only when the first order is refused.
        if key != secret:
            raise ValueError("set both the API key and the API secret, or neither")
        return self

    @model_validator(mode="after")
    def _passphrase_is_there(self) -> Self:
        given = self.api_passphrase is not None or self.api_passphrase_file is not None
        # Left out, every private call fails with words of ccxt that name no setting.
        if self.has_own_key and not given and find_profile(self.exchange).needs_passphrase:
            raise ValueError(f"a key of {self.exchange} has a passphrase; set api_passphrase_file")
        return self

    def request_timeout(self) -> timedelta:
        """Return how long one request to the venue may take."""
        return timedelta(seconds=self.request_timeout_seconds)

    @property
    def venue_name(self) -> str:
        """Return the name of the venue account."""
        return self.name or self.exchange

    @property
    def is_paper(self) -> bool:
        """Whether orders and account are made up."""
        return self.paper_url is not None

    @property
    def venue_url(self) -> str | None:
        """Return the one address that is called, None for the venue's own."""
        return self.base_url if self.paper_url is None else self.paper_url

    @property
    def ledger_owner(self) -> str:
        """Return whose orders the ledger holds: those on paper are no venue's."""
        return f"{self.exchange} on paper" if self.is_paper else self.exchange

    def fence(self) -> Fence | None:
        """Return the venue's fence with the parts that are set here; None: it has none."""
        held = find_profile(self.exchange).fence
        if held is None:
            return None
        window, processing, bound = (
            self.recv_window_ms,
            self.venue_processing_seconds,
            self.clock_bound_seconds,
        )
        return Fence(
            held.recv_window if window is None else timedelta(milliseconds=window),
            held.venue_processing if processing is None else timedelta(seconds=processing),
            held.clock_bound if bound is None else timedelta(seconds=bound),
        )

    @property
    def has_own_key(self) -> bool:
        """Whether a key is set, of whatever account."""
        return self.api_key is not None or self.api_key_file is not None

    @property
    def has_key(self) -> bool:
        """Whether orders and account can be asked for."""
        return self.is_paper or self.has_own_key

    def read_credentials(self) -> Credentials:
        """Return the key, from the settings or its files; ValueError for an unreadable one."""
        if self.is_paper:
            return Credentials(PAPER_KEY, PAPER_SECRET)
        return Credentials(
            _plain(self.api_key, self.api_key_file),
            _plain(self.api_secret, self.api_secret_file),
            _plain(self.api_passphrase, self.api_passphrase_file),
        )


def _plain(value: SecretStr | None, file: SecretFile | None) -> str:
    secret = value if file is None else read_secret(file)
    return "" if secret is None else secret.get_secret_value()


class ConnectorSettings(ServiceSettings):
    """All settings of a connector process."""

    service: ClassVar[str] = "connector"

    connector: ConnectorPart
    tracing: TracingSettings | None = None
    """Where traces are sent; without it none are made."""
