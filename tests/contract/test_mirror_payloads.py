"""Binance's own answers as a mirror reads them: recorded lists, and rows of its documents."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.simulator.core.matching import Execution
from services.simulator.mirror import binance_rows as rows

EIGHT = rows.DEFAULT_INTERVAL
DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded answers are not here")


def read(name: str) -> Any:
    """Return a recorded answer."""
    raw = (DATA / name).read_bytes()
    return json.loads(gzip.decompress(raw) if name.endswith(".gz") else raw)


def test_every_perpetual_of_a_recorded_list_is_read() -> None:
    """Whatever its kind of perpetual; contracts that end are not."""
    listed = read("instruments/binance_usdm_exchangeInfo_20260704.json")["symbols"]
    found = rows.read_rows(listed, lambda row: rows.perpetual_spec(row, rows.FundingRules()))
    wanted = [row["symbol"] for row in listed if row["contractType"].endswith("PERPETUAL")]
    assert [one.symbol for one in found] == wanted
    assert len(wanted) > 500


@pytest.mark.parametrize("name", ["BTC_ETH_XVG_20260703.json", "20211012.json.gz"])
def test_every_spot_symbol_of_a_recorded_list_is_read(name: str) -> None:
    """Those of 2021 have the older filter of notional."""
    listed = read(f"instruments/binance_spot_exchangeInfo_{name}")["symbols"]
    assert len(rows.read_rows(listed, rows.spot_spec)) == len(listed)


def test_rows_of_the_documents_are_read() -> None:
    """Funding, its rules, marks and trades of USD-M, as the venue shows them."""
    folder = "payloads/binance_usdm"
    state = rows.funding_state(_row(f"{folder}/http_futures_market_premium_index.json"), EIGHT)
    assert (state.symbol, state.last_rate) == ("BTCUSDT", Decimal("0.00038246"))
    symbol, rules = rows.funding_rules(_row(f"{folder}/docs_get_fapi_v1_fundinginfo_1.json"))
    assert (symbol, rules.interval, rules.cap) == ("BLZUSDT", EIGHT, Decimal("0.025"))
    trade = rows.perpetual_trade(_row(f"{folder}/http_futures_market_trades.json"))
    assert trade.execution == Execution(Decimal("4.000001"), Decimal(12))
    paid = rows.settlement(_row(f"{folder}/jk_rest_fut_GetFundingRates.json"), EIGHT)
    assert (paid.rate, paid.mark_price) == (Decimal("0.0001"), Decimal("34287.54619963"))


def test_rows_of_spots_documents_are_read() -> None:
    """Trades and prices, as the venue shows them."""
    folder = "payloads/binance_spot"
    trade = rows.spot_trade(_row(f"{folder}/jk_rest_spot_GetAggregatedTradeHistory.json"))
    assert trade.trade_id == 26129
    price = rows.price(_row(f"{folder}/http_ticker_price_response.json"))
    assert price == ("LTCBTC", Decimal("4.000002"))


def _row(name: str) -> Any:
    answer = read(name)
    kept = answer.get("response", answer) if isinstance(answer, dict) else answer
    return kept[0] if isinstance(kept, list) else kept
