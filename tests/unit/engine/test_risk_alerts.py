"""Alerts reach whoever listens, and figures of risk are read as a connector tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.type.decimal_pb2 import Decimal as WireDecimal

from opensqt.market_maker.v1 import resources_pb2
from services.common.errors import FatalError, RetryableError, UnreachableError
from services.engine.connector_risk_reader import account_facts, leg_market
from services.engine.guard_facts import GuardAction, GuardFinding, LegMarket
from services.engine.guard_ports import HoldingFacts
from services.engine.instruments import LegSide
from services.engine.risk_alerts import AlertFeed, RiskAlert
from services.engine.servicer_risk import alert_to_proto
from tests.support.virtual_clock import START, VirtualClock

D = Decimal
FINDING = GuardFinding(
    "margin_ratio",
    "p1",
    "BTCUSDT",
    GuardAction.REDUCE,
    "the venue demands much",
    LegSide.SHORT,
    (("margin_ratio", D("0.7")),),
)


def wire(value: str) -> WireDecimal:
    """Return a decimal of the contract."""
    return WireDecimal(value=value)


async def listening(feed: AlertFeed) -> tuple[AsyncIterator[RiskAlert], asyncio.Task[RiskAlert]]:
    """Return a stream that listens already and its first alert to come."""
    stream = feed.watch()
    first: asyncio.Task[Any] = asyncio.get_running_loop().create_task(anext(stream))  # type: ignore[arg-type]  # anext is awaitable
    await asyncio.sleep(0)
    return stream, first


async def test_alerts_reach_everybody_who_listens() -> None:
    """Each listener gets each alert; what was raised before is not repeated."""
    feed = AlertFeed(VirtualClock())
    feed.raised(FINDING)
    _, one = await listening(feed)
    _, two = await listening(feed)
    feed.raised(FINDING)
    assert await one == await two == RiskAlert(FINDING, START)


async def test_a_listener_that_does_not_read_is_ended() -> None:
    """Its queue is bounded; the others go on."""
    feed = AlertFeed(VirtualClock())
    stream, first = await listening(feed)
    for _ in range(300):
        feed.raised(FINDING)
    await first
    with pytest.raises(RetryableError) as caught:
        async for _ in stream:
            pass
    assert caught.value.reason == "SUBSCRIBER_TOO_SLOW"
    _, again = await listening(feed)
    feed.raised(FINDING)
    assert (await again).finding is FINDING


async def test_listeners_are_bounded() -> None:
    """One too many is refused, and may come again when another has gone."""
    feed = AlertFeed(VirtualClock())
    held = [await listening(feed) for _ in range(100)]
    _, refused = await listening(feed)
    with pytest.raises(RetryableError, match="too many"):
        await refused
    held[0][1].cancel()
    await asyncio.gather(held[0][1], return_exceptions=True)
    _, taken = await listening(feed)
    feed.close()
    results = await asyncio.gather(taken, *(row[1] for row in held[1:]), return_exceptions=True)
    assert {type(result) for result in results} == {UnreachableError}


async def test_a_closed_feed_takes_nobody() -> None:
    """Streams end with the engine, also those that come late."""
    feed = AlertFeed(VirtualClock())
    feed.close()
    with pytest.raises(UnreachableError):
        await anext(feed.watch())


def test_an_alert_tells_guard_place_and_figures() -> None:
    """What a person needs stands in fields; the figures by name."""
    row = alert_to_proto(RiskAlert(FINDING, START))
    assert (row.symbol, row.alert_type, row.severity) == ("BTCUSDT", "margin_ratio", "critical")
    assert dict(row.metadata) == {"position_id": "p1", "margin_ratio": "0.7"}
    assert row.timestamp == int(START.timestamp() * 1000)


def test_an_account_is_read_as_the_venue_tells_it() -> None:
    """The account's ratio stands for cross positions, an isolated one has its own."""
    account = resources_pb2.Account(
        total_margin_balance=wire("1000"),
        total_maintenance_margin=wire("250"),
        is_unified=True,
        positions=[
            resources_pb2.Position(
                symbol="BTCUSDT",
                size=wire("-1"),
                mark_price=wire("100"),
                maintenance_margin=wire("5"),
            ),
            resources_pb2.Position(
                symbol="ETHUSDT",
                size=wire("2"),
                liquidation_price=wire("50"),
                isolated_margin=wire("30"),
                unrealized_pnl=wire("-10"),
                maintenance_margin=wire("5"),
            ),
        ],
    )
    facts = account_facts(account)
    assert (facts.margin_ratio, facts.unified) == (D("0.25"), True)
    assert facts.holdings["BTCUSDT"] == HoldingFacts(D(-1), D(100))
    assert facts.holdings["ETHUSDT"] == HoldingFacts(D(2), None, D(50), D("0.25"))


def test_health_stands_in_where_margins_are_not_told() -> None:
    """A venue that tells only how far liquidation is gives a ratio as well."""
    assert account_facts(resources_pb2.Account(health_score=wire("0.3"))).margin_ratio == D("0.7")
    assert account_facts(resources_pb2.Account()).margin_ratio is None


def test_a_market_is_read_with_what_is_known() -> None:
    """What a venue does not tell stays unknown; what is broken is refused."""
    row = resources_pb2.FundingRate(
        symbol="BTCUSDT",
        rate=wire("0.0001"),
        interval=Duration(seconds=3600),
        mark_price=wire("100"),
        index_price=wire("99"),
    )
    assert leg_market(row) == LegMarket(D(100), D(99), D("0.0001"), timedelta(hours=1))
    assert leg_market(resources_pb2.FundingRate()) == LegMarket()
    with pytest.raises(FatalError):
        leg_market(resources_pb2.FundingRate(rate=wire("NaN")))
