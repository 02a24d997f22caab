"""What is sent to OKX, what its answers prove, and which of its markets are listed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from services.connector.instruments import TradingStatus
from services.connector.order_types import OrderIntent, OrderType, TimeInForce
from services.connector.outcome import AnswerClass, Refusal, classify_answer
from services.connector.send_judgement import Verdict
from services.connector.symbols import build_instrument
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venues import find_profile
from tests.support.canned_venue import Answer, Asked
from tests.support.order_intents import intent_of, place_canned

if TYPE_CHECKING:
    from pathlib import Path

SPOT, SWAP = find_profile("okx-spot"), find_profile("okx-swap")
PLACE = "POST /api/v5/trade/order"
ROW = {"ordId": "1", "clOrdId": "trend1", "tag": "", "sCode": "0", "sMsg": ""}


async def place(folder: Path, intent: OrderIntent) -> tuple[Verdict, list[Asked]]:
    """Load markets, place one order, and return the verdict and all that was asked."""
    answers = {PLACE: Answer({"code": "0", "msg": "", "data": [ROW]})}
    result, canned = await place_canned("okx-swap", folder, intent, answers, "trend1")
    return result.verdict, canned.asked


async def test_an_order_is_what_was_asked_in_contracts_and_nothing_else(tmp_path: Path) -> None:
    """No tag, no broker's id, no hidden call; one-way mode asserted; valid for a while only."""
    verdict, asked = await place(tmp_path, intent_of(reduce_only=True))
    assert verdict is Verdict.ACCEPTED
    assert [one.path for one in asked] == ["/api/v5/public/instruments", "/api/v5/trade/order"]
    assert "ok-access-key" not in asked[0].headers
    assert asked[1].body == {
        "instId": "BTC-USDT-SWAP",
        "side": "buy",
        "posSide": "net",
        "tdMode": "cross",
        "ordType": "ioc",
        "sz": "0.2",
        "px": "38026",
        "reduceOnly": True,
        "clOrdId": "trend1",
    }
    assert asked[1].headers["exptime"].isdigit()


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"time_in_force": TimeInForce.FOK}, "fok"),
        ({"time_in_force": TimeInForce.GTC}, "limit"),
        ({"time_in_force": TimeInForce.GTX, "post_only": True}, "post_only"),
        ({"type": OrderType.MARKET, "price": None, "time_in_force": None}, "optimal_limit_ioc"),
    ],
)
async def test_kinds_of_orders_by_the_venues_words(
    changes: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    """A market order on a swap is the one that surely ends at once."""
    _, asked = await place(tmp_path, intent_of(**changes))
    assert asked[1].body["ordType"] == kind
    assert asked[1].body.get("px") == (None if kind == "optimal_limit_ioc" else "38026")


@pytest.mark.parametrize(
    ("given", "fits"),
    [("a" * 32, True), ("A1b2", True), ("a" * 33, False), ("a-b", False), ("a_b", False)],
)
def test_client_ids_are_letters_and_digits(given: str, fits: bool) -> None:
    """What the venue would refuse becomes an id of its form, the same each time."""
    sent = to_venue_client_id(given, SPOT)
    assert (sent == given) is fits
    assert SPOT.client_ids.pattern.fullmatch(sent)


def refused(code: str, *rows: str) -> dict[str, Any]:
    """Return an answer with these codes of rows."""
    data = [{"sCode": row, "sMsg": f"words of {row}"} for row in rows]
    return {"code": code, "msg": "All operations failed", "data": data}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": "0", "msg": "", "data": [ROW]}, None),
        ({"code": "0", "msg": "", "data": []}, None),
        (refused("1", "51008"), "51008"),
        (refused("2", "0", "51020"), "51020"),
        # A batch of cancels: what is gone already hides nothing worse.
        (refused("1", "51400", "50026"), "50026"),
        (refused("1", "51400", "51401"), "51400"),
        ({"code": "50001", "msg": "Service temporarily unavailable", "data": []}, "50001"),
        ({"message": "no envelope"}, ""),
        ([], ""),
    ],
)
def test_refusals_are_found_in_the_envelope_and_in_its_rows(body: Any, code: str | None) -> None:
    """Whatever the HTTP status; an answer without the envelope is refused with no code."""
    found = SWAP.read_refusal(body)
    assert found is None if code is None else isinstance(found, Refusal) and found.code == code


@pytest.mark.parametrize(
    ("status", "code", "wanted"),
    [
        (200, "51008", AnswerClass.DEFINITE_REJECT),
        (400, "51000", AnswerClass.DEFINITE_REJECT),
        (500, "51008", AnswerClass.UNKNOWN_OUTCOME),
        (200, "51016", AnswerClass.DUPLICATE_ID_QUERY_EXISTING),
        (200, "51603", AnswerClass.CANCEL_RACE_CHECK_FILL),
        (200, "50011", AnswerClass.NOT_EXECUTED_RETRYABLE),
        (200, "50036", AnswerClass.NOT_EXECUTED_RETRYABLE),
        (503, "50001", AnswerClass.NOT_EXECUTED_RETRYABLE),
        (200, "50001", AnswerClass.UNKNOWN_OUTCOME),
        (429, "50013", AnswerClass.NOT_EXECUTED_RETRYABLE),
        (400, "50004", AnswerClass.UNKNOWN_OUTCOME),
        (500, "50026", AnswerClass.UNKNOWN_OUTCOME),
        (200, "51149", AnswerClass.UNKNOWN_OUTCOME),
        (401, "50113", AnswerClass.AUTH_OR_CONFIG_FATAL),
        (200, "51999", AnswerClass.UNKNOWN_OUTCOME),
    ],
)
def test_what_an_answer_proves(status: int, code: str, wanted: AnswerClass) -> None:
    """Only what is documented as refused or not executed; the rest is unknown."""
    assert classify_answer(status, code, "", SWAP.answers, SWAP.answer_messages) is wanted


def market(**info: str) -> dict[str, Any]:
    """Return ccxt's market of a linear swap."""
    return {
        "id": "BTC-USDT-SWAP",
        "symbol": "BTC/USDT:USDT",
        "base": "BTC",
        "baseId": "BTC",
        "quote": "USDT",
        "settle": "USDT",
        "spot": False,
        "swap": True,
        "linear": True,
        "contractSize": "0.01",
        "precision": {"amount": "0.1", "price": "0.1"},
        "limits": {"amount": {"min": "0.1", "max": "1000"}, "cost": {"min": None}},
        "info": {"state": "live", "ctMult": "1", "ctValCcy": "BTC", **info},
    }


def test_a_contract_is_told_in_base_units() -> None:
    """Lot and limits are a contract's, times what one is worth; no least value is set."""
    found = build_instrument(market(), SWAP)
    assert (found.lot_size, found.min_quantity) == (Decimal("0.001"), Decimal("0.001"))
    assert (found.max_quantity, found.min_notional) == (Decimal(10), None)
    assert found.to_venue_quantity(Decimal("0.002")) == Decimal("0.2")


@pytest.mark.parametrize(
    ("info", "listed"),
    [({}, True), ({"ctMult": "10"}, False), ({"ctValCcy": "USDT"}, False)],
)
def test_contracts_that_are_not_so_many_coins_are_left_out(
    info: dict[str, str], listed: bool
) -> None:
    """ccxt's contract size knows neither the multiplier nor another coin."""
    assert SWAP.is_listed(market(**info)) is listed


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("live", TradingStatus.TRADING),
        ("suspend", TradingStatus.BREAK),
        ("preopen", TradingStatus.BREAK),
        ("settled", TradingStatus.ENDED),
    ],
)
def test_states_of_markets(state: str, wanted: TradingStatus) -> None:
    """A word that is not known means that it has ended."""
    assert SWAP.trading_status(market(state=state)) is wanted
