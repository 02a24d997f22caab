"""What is sent to Gate, Bitget and Hyperliquid: what was asked, and nothing else."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from services.connector.order_types import OrderIntent, OrderType, Side, TimeInForce
from services.connector.send_judgement import SendResult, Verdict
from tests.support.canned_markets import MARKETS
from tests.support.canned_venue import Answer, Asked, CannedVenue
from tests.support.order_intents import intent_of, place_canned

if TYPE_CHECKING:
    from pathlib import Path

CODES = ("gate-spot", "gate-swap", "bitget-spot", "bitget-swap", "hyperliquid")
ORDER_PATHS = {
    "gate-spot": "POST /api/v4/spot/orders",
    "gate-swap": "POST /api/v4/futures/usdt/orders",
    "bitget-spot": "POST /api/v2/spot/trade/place-order",
    "bitget-swap": "POST /api/v2/mix/order/place-order",
    "hyperliquid": "POST /exchange order",
}


async def place(
    code: str, folder: Path, intent: OrderIntent, client_id: str = "trend-1"
) -> tuple[SendResult, CannedVenue, list[Asked]]:
    """Load markets, place one order, and return the verdict and all that was asked."""
    answers = {ORDER_PATHS[code]: Answer("{", 502)}
    result, canned = await place_canned(code, folder, intent, answers, client_id)
    sent = [one for one in canned.asked if one.method == "POST" and one.path != "/info"]
    return result, canned, sent


@pytest.mark.parametrize("code", CODES)
async def test_markets_and_a_first_order_send_nothing_unasked(code: str, tmp_path: Path) -> None:
    """No account question, no builder's fee, no referral: the markets' reads and one order."""
    result, canned, _ = await place(code, tmp_path, intent_of())
    assert set(canned.names()) == {*MARKETS[code], ORDER_PATHS[code]}
    assert canned.names().count(ORDER_PATHS[code]) == 1
    # What is read of markets is public: no key, no signature.
    reads = [one for one in canned.asked if one.method == "GET"]
    assert not any({"key", "sign", "access-key"} & set(one.headers) for one in reads)
    assert result.verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("code", CODES)
async def test_no_order_carries_a_broker_tag(code: str, tmp_path: Path) -> None:
    """Neither in a header nor in the body nor in the client id."""
    _, canned, sent = await place(code, tmp_path, intent_of())
    names = {name for one in canned.asked for name in one.headers}
    assert not names & {"x-channel-api-code", "x-gate-channel-id", "referer"}
    (order,) = sent
    assert "ccxt" not in str(order.body).lower()
    assert "builder" not in str(order.body)
    assert "vaultAddress" not in str(order.body)


async def test_gate_contracts_are_signed_and_the_id_has_its_prefix(tmp_path: Path) -> None:
    """A sale of 0.002 at 0.0001 a contract is -20; reduce-only and the window go along."""
    intent = intent_of(side=Side.SELL, reduce_only=True)
    _, _, (order,) = await place("gate-swap", tmp_path, intent, "trend-1")
    assert order.body == {
        "contract": "BTC_USDT",
        "size": -20,
        "price": "38026",
        "reduce_only": True,
        "tif": "ioc",
        "text": "t-trend-1",
    }
    assert order.headers["x-gate-exptime"].isdigit()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"time_in_force": TimeInForce.FOK}, "fok"),
        ({"time_in_force": TimeInForce.GTC}, "gtc"),
        ({"time_in_force": TimeInForce.GTX, "post_only": True}, "poc"),
    ],
)
async def test_gate_spot_words_time_in_force(
    changes: dict[str, Any], word: str, tmp_path: Path
) -> None:
    """Fill-or-kill and post-only by the venue's words; amounts are in the base."""
    _, _, (order,) = await place("gate-spot", tmp_path, intent_of(**changes))
    assert (order.body["time_in_force"], order.body["amount"]) == (word, "0.002")
    assert (order.body["account"], order.body["text"]) == ("spot", "t-trend-1")


async def test_gate_id_that_begins_with_a_t_keeps_it(tmp_path: Path) -> None:
    """ccxt alone would leave the prefix out."""
    _, _, (order,) = await place("gate-spot", tmp_path, intent_of(), "t1")
    assert order.body["text"] == "t-t1"


@pytest.mark.parametrize("code", ["gate-spot", "bitget-spot", "hyperliquid"])
async def test_an_unbounded_market_buy_is_refused_unsent(code: str, tmp_path: Path) -> None:
    """Where its amount would be in the quote, or the venue has no market orders."""
    intent = intent_of(type=OrderType.MARKET, price=None, time_in_force=None)
    result, _, sent = await place(code, tmp_path, intent)
    assert (result.verdict, sent) == (Verdict.NOT_SENT, [])
    assert result.error is not None
    assert result.error.reason == "FIELD_INVALID"
    assert "worst_price" in str(result.error)


@pytest.mark.parametrize(("code", "price"), [("gate-swap", "0"), ("bitget-swap", None)])
async def test_a_market_order_on_contracts_is_in_the_base(
    code: str, price: str | None, tmp_path: Path
) -> None:
    """Their size means the same for both sides."""
    intent = intent_of(type=OrderType.MARKET, price=None, time_in_force=None)
    _, _, (order,) = await place(code, tmp_path, intent)
    assert str(order.body["size"]) in ("20", "0.002")
    assert order.body.get("price") == price


async def test_bitget_contract_order_is_one_way_and_cross(tmp_path: Path) -> None:
    """Reduce-only in its own words, the client id as it is."""
    intent = intent_of(reduce_only=True, time_in_force=TimeInForce.FOK)
    _, _, (order,) = await place("bitget-swap", tmp_path, intent)
    assert order.body == {
        "symbol": "BTCUSDT",
        "orderType": "limit",
        "price": "38026",
        "force": "FOK",
        "marginCoin": "USDT",
        "size": "0.002",
        "productType": "USDT-FUTURES",
        "clientOid": "trend-1",
        "marginMode": "crossed",
        "reduceOnly": "YES",
        "side": "buy",
    }


async def test_hyperliquid_order_expires_and_has_the_hex_id(tmp_path: Path) -> None:
    """One action, signed over its end of validity."""
    cloid = "0x" + "ab" * 16
    _, _, (order,) = await place("hyperliquid", tmp_path, intent_of(reduce_only=True), cloid)
    assert set(order.body) == {"action", "nonce", "signature", "expiresAfter"}
    assert 0 < order.body["expiresAfter"] - order.body["nonce"] <= 5_500
    assert order.body["action"] == {
        "type": "order",
        "orders": [
            {
                "a": 0,
                "b": True,
                "p": "38026",
                "s": "0.002",
                "r": True,
                "t": {"limit": {"tif": "Ioc"}},
                "c": cloid,
            }
        ],
        "grouping": "na",
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_in_force": TimeInForce.FOK}, "time_in_force"),
        ({"time_in_force": TimeInForce.GTC, "price": Decimal("3802.65")}, "price"),
    ],
)
async def test_hyperliquid_refuses_what_it_does_not_know(
    changes: dict[str, Any], field: str, tmp_path: Path
) -> None:
    """Fill-or-kill, and a resting price of more digits than it takes."""
    result, _, sent = await place("hyperliquid", tmp_path, intent_of(**changes))
    assert (result.verdict, sent) == (Verdict.NOT_SENT, [])
    assert field in str(result.error)


@pytest.mark.parametrize(("side", "sent_price"), [(Side.BUY, "3802.6"), (Side.SELL, "3802.7")])
async def test_hyperliquid_bound_is_never_made_worse(
    side: Side, sent_price: str, tmp_path: Path
) -> None:
    """A bound of six digits goes to the near side of the five the venue takes."""
    intent = intent_of(side=side, price=Decimal("3802.65"))
    _, _, (order,) = await place("hyperliquid", tmp_path, intent)
    assert order.body["action"]["orders"][0]["p"] == sent_price
