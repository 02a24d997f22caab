"""The questions asked of real ccxt classes over canned answers: units, signs, paths, absences.

For the venues the simulator does not speak. Bodies are worded as the venues' documents word them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from opensqt.market_maker.v1 import resources_pb2
from services.common.codec import from_duration
from services.common.errors import UnimplementedError
from services.connector.account_mapping import SymbolConfig
from services.connector.data_part import open_way
from services.connector.instruments import Instrument
from services.connector.row_quarantine import RowQuarantine
from services.connector.unified_rows import to_unified_fee
from services.connector.unified_traits import TRAITS
from services.connector.venue_questions import CandleSpan, KeyPermissions, Questions
from tests.support.canned_markets import MARKETS
from tests.support.canned_reads import BITGET, GATE, HYPERLIQUID, HYPERLIQUID_TIME
from tests.support.canned_venue import Answer, CannedVenue, open_canned, open_venue
from tests.support.connector_orders import instrument

HOUR = 3_600_000
GATE_TIME = 1_694_988_060_000
BITGET_TIME = 1_695_796_020_000


@asynccontextmanager
async def asking(
    code: str, answers: dict[str, Answer], folder: Path
) -> AsyncIterator[tuple[Questions, Instrument, CannedVenue]]:
    """Open the questions of a venue whose answers are canned, and its first instrument."""
    async with open_canned(folder) as (canned, session):
        canned.answers = {**MARKETS[code], **answers}
        async with open_venue(code, session) as venue:
            questions = open_way(venue, RowQuarantine()).questions
            yield questions, next(iter(venue.instruments)), canned


def values(message: Any, *fields: str) -> list[Decimal]:
    """Return the numbers of a message's decimal fields."""
    return [Decimal(getattr(message, field).value) for field in fields]


async def test_gate_counts_contracts_and_signs_sizes(tmp_path: Path) -> None:
    """A contract is 0.0001 BTC: in books, candles, open interest and the signed position."""
    async with asking("gate-swap", GATE, tmp_path) as (questions, btc, canned):
        (ticker,) = await questions.market.tickers()
        assert values(ticker, "volume", "open_interest", "best_bid_quantity") == [
            Decimal(28_613_220),
            Decimal("3232.3904"),
            Decimal("0.01"),
        ]
        found = await questions.market.open_interest(btc)
        assert (found.quantity, found.notional) == (
            Decimal("3232.3904"),
            Decimal("3232.3904") * 6534,
        )
        book = await questions.market.depth(btc, 5)
        assert [values(one, "price", "quantity") for one in book.asks] == [
            [Decimal(101), Decimal("0.0007")],
            [Decimal(102), Decimal("0.002")],
        ]
        candles = await questions.market.candles(btc, CandleSpan("1m", 2, None, None))
        assert [values(one, "volume") for one in candles] == [[Decimal("0.01")], [Decimal("0.005")]]
        assert [one.is_closed for one in candles] == [True, False]
        (position,) = await questions.account.positions(None)
        assert values(position, "size", "entry_price") == [Decimal("-0.944"), Decimal("3779.55")]
        assert position.update_time.seconds == 1_684_994_406
        account = await questions.account.account()
        assert values(account, "total_margin_balance", "health_score") == [
            Decimal(1050),
            Decimal("0.98"),
        ]
        # What ccxt does not know it sends on: nothing but the venue's own words may be there.
        # Nor rows of flat contracts: a hundred come at most.
        asked = [dict(one.query) for one in canned.asked if one.path.endswith("/positions")]
        assert asked == [{"holding": "true"}] * 2


async def test_gate_tells_funding_fees_and_settings(tmp_path: Path) -> None:
    """Intervals of four hours, payments without a name, a key without told permissions."""
    async with asking("gate-swap", GATE, tmp_path) as (questions, btc, _):
        (rate,) = await questions.funding.rates()
        assert from_duration(rate.interval) == timedelta(hours=4)
        assert rate.next_funding_time == 1_694_995_200_000
        assert values(rate, "rate", "predicted_rate") == [Decimal("0.0001"), Decimal("0.0002")]
        start = GATE_TIME - 24 * HOUR
        settled = await questions.funding.settlements(btc, start, None, 10)
        assert [place for place, _ in settled.rows] == [
            (1_694_952_000_000, "BTCUSDT"),
            (1_694_966_400_000, "BTCUSDT"),
        ]
        paid = await questions.account.funding_payments(btc, start, None, 10)
        assert [(place, row.amount.value) for place, row in paid.rows] == [
            ((1_694_966_400_000, "BTCUSDT-1694966400000"), "-0.5")
        ]
        (fee,) = await questions.account.trading_fees(btc)
        assert values(fee, "maker_fee_ratio", "taker_fee_ratio") == [
            Decimal("-0.0001"),
            Decimal("0.0005"),
        ]
        assert await questions.account.position_mode() is False
        assert await questions.account.symbol_configs(btc) == {
            "BTC_USDT": SymbolConfig(10, "cross")
        }
        assert await questions.account.key_permissions() == KeyPermissions(
            can_read=True, ip_restricted=True
        )
        with pytest.raises(UnimplementedError) as caught:
            await questions.funding.settlements(None, start, None, 10)
        assert caught.value.reason == "HISTORY_BY_SYMBOL_ONLY"


async def test_bitget_takes_interval_and_settlement_from_a_question_of_their_own(
    tmp_path: Path,
) -> None:
    """Its tickers tell the rate alone; a settlement that has passed is moved on by the interval."""
    async with asking("bitget-swap", BITGET, tmp_path) as (questions, btc, _):
        (rate,) = await questions.funding.rates()
        assert from_duration(rate.interval) == timedelta(hours=4)
        assert rate.next_funding_time == 1_695_787_200_000 + 4 * HOUR
        assert values(rate, "rate", "mark_price") == [Decimal("-0.0007"), Decimal(29_900)]
        settled = await questions.funding.settlements(btc, BITGET_TIME - 24 * HOUR, None, 10)
        assert [place[0] for place, _ in settled.rows] == [1_695_772_800_000, 1_695_787_200_000]
        paid = await questions.account.funding_payments(btc, BITGET_TIME - 24 * HOUR, None, 10)
        assert [(place, row.amount.value) for place, row in paid.rows] == [
            ((1_695_787_200_000, "77"), "-0.005")
        ]
        with pytest.raises(UnimplementedError) as caught:
            await questions.account.funding_payments(None, BITGET_TIME, None, 10)
        assert caught.value.reason == "HISTORY_BY_SYMBOL_ONLY"


async def test_bitget_tells_positions_settings_and_a_key_that_withdraws(tmp_path: Path) -> None:
    """A short is below zero, its stamp is told under Bitget's own spelling."""
    async with asking("bitget-swap", BITGET, tmp_path) as (questions, btc, _):
        (position,) = await questions.account.positions(btc)
        assert values(position, "size") == [Decimal("-0.01")]
        assert position.margin_type == "cross"
        assert not position.HasField("liquidation_price")
        assert position.update_time.ToMilliseconds() == 1_691_382_137_999
        assert await questions.account.position_mode() is True
        assert await questions.account.symbol_configs(btc) == {
            "BTCUSDT": SymbolConfig(7, "isolated")
        }
        assert await questions.account.key_permissions() == KeyPermissions(
            can_read=True, can_trade=True, can_withdraw=True, ip_restricted=True
        )
        candles = await questions.market.candles(btc, CandleSpan("1m", 2, None, None))
        assert [one.timestamp for one in candles] == [1_695_795_960_000, 1_695_796_020_000]
        found = await questions.market.open_interest(btc)
        assert found.notional == Decimal(100) * 29_900


@pytest.mark.parametrize(
    ("settle", "maker", "taker"),
    [("USDT", "0.0001", "0.0004"), ("USDC", "-0.0001", "0.0003"), ("BTC", "0.0002", "0.0005")],
)
def test_okx_fees_of_a_swap_are_those_of_its_settle_asset(
    settle: str, maker: str, taker: str
) -> None:
    """ccxt gives the fees of contracts settled in their coin; a fee paid is negative at OKX."""
    told = {"makerU": "-0.0001", "takerU": "-0.0004", "makerUSDC": "0.0001", "takerUSDC": "-0.0003"}
    row = {"maker": "0.0002", "taker": "0.0005", "info": told}
    swap = instrument(perpetual=True, settle_asset=settle)
    fee = to_unified_fee(row, swap, TRAITS["okx-swap"])
    assert values(fee, "maker_fee_ratio", "taker_fee_ratio") == [Decimal(maker), Decimal(taker)]


async def test_hyperliquid_counts_single_coins_and_signs_with_a_key_that_cannot_withdraw(
    tmp_path: Path,
) -> None:
    """kPEPE is a thousand PEPE; funding is hourly; an API wallet is not the account's owner."""
    async with asking("hyperliquid", HYPERLIQUID, tmp_path) as (questions, btc, canned):
        (position,) = await questions.account.positions(None)
        assert position.symbol == "PEPEUSDC"
        assert values(position, "size", "entry_price", "liquidation_price") == [
            Decimal(-50_000_000),
            Decimal("0.0000095"),
            Decimal("0.00002"),
        ]
        rates = await questions.funding.rates()
        assert {from_duration(one.interval) for one in rates} == {timedelta(hours=1)}
        start = HYPERLIQUID_TIME - 2 * HOUR
        settled = await questions.funding.settlements(btc, start, None, 5)
        assert [row.rate.value for _, row in settled.rows] == ["0.0000125"]
        paid = await questions.account.funding_payments(btc, start, None, 5)
        assert [row.payment_id for _, row in paid.rows] == ["BTCUSDC-1699999200012"]
        account = await questions.account.account()
        assert isinstance(account, resources_pb2.Account)
        assert values(account, "total_margin_balance", "health_score") == [
            Decimal(1736),
            Decimal("0.75"),
        ]
        assert await questions.account.position_mode() is False
        assert await questions.account.symbol_configs(btc) == {"BTC": SymbolConfig(20, "isolated")}
        assert (await questions.account.key_permissions()).can_withdraw is False
        (fee,) = await questions.account.trading_fees(btc)
        assert values(fee, "taker_fee_ratio") == [Decimal("0.00045")]
        # Reads sign nothing: no exchange action is ever posted for them.
        assert not [one for one in canned.asked if one.path == "/exchange"]
