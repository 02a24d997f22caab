"""Answers to the connector's reads as the venues' documents word them, for the canned responder."""

from __future__ import annotations

from typing import Any

from tests.support.canned_markets import MARKETS, bitget
from tests.support.canned_venue import Answer

HYPERLIQUID_TIME = 1_700_000_040_000

GATE_TICKER = {
    "contract": "BTC_USDT",
    "last": "6432",
    "change_percentage": "4.43",
    "total_size": "32323904",
    "volume_24h": "184040233284",
    "volume_24h_base": "28613220",
    "volume_24h_quote": "184040233284",
    "mark_price": "6534",
    "index_price": "6531",
    "highest_bid": "6431.5",
    "highest_size": "100",
    "lowest_ask": "6432.5",
    "lowest_size": "1000",
}
GATE_CONTRACT: dict[str, Any] = {
    **MARKETS["gate-swap"]["GET /api/v4/futures/usdt/contracts"].body[0],
    "funding_rate": "0.0001",
    "funding_rate_indicative": "0.0002",
    "funding_next_apply": 1_694_995_200,
    "funding_interval": 14_400,
    "index_price": "6531",
}
GATE_POSITION = {
    "contract": "BTC_USDT",
    "size": -9440,
    "leverage": "0",
    "value": "3568.62",
    "entry_price": "3779.55",
    "mark_price": "3780.32",
    "unrealised_pnl": "-0.5",
    "mode": "single",
    "update_time": 1_684_994_406,
    "cross_leverage_limit": "10",
}
GATE = {
    "GET /api/v4/futures/usdt/contracts": Answer([GATE_CONTRACT]),
    "GET /api/v4/futures/usdt/contracts/BTC_USDT": Answer(GATE_CONTRACT),
    "GET /api/v4/futures/usdt/tickers": Answer([GATE_TICKER]),
    "GET /api/v4/futures/usdt/positions": Answer([GATE_POSITION]),
    "GET /api/v4/futures/usdt/positions/BTC_USDT": Answer(GATE_POSITION),
    "GET /api/v4/futures/usdt/accounts": Answer(
        {
            "currency": "USDT",
            "total": "1000",
            "unrealised_pnl": "50",
            "available": "900",
            "maintenance_margin": "21",
            "in_dual_mode": False,
        }
    ),
    "GET /api/v4/futures/usdt/candlesticks": Answer(
        [
            {"t": 1_694_988_000, "o": "1", "h": "2", "l": "1", "c": "2", "v": 100},
            {"t": 1_694_988_060, "o": "2", "h": "2", "l": "1", "c": "2", "v": 50},
        ]
    ),
    "GET /api/v4/futures/usdt/order_book": Answer(
        {
            "current": 1_694_988_061.5,
            "update": 1_694_988_061.4,
            "asks": [{"p": "102", "s": 20}, {"p": "101", "s": 7}],
            "bids": [{"p": "100", "s": 10}],
        }
    ),
    "GET /api/v4/futures/usdt/funding_rate": Answer(
        [{"r": "0.0003", "t": 1_694_966_400}, {"r": "0.0002", "t": 1_694_952_000}]
    ),
    "GET /api/v4/futures/usdt/account_book": Answer(
        [{"time": 1_694_966_400, "change": "-0.5", "text": "BTC_USDT", "type": "fund"}]
    ),
    "GET /api/v4/wallet/fee": Answer(
        {"taker_fee": "0.002", "futures_taker_fee": "0.0005", "futures_maker_fee": "-0.0001"}
    ),
    "GET /api/v4/account/detail": Answer({"ip_whitelist": ["192.0.2.4"], "key": {"mode": 1}}),
}
BITGET_TICKER = {
    "symbol": "BTCUSDT",
    "lastPr": "29904.5",
    "askPr": "29905",
    "bidPr": "29903.5",
    "bidSz": "0.5091",
    "askSz": "2.2694",
    "ts": "1695796021400",
    "open24h": "29600",
    "baseVolume": "100",
    "quoteVolume": "3000000",
    "indexPrice": "29132.3",
    "fundingRate": "-0.0007",
    "holdingAmount": "125.6844",
    "markPrice": "29900",
}
BITGET_ACCOUNT = {
    "marginCoin": "USDT",
    "crossedMarginLeverage": "20",
    "isolatedLongLever": "7",
    "marginMode": "isolated",
    "posMode": "hedge_mode",
}
BITGET_POSITION = {
    "marginCoin": "USDT",
    "symbol": "BTCUSDT",
    "holdSide": "short",
    "marginSize": "9.67",
    "total": "0.01",
    "leverage": "20",
    "openPriceAvg": "25000",
    "marginMode": "crossed",
    "posMode": "one_way_mode",
    "unrealizedPL": "1",
    "liquidationPrice": "0",
    "keepMarginRate": "0.004",
    "markPrice": "25100",
    "uTime": "1691382137999",
}
BITGET_CANDLES = Answer(
    bitget(
        [
            ["1695795960000", "1", "2", "1", "2", "10", "20"],
            ["1695796020000", "2", "2", "1", "2", "5", "10"],
        ]
    )
)
BITGET = {
    "GET /api/v2/mix/market/tickers": Answer(bitget([BITGET_TICKER])),
    "GET /api/v2/mix/market/ticker": Answer(bitget([BITGET_TICKER])),
    "GET /api/v2/mix/market/candles": BITGET_CANDLES,
    "GET /api/v2/mix/market/history-candles": BITGET_CANDLES,
    "GET /api/v2/mix/market/current-fund-rate": Answer(
        bitget(
            [
                {
                    "symbol": "BTCUSDT",
                    "fundingRate": "-0.0007",
                    "fundingRateInterval": "4",
                    "nextUpdate": "1695787200000",
                }
            ]
        )
    ),
    "GET /api/v2/mix/market/open-interest": Answer(
        bitget({"openInterestList": [{"symbol": "BTCUSDT", "size": "100"}], "ts": "1"})
    ),
    "GET /api/v2/mix/market/history-fund-rate": Answer(
        bitget(
            [
                {"symbol": "BTCUSDT", "fundingRate": "0.0005", "fundingTime": "1695787200000"},
                {"symbol": "BTCUSDT", "fundingRate": "0.0004", "fundingTime": "1695772800000"},
            ]
        )
    ),
    "GET /api/v2/mix/position/all-position": Answer(bitget([BITGET_POSITION])),
    "GET /api/v2/mix/account/account": Answer(bitget(BITGET_ACCOUNT)),
    "GET /api/v2/mix/account/bill": Answer(
        bitget(
            {
                "bills": [
                    {
                        "billId": "77",
                        "symbol": "BTCUSDT",
                        "amount": "-0.005",
                        "businessType": "contract_settle_fee",
                        "coin": "USDT",
                        "cTime": "1695787200000",
                    }
                ]
            }
        )
    ),
    "GET /api/v2/common/trade-rate": Answer(
        bitget({"makerFeeRate": "0.0002", "takerFeeRate": "0.0006"})
    ),
    "GET /api/v2/spot/account/info": Answer(
        bitget({"authorities": ["coow", "cpow", "wwow"], "ips": "192.0.2.4"})
    ),
}
HYPERLIQUID = {
    "POST /info clearinghouseState": Answer(
        {
            "marginSummary": {"accountValue": "1736", "totalMarginUsed": "10"},
            "crossMarginSummary": {"accountValue": "1736", "totalMarginUsed": "10"},
            "crossMaintenanceMarginUsed": "434",
            "withdrawable": "772.2",
            "time": HYPERLIQUID_TIME,
            "assetPositions": [
                {
                    "type": "oneWay",
                    "position": {
                        "coin": "kPEPE",
                        "entryPx": "0.0095",
                        "leverage": {"type": "cross", "value": 5},
                        "liquidationPx": "0.02",
                        "marginUsed": "24.8",
                        "positionValue": "475",
                        "szi": "-50000",
                        "unrealizedPnl": "-1.5",
                    },
                }
            ],
        }
    ),
    "POST /info candleSnapshot": Answer(
        [
            {"t": 1_699_999_980_000, "o": "1", "h": "2", "l": "1", "c": "2", "v": "10"},
            {"t": 1_700_000_040_000, "o": "2", "h": "2", "l": "1", "c": "2", "v": "5"},
        ]
    ),
    "POST /info fundingHistory": Answer(
        [{"coin": "BTC", "fundingRate": "0.0000125", "time": 1_699_999_200_012}]
    ),
    "POST /info userFunding": Answer(
        [
            {
                "time": 1_699_999_200_012,
                "hash": "0x" + "0" * 64,
                "delta": {"type": "funding", "coin": "BTC", "usdc": "-0.5", "szi": "1"},
            }
        ]
    ),
    "POST /info userFees": Answer({"userCrossRate": "0.00045", "userAddRate": "0.00015"}),
    "POST /info activeAssetData": Answer({"leverage": {"type": "isolated", "value": 20}}),
}
