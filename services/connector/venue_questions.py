"""What the readers ask of a venue: one method per question, answered in the contract's own rows.

Two kinds of answers stand behind it: `raw_*` takes a venue's bulk rows as they are (Binance, where
speed and the quarantine of single rows count), `unified_*` goes through ccxt's unified methods.
Quantities are in single coins and prices per single coin, positions signed, stamps in Unix
milliseconds. A question that the venue has no answer to raises UnimplementedError with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.common.errors import UnimplementedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
    from services.connector.account_mapping import SymbolConfig
    from services.connector.instruments import Instrument
    from services.connector.venue_pages import Answer

    IntervalOf = Callable[[str], timedelta | None]


@dataclass(frozen=True, slots=True)
class CandleSpan:
    """Which candles: at most `limit`, opening from `start` to before `end`; None is open."""

    interval: str
    limit: int
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class OpenInterest:
    """Open base quantity, and its value at the mark price where that is known."""

    quantity: Decimal
    notional: Decimal | None


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """What a key may do; None where the venue does not tell."""

    can_read: bool | None = None
    can_trade: bool | None = None
    can_withdraw: bool | None = None
    ip_restricted: bool | None = None


@dataclass(frozen=True, slots=True)
class Wallet:
    """Balances by asset; `debts_known` says whether an asset without a row owes nothing."""

    balances: Sequence[resources_pb2.AssetBalance]
    debts_known: bool


class MarketQuestions(Protocol):
    """Prices, books and candles."""

    @property
    def candle_lengths(self) -> Collection[str]:
        """Return the candle lengths that the venue takes."""
        ...

    @property
    def most_candles(self) -> int:
        """Return how many candles one answer of `candles` may have."""
        ...

    async def last_price(self, instrument: Instrument) -> Decimal | None:
        """Return the price of the last print, None when there has been none."""
        ...

    async def tickers(self) -> list[resources_pb2.Ticker]:
        """Return 24 h figures and best prices of all symbols."""
        ...

    async def open_interest(self, instrument: Instrument) -> OpenInterest:
        """Return the open interest of a perpetual."""
        ...

    async def depth(self, instrument: Instrument, levels: int) -> exchange_pb2.GetOrderBookResponse:
        """Return a book of about `levels` levels a side, best first."""
        ...

    async def candles(self, instrument: Instrument, span: CandleSpan) -> list[resources_pb2.Candle]:
        """Return candles; closed ones say so."""
        ...


class FundingQuestions(Protocol):
    """Funding of perpetuals; no answer assumes an interval."""

    @property
    def known_intervals(self) -> IntervalOf:
        """Return what gives a symbol's interval (by the venue's name) as last read."""
        ...

    async def intervals(self) -> IntervalOf:
        """Return what gives a symbol's interval (by the venue's name), None for unknown."""
        ...

    async def rate(self, instrument: Instrument) -> resources_pb2.FundingRate:
        """Return the present funding of one perpetual."""
        ...

    async def rates(self) -> list[resources_pb2.FundingRate]:
        """Return the present funding of all perpetuals."""
        ...

    async def settlements(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return settlements from `start` on, oldest first, as ((time, key), FundingRate | None).

        A row that is not one of ours is None: it keeps its place, so that pages do not shift.
        """
        ...

    async def settled_rates(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return what `settlements` does with rates alone, as ((time, key), text | None)."""
        ...


class AccountQuestions(Protocol):
    """Balances, positions, payments, fees and settings of the account and its key."""

    async def account(self) -> resources_pb2.Account:
        """Return the whole account."""
        ...

    async def wallet(self) -> Wallet:
        """Return all balances."""
        ...

    async def positions(self, instrument: Instrument | None) -> list[resources_pb2.Position]:
        """Return the positions that the venue tells, those of zero size left out.

        All or none: a position that cannot be read raises UnreachableError (VENUE_ANSWER_BROKEN).
        """
        ...

    async def symbol_configs(self, instrument: Instrument | None) -> Mapping[str, SymbolConfig]:
        """Return leverage and margin type by the venue's symbol, empty when not to be had."""
        ...

    async def funding_payments(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return funding payments from `start` on as ((time, key), FundingPayment)."""
        ...

    async def trading_fees(self, instrument: Instrument | None) -> list[resources_pb2.TradingFee]:
        """Return this account's fees of one symbol, or of all where the venue tells them so."""
        ...

    async def borrow_rates(self, assets: Sequence[str]) -> list[resources_pb2.BorrowRate]:
        """Return the price of borrowing these assets; what cannot be borrowed is left out."""
        ...

    async def position_mode(self) -> bool | None:
        """Return whether the account is in hedge mode; None on spot and where not told."""
        ...

    async def key_permissions(self) -> KeyPermissions:
        """Return what the key may do."""
        ...


@dataclass(frozen=True, slots=True)
class Questions:
    """What answers the readers' questions about one venue account."""

    market: MarketQuestions
    funding: FundingQuestions
    account: AccountQuestions


def fees_by_symbol_only() -> UnimplementedError:
    """Return the answer of a venue that tells fees one symbol at a time to "all of them"."""
    return UnimplementedError(
        "the venue tells fees of one symbol at a time; name one", reason="FEES_BY_SYMBOL_ONLY"
    )


def history_by_symbol_only() -> UnimplementedError:
    """Return the answer of a venue that tells a history one symbol at a time to "all of them"."""
    return UnimplementedError(
        "the venue tells this history of one symbol at a time; name one",
        reason="HISTORY_BY_SYMBOL_ONLY",
    )
