"""The judge of the kills passes sound books and finds each way in which they may be wrong."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from cli.demo.books import Books
from cli.demo.control import SimulatorControl
from services.engine import events as ev
from services.engine.event_codec import encode_event
from services.engine.instruments import InstrumentKind, InstrumentRef, InstrumentRules, LegSide
from services.engine.orders import OrderClass, OrderOutcome, OrderPlan, OrderSide
from services.engine.views import PositionStatus
from tests.support import kill_witness as witness
from tests.support.engine_rig import make_rules
from tests.support.kill_evidence import Evidence, Names, read_evidence
from tests.support.kill_plan import draw_episode
from tests.support.stack import Market

KEY = "p000000000000000"
LEAD, HEDGE = f"{KEY}le0000", f"{KEY}sh0000"
SYMBOL = "PEPEUSDT"
MARKET = Market(SYMBOL, "PEPE", "1000PEPEUSDT", Decimal(1000), Decimal(1000))
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
COINS = Decimal(5000)
PRICE = Decimal("0.01")
Row = dict[str, Any]


def _rules(exchange: str, kind: InstrumentKind, lot: int) -> InstrumentRules:
    return make_rules(
        exchange,
        kind,
        ref=InstrumentRef(exchange, SYMBOL, kind),
        base_asset="PEPE",
        lot_size=Decimal(lot),
        min_quantity=Decimal(lot),
        tick_size=Decimal("0.0001"),
        base_fee_ratio=Decimal(0),
    )


SPOT = _rules("binance", InstrumentKind.SPOT, 1)
PERPETUAL = _rules("binanceusdm", InstrumentKind.PERPETUAL, 1000)


def _events() -> list[ev.PositionEvent]:
    lead, hedge = (
        OrderPlan(LEAD, SPOT.ref, LegSide.LONG, OrderClass.ENTRY, OrderSide.BUY, COINS, PRICE),
        OrderPlan(
            HEDGE, PERPETUAL.ref, LegSide.SHORT, OrderClass.HEDGE, OrderSide.SELL, COINS, PRICE
        ),
    )
    allowed = ev.OrderAllowance(LegSide.SHORT, OrderSide.SELL, COINS, PRICE)
    return [
        ev.EntryIntended(
            KEY, AT, SPOT, PERPETUAL, LegSide.LONG, COINS, COINS, PRICE, PRICE, PRICE, allowed
        ),
        ev.OrderIntended(KEY, AT, lead),
        ev.OrderObserved(KEY, AT, LegSide.LONG, OrderOutcome(LEAD, True, COINS, COINS, PRICE)),
        ev.OrderIntended(KEY, AT, hedge),
        ev.OrderObserved(KEY, AT, LegSide.SHORT, OrderOutcome(HEDGE, True, COINS, COINS, PRICE)),
        ev.PositionSettled(KEY, AT, PositionStatus.OPEN, ""),
    ]


def _request(key: str, venue: str, symbol: str, side: str, quantity: str, price: str) -> Row:
    return {
        "venue": venue,
        "client_order_id": key,
        "symbol": symbol,
        "side": side,
        "parameters": {"quantity": quantity, "price": price},
        "wire_time": AT.timestamp() * 1000 + 5,
    }


def _order(key: str, symbol: str, quantity: str) -> Row:
    return {
        "client_order_id": key,
        "symbol": symbol,
        "status": "FILLED",
        "quantity": quantity,
        "executed": quantity,
    }


def _trade(key: str, product: str, symbol: str, quantity: str, price: str) -> Row:
    return {
        "client_order_id": key,
        "product": product,
        "symbol": symbol,
        "quantity": quantity,
        "price": price,
        "fee": "0",
        "fee_asset": "USDT",
        "time": 0,
    }


LEAD_REQUEST = _request(LEAD, "binance", SYMBOL, "BUY", "5000", "0.01")
HEDGE_REQUEST = _request(HEDGE, "binanceusdm", MARKET.perpetual, "SELL", "5", "10")
LEAD_TRADE = _trade(LEAD, "SPOT", SYMBOL, "5000", "0.01")
HEDGE_TRADE = _trade(HEDGE, "PERPETUAL", MARKET.perpetual, "5", "10")


@dataclass(frozen=True, slots=True)
class FakeControl:
    """Answers with these books."""

    rows: Mapping[str, Sequence[Row]]

    async def get(self, name: str) -> Sequence[Row]:
        """Return the rows of a book."""
        return self.rows[name]


async def _evidence(
    folder: Path,
    requests: Sequence[Row] = (LEAD_REQUEST, HEDGE_REQUEST),
    trades: Sequence[Row] = (LEAD_TRADE, HEDGE_TRADE),
    events: Sequence[ev.PositionEvent] = (),
) -> Evidence:
    with closing(sqlite3.connect(folder / "journal.db")) as journal, journal:
        journal.execute("CREATE TABLE journal (sequence INTEGER PRIMARY KEY, kind, version, body)")
        rows = [encode_event(event) for event in events or _events()]
        journal.executemany("INSERT INTO journal (kind, version, body) VALUES (?, 1, ?)", rows)
    for venue, key in (("binance", LEAD), ("binanceusdm", HEDGE)):
        with closing(sqlite3.connect(folder / f"ledger-{venue}.db")) as ledger, ledger:
            ledger.execute("CREATE TABLE orders (client_order_id)")
            ledger.execute("INSERT INTO orders VALUES (?)", (key,))
    orders = [_order(LEAD, SYMBOL, "5000"), _order(HEDGE, MARKET.perpetual, "5")]
    control = FakeControl({"requests": requests, "trades": trades, "orders": orders})
    return await read_evidence(cast("SimulatorControl", control), folder, Names({SYMBOL: MARKET}))


def _rules_broken(evidence: Evidence) -> set[str]:
    return {text.partition(":")[0] for text in witness.judge(evidence)}


async def test_sound_books_are_passed(tmp_path: Path) -> None:
    """Both legs by the venue's books, in coins whatever the multiplier: nothing to say."""
    evidence = await _evidence(tmp_path)
    assert witness.judge(evidence) == []
    assert witness.orphans(evidence) == []
    assert evidence.duplicates == []


async def test_a_leg_without_its_hedge_is_an_orphan(tmp_path: Path) -> None:
    """The journal believes in a hedge that the venue's books do not have."""
    evidence = await _evidence(tmp_path, trades=[LEAD_TRADE])
    assert len(witness.orphans(evidence)) == 1
    assert {"I8", "I17"} <= _rules_broken(evidence)


async def test_an_id_that_came_twice_is_told(tmp_path: Path) -> None:
    """The venue refused the second one; that it was sent is the finding."""
    requests = [LEAD_REQUEST, HEDGE_REQUEST, HEDGE_REQUEST]
    assert (await _evidence(tmp_path, requests=requests)).duplicates == [HEDGE]


async def test_an_order_before_its_intent_is_told(tmp_path: Path) -> None:
    """A row written after the order had come allows nothing."""
    early = {**LEAD_REQUEST, "wire_time": AT.timestamp() * 1000 - 5}
    assert _rules_broken(await _evidence(tmp_path, requests=[early, HEDGE_REQUEST])) == {"I2"}


async def test_an_order_of_another_quantity_is_told(tmp_path: Path) -> None:
    """A hedge for more than the entry allowed has no intent."""
    large = _request(HEDGE, "binanceusdm", MARKET.perpetual, "SELL", "6", "10")
    assert _rules_broken(await _evidence(tmp_path, requests=[LEAD_REQUEST, large])) == {"I2"}


async def test_the_users_own_coins_are_held_to_the_books(tmp_path: Path) -> None:
    """What our orders did not move must be there as before."""
    books = (await _evidence(tmp_path)).books
    before = Books({"PEPE": Decimal(70_000)}, {}, {}, ())
    sound = Books({"PEPE": Decimal(75_000)}, {"1000PEPEUSDT": Decimal(-5)}, {}, ())
    taken = Books({"PEPE": Decimal(5_000)}, {"1000PEPEUSDT": Decimal(-6)}, {}, ())
    markets = {SYMBOL: MARKET}
    assert witness.own_holdings(before, sound, books, markets) == []
    assert len(witness.own_holdings(before, taken, books, markets)) == 2


def test_an_episode_is_a_function_of_its_seed() -> None:
    """Equal seeds draw equal strikes, and they kill as many as was asked."""
    first, again = (draw_episode(random.Random(7), 12) for _ in range(2))
    assert first == again
    assert sum(len(one.victims) for strikes in first.values() for one in strikes) == 12
