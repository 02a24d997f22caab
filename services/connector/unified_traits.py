"""Where ccxt's unified data calls need a word more, per venue code: units, params, page sizes.

Read from ccxt's sources and the venues' documents (OKX API v5, Bybit V5, Gate APIv4, Bitget V2,
Hyperliquid info endpoint); each line says what would be wrong without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class HistoryPages:
    """How a history is read: rows of one answer, and the longest window of one question.

    `start_name` and `end_name` are params the venue takes where ccxt sends no times of its own.
    `by_page` reads pages from the newest back, for a venue that filters by no time at all.
    """

    rows: int
    window: timedelta
    params: Mapping[str, Any] = field(default_factory=dict)
    start_name: str | None = None
    end_name: str = "until"
    end_in_seconds: bool = False
    by_page: bool = False


@dataclass(frozen=True, slots=True)
class DataTraits:
    """Traits of one venue code.

    `params` go with tickers and balances (product and type), `contract_params` with funding rates,
    positions and payments: some of ccxt's calls send on what they do not know. `ticker_volume`
    names the raw field with the base volume where ccxt takes contracts for it,
    `ticker_open_interest` the raw field with the open interest in the venue's unit. `depths` are
    the book sizes the venue takes. `mark_prices_apart` and `intervals_apart` ask for what funding
    rows lack. `most_candles` is one less than the venue gives at once. `payment_sign` is -1 where a
    payment received is negative. `position_params` go with position reads, and
    `settle_params`, one read per settle asset. `fee_fields` names, by settle asset, the raw maker
    and taker fee where ccxt takes another product's; there what is paid is negative.
    """

    params: Mapping[str, Any]
    depths: tuple[int, ...]
    most_candles: int
    settlements: HistoryPages
    payments: HistoryPages
    contract_params: Mapping[str, Any] = field(default_factory=dict)
    ticker_volume: str | None = None
    ticker_open_interest: str | None = None
    candles_in_contracts: bool = False
    mark_prices_apart: bool = False
    intervals_apart: bool = False
    payment_sign: int = 1
    payments_by_symbol: bool = False
    borrow_period: timedelta | None = None
    position_params: Mapping[str, Any] = field(default_factory=dict)
    settle_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fee_fields: Mapping[str, tuple[str, str]] = field(default_factory=dict)


_HOUR: Final = timedelta(hours=1)
_WEEK: Final = timedelta(days=7)
_MONTH: Final = timedelta(days=30)

# A window of a settlement history must not hold more rows than an answer: newest come first, and
# the oldest would be lost. One settlement an hour is the shortest interval any of these has.
_OKX_SETTLEMENTS: Final = HistoryPages(100, 98 * _HOUR, end_name="after")
_OKX_PAYMENTS: Final = HistoryPages(100, _MONTH, start_name="begin", end_name="end")
_BYBIT_SETTLEMENTS: Final = HistoryPages(200, 198 * _HOUR)
# ccxt's own word for the limit is one that Bybit does not know.
_BYBIT_PAYMENTS: Final = HistoryPages(100, _WEEK, params={"limit": 100})
_GATE_SETTLEMENTS: Final = HistoryPages(1_000, 998 * _HOUR)
_GATE_PAYMENTS: Final = HistoryPages(100, _MONTH, end_name="to", end_in_seconds=True)
_BITGET_SETTLEMENTS: Final = HistoryPages(100, 98 * _HOUR, by_page=True)
_BITGET_PAYMENTS: Final = HistoryPages(100, _MONTH)
_HYPERLIQUID_HISTORY: Final = HistoryPages(500, 498 * _HOUR)

TRAITS: Final[dict[str, DataTraits]] = {
    "okx-spot": DataTraits(
        params={"type": "spot"},
        depths=(400,),
        # history-candles gives 100, and ccxt turns to it for old ones.
        most_candles=99,
        settlements=_OKX_SETTLEMENTS,
        payments=_OKX_PAYMENTS,
        # The document gives no period. Hourly is the dearer reading: it errs on the side of not
        # borrowing.
        borrow_period=_HOUR,
    ),
    "okx-swap": DataTraits(
        params={"type": "swap"},
        depths=(400,),
        most_candles=99,
        settlements=_OKX_SETTLEMENTS,
        payments=_OKX_PAYMENTS,
        # vol24h, which ccxt takes for base, counts contracts.
        ticker_volume="volCcy24h",
        mark_prices_apart=True,
        # `maker` and `taker`, which ccxt reads, are those of contracts settled in their coin.
        fee_fields={"USDT": ("makerU", "takerU"), "USDC": ("makerUSDC", "takerUSDC")},
    ),
    "bybit-spot": DataTraits(
        params={"type": "spot"},
        depths=(200,),
        most_candles=999,
        settlements=_BYBIT_SETTLEMENTS,
        payments=_BYBIT_PAYMENTS,
    ),
    "bybit-linear": DataTraits(
        params={"type": "swap", "subType": "linear"},
        depths=(500,),
        most_candles=999,
        settlements=_BYBIT_SETTLEMENTS,
        payments=_BYBIT_PAYMENTS,
        contract_params={"type": "swap", "subType": "linear"},
        ticker_open_interest="openInterest",
        # execFee of a funding execution is what was paid.
        payment_sign=-1,
        # Without a settle coin Bybit wants a symbol.
        settle_params={"USDT": {"settleCoin": "USDT"}, "USDC": {"settleCoin": "USDC"}},
    ),
    "gate-spot": DataTraits(
        params={"type": "spot"},
        depths=(10, 50, 100),
        most_candles=899,
        settlements=_GATE_SETTLEMENTS,
        payments=_GATE_PAYMENTS,
    ),
    "gate-swap": DataTraits(
        params={"type": "swap", "settle": "usdt"},
        depths=(10, 50, 100),
        most_candles=899,
        settlements=_GATE_SETTLEMENTS,
        payments=_GATE_PAYMENTS,
        contract_params={"settle": "usdt"},
        # Else flat ones come too, a hundred rows in all: a held one may be cut off.
        position_params={"holding": "true"},
        ticker_open_interest="total_size",
        candles_in_contracts=True,
    ),
    "bitget-spot": DataTraits(
        params={"type": "spot"},
        depths=(150,),
        most_candles=199,
        settlements=_BITGET_SETTLEMENTS,
        payments=_BITGET_PAYMENTS,
    ),
    "bitget-swap": DataTraits(
        params={"type": "swap", "productType": "USDT-FUTURES"},
        depths=(5, 15, 50, 100),
        most_candles=199,
        settlements=_BITGET_SETTLEMENTS,
        payments=_BITGET_PAYMENTS,
        contract_params={"productType": "USDT-FUTURES"},
        # Its unit is base; contractSize is 1.
        ticker_open_interest="holdingAmount",
        intervals_apart=True,
        payments_by_symbol=True,
    ),
    "hyperliquid": DataTraits(
        params={"type": "swap"},
        depths=(20,),
        most_candles=999,
        settlements=_HYPERLIQUID_HISTORY,
        payments=_HYPERLIQUID_HISTORY,
        ticker_volume="dayBaseVlm",
        ticker_open_interest="openInterest",
    ),
}
"""Every venue but Binance, which has readers of its own."""
