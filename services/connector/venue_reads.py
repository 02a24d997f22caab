"""Reads of the venue's own endpoints as raw rows: one method per question, weights beside it.

ccxt's unified bulk calls lose a whole answer to one bad row and take eight times as long on funding
history, so the bulk reads take the venue's rows as they are; `market_mapping` and
`account_mapping` understand them. Weights: rest-api.md (spot), USD-M REST reference (futures).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from services.common.errors import UnimplementedError
from services.connector.profile import EndpointClass

if TYPE_CHECKING:
    from services.connector.venue import Venue

SPOT_CALLS: Final[dict[str, str]] = {
    "day_tickers": "publicGetTicker24hr",
    "book_tickers": "publicGetTickerBookTicker",
    "price": "publicGetTickerPrice",
    "klines": "publicGetKlines",
    "depth": "publicGetDepth",
    "account": "privateGetAccount",
    "trading_fees": "sapiGetAssetTradeFee",
    "key_permissions": "sapiGetAccountApiRestrictions",
    "margin_account": "sapiGetMarginAccount",
    "borrow_rates": "sapiGetMarginCrossMarginData",
}
PERPETUAL_CALLS: Final[dict[str, str]] = {
    "day_tickers": "fapiPublicGetTicker24hr",
    "book_tickers": "fapiPublicGetTickerBookTicker",
    "price": "fapiPublicV2GetTickerPrice",
    "klines": "fapiPublicGetKlines",
    "depth": "fapiPublicGetDepth",
    "open_interest": "fapiPublicGetOpenInterest",
    "premium_index": "fapiPublicGetPremiumIndex",
    "funding_info": "fapiPublicGetFundingInfo",
    "funding_history": "fapiPublicGetFundingRate",
    "account": "fapiPrivateV3GetAccount",
    "positions": "fapiPrivateV3GetPositionRisk",
    "income": "fapiPrivateGetIncome",
    "commission_rate": "fapiPrivateGetCommissionRate",
    "account_config": "fapiPrivateGetAccountConfig",
    "symbol_config": "fapiPrivateGetSymbolConfig",
    "position_mode": "fapiPrivateGetPositionSideDual",
    "key_permissions": "sapiGetAccountApiRestrictions",
}
CALLS: Final = {"binance": SPOT_CALLS, "binanceusdm": PERPETUAL_CALLS}

_WEIGHTS: Final[dict[str, tuple[int, int]]] = {
    # question: (weight for one symbol, weight for all)
    "binance/day_tickers": (2, 80),
    "binance/book_tickers": (2, 4),
    "binance/price": (2, 4),
    "binance/klines": (2, 2),
    "binance/depth": (5, 5),
    "binance/account": (20, 20),
    "binance/margin_account": (10, 10),
    "binance/borrow_rates": (5, 5),
    "binanceusdm/day_tickers": (1, 40),
    "binanceusdm/book_tickers": (2, 5),
    "binanceusdm/price": (1, 2),
    "binanceusdm/klines": (5, 5),
    "binanceusdm/depth": (5, 5),
    "binanceusdm/premium_index": (1, 10),
    "binanceusdm/account": (5, 5),
    "binanceusdm/positions": (5, 5),
    "binanceusdm/income": (30, 30),
    "binanceusdm/commission_rate": (20, 20),
    "binanceusdm/account_config": (5, 5),
    "binanceusdm/symbol_config": (5, 5),
    "binanceusdm/position_mode": (30, 30),
}
_FUNDING: Final = frozenset({"funding_info", "funding_history"})


def endpoint_class(method: str, question: str) -> EndpointClass:
    """Return the allowance that a call counts against."""
    if question in _FUNDING:
        return EndpointClass.FUNDING_HISTORY
    return EndpointClass.SAPI if method.startswith("sapi") else EndpointClass.WEIGHT


def weight_of(code: str, question: str, params: dict[str, Any]) -> int:
    """Return the documented weight of a call with these parameters; 1 when it is not listed."""
    if question in ("klines", "depth"):
        return _limit_weight(code, question, int(params.get("limit", 500)))
    # From the documents: ccxt counts the bulk premiumIndex as 1, the venue as 10.
    one, everything = _WEIGHTS.get(f"{code}/{question}", (1, 1))
    return one if "symbol" in params else everything


def _limit_weight(code: str, question: str, limit: int) -> int:
    if question == "klines":
        if code == "binance":
            return 2
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1000 else 10
    if code == "binance":
        return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
    return 2 if limit <= 50 else 5 if limit <= 100 else 10 if limit <= 500 else 20


class VenueReads:
    """Asks the venue; rows come back as the venue wrote them."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self._calls = CALLS.get(venue.code, {})

    @property
    def is_perpetual(self) -> bool:
        """Whether the account trades perpetuals."""
        return self.venue.is_perpetual

    def offers(self, question: str) -> bool:
        """Whether the venue has an endpoint for the question."""
        return question in self._calls

    async def ask(self, question: str, **params: Any) -> Any:
        """Return the raw answer to a question; parameters that are None are left out.

        Raises UnimplementedError when the venue has no such endpoint, and what `Venue.read` raises.
        """
        method = self._calls.get(question)
        if method is None:
            raise UnimplementedError(
                f"{self.venue.code} has no {question.replace('_', ' ')}",
                reason="NOT_SUPPORTED_BY_VENUE",
                metadata={"exchange": self.venue.name},
            )
        given = {name: value for name, value in params.items() if value is not None}
        call = getattr(self.venue.exchange, method)
        return await self.venue.read(
            endpoint_class(method, question),
            weight_of(self.venue.code, question, given),
            lambda: call(given),
        )
