"""One market of each venue as its own documents word it, for the canned responder."""

from __future__ import annotations

from typing import Any

from tests.support.canned_venue import Answer

_BINANCE_FILTERS: list[dict[str, Any]] = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.1", "maxPrice": "1000000", "tickSize": "0.1"},
    {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "1000", "stepSize": "0.001"},
]
_BINANCE: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"],
    "filters": _BINANCE_FILTERS,
}
_OKX_SWAP: dict[str, Any] = {
    "instType": "SWAP",
    "instId": "BTC-USDT-SWAP",
    "uly": "BTC-USDT",
    "instFamily": "BTC-USDT",
    "settleCcy": "USDT",
    "ctVal": "0.01",
    "ctMult": "1",
    "ctValCcy": "BTC",
    "ctType": "linear",
    "state": "live",
    "tickSz": "0.1",
    "lotSz": "0.1",
    "minSz": "0.1",
    "baseCcy": "",
    "quoteCcy": "",
    "lever": "100",
}
_BYBIT: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "settleCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "fundingInterval": 480,
    "priceFilter": {"minPrice": "0.1", "maxPrice": "1999999.8", "tickSize": "0.1"},
    "lotSizeFilter": {
        "maxOrderQty": "1190",
        "minOrderQty": "0.001",
        "qtyStep": "0.001",
        "basePrecision": "0.000001",
        "quotePrecision": "0.0000001",
        "minOrderAmt": "1",
    },
    "leverageFilter": {"minLeverage": "1", "maxLeverage": "100", "leverageStep": "0.01"},
}
_GATE_CONTRACT: dict[str, Any] = {
    "name": "BTC_USDT",
    "type": "direct",
    "quanto_multiplier": "0.0001",
    "order_price_round": "0.1",
    "order_size_min": 1,
    "order_size_max": 1000000,
    "leverage_min": "1",
    "leverage_max": "100",
    "status": "trading",
    "in_delisting": False,
    "enable_decimal": False,
    "maker_fee_rate": "-0.0001",
    "taker_fee_rate": "0.00075",
    "mark_price": "38026",
    "create_time": 1514764800,
}
_BITGET_CONTRACT: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "makerFeeRate": "0.0004",
    "takerFeeRate": "0.0006",
    "supportMarginCoins": ["USDT"],
    "minTradeNum": "0.001",
    "priceEndStep": "1",
    "volumePlace": "3",
    "pricePlace": "1",
    "sizeMultiplier": "0.001",
    "symbolType": "perpetual",
    "minTradeUSDT": "5",
    "symbolStatus": "normal",
    "minLever": "1",
    "maxLever": "125",
    "launchTime": "",
    "deliveryTime": "",
}
_BITGET_PAIR: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "minTradeAmount": "0",
    "maxTradeAmount": "900000000000000000000",
    "takerFeeRate": "0.002",
    "makerFeeRate": "0.002",
    "pricePrecision": "1",
    "quantityPrecision": "3",
    "quotePrecision": "8",
    "status": "online",
    "minTradeUSDT": "1",
}
_HYPERLIQUID: list[Any] = [
    {
        "universe": [
            {"name": "BTC", "szDecimals": 5, "maxLeverage": 40},
            {"name": "kPEPE", "szDecimals": 0, "maxLeverage": 10},
            {"name": "KAITO", "szDecimals": 0, "maxLeverage": 5, "isDelisted": True},
        ]
    },
    [
        {"markPx": "38026.0", "midPx": "38026.5", "oraclePx": "38020.0", "funding": "0.0000125"},
        {"markPx": "0.009512", "midPx": "0.009513", "oraclePx": "0.00951", "funding": "0.0000125"},
        {"markPx": "0.95", "midPx": "0.95", "oraclePx": "0.95", "funding": "0.0000125"},
    ],
]


def bitget(data: Any) -> dict[str, Any]:
    """Return Bitget's envelope of a success."""
    return {"code": "00000", "msg": "success", "requestTime": 1695793701269, "data": data}


def bybit(result: Any) -> dict[str, Any]:
    """Return Bybit's envelope of a success."""
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1}


MARKETS: dict[str, dict[str, Answer]] = {
    "binance": {
        "GET /api/v3/exchangeInfo": Answer(
            {"symbols": [{**_BINANCE, "isSpotTradingAllowed": True, "permissions": ["SPOT"]}]}
        )
    },
    "binanceusdm": {
        "GET /fapi/v1/exchangeInfo": Answer(
            {
                "symbols": [
                    {
                        **_BINANCE,
                        "contractType": "PERPETUAL",
                        "marginAsset": "USDT",
                        "pair": "BTCUSDT",
                        "deliveryDate": 4133404800000,
                        "onboardDate": 1569398400000,
                    }
                ]
            }
        )
    },
    "okx-swap": {
        "GET /api/v5/public/instruments": Answer({"code": "0", "msg": "", "data": [_OKX_SWAP]})
    },
    "okx-spot": {
        "GET /api/v5/public/instruments": Answer(
            {
                "code": "0",
                "msg": "",
                "data": [
                    {
                        **_OKX_SWAP,
                        "instType": "SPOT",
                        "instId": "BTC-USDT",
                        "baseCcy": "BTC",
                        "quoteCcy": "USDT",
                        "settleCcy": "",
                        "ctVal": "",
                        "ctType": "",
                        "lotSz": "0.00000001",
                        "minSz": "0.00001",
                    }
                ],
            }
        )
    },
    "bybit-linear": {
        "GET /v5/market/instruments-info": Answer(
            bybit({"category": "linear", "list": [_BYBIT], "nextPageCursor": ""})
        )
    },
    "bybit-spot": {
        "GET /v5/market/instruments-info": Answer(
            bybit({"category": "spot", "list": [_BYBIT], "nextPageCursor": ""})
        )
    },
    "gate-spot": {
        "GET /api/v4/margin/currency_pairs": Answer([]),
        "GET /api/v4/spot/currency_pairs": Answer(
            [
                {
                    "id": "BTC_USDT",
                    "base": "BTC",
                    "quote": "USDT",
                    "fee": "0.2",
                    "min_base_amount": "0.001",
                    "min_quote_amount": "1.0",
                    "amount_precision": 3,
                    "precision": 1,
                    "trade_status": "tradable",
                    "buy_start": 1516378650,
                }
            ]
        ),
    },
    "gate-swap": {"GET /api/v4/futures/usdt/contracts": Answer([_GATE_CONTRACT])},
    "bitget-spot": {
        "GET /api/v2/spot/public/symbols": Answer(bitget([_BITGET_PAIR])),
        "GET /api/v2/margin/currencies": Answer(bitget([])),
    },
    "bitget-swap": {"GET /api/v2/mix/market/contracts": Answer(bitget([_BITGET_CONTRACT]))},
    "hyperliquid": {"POST /info metaAndAssetCtxs": Answer(_HYPERLIQUID)},
}
"""By venue code: what is asked when its markets are loaded, and the answer."""
