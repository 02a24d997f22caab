"""Reads through the gateway: profile, rules, book, positions, balances, funding."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from google.protobuf.duration_pb2 import Duration

from opensqt.market_maker.v1 import (
    exchange_pb2,
    instrument_pb2,
    resources_pb2,
)
from services.common.errors import (
    FatalError,
    NotFoundError,
    OpensqtError,
    PreconditionError,
    RetryableError,
    UnimplementedError,
    UnreachableError,
)
from services.common.time_codec import from_timestamp
from services.engine.connector_codec import rules_from_proto
from services.engine.instruments import InstrumentKind, PositionMode
from tests.support.connector_messages import (
    funding_payment,
    number,
    order_book,
    symbol_info,
    trading_fee,
)
from tests.support.gateway_rig import (
    NAME,
    SINCE,
    Answer,
    gateway,
    gateway_to,
    never,
    raised,
    scripted,
)
from tests.support.scripted_service import (
    served,
    served_by_stranger,
)


async def test_the_profile_is_read_once() -> None:
    """Kind, mode and fence do not change while a connector runs."""
    script = scripted()
    async with gateway(script) as venue:
        first, second = await venue.profile(), await venue.profile()
    assert first == second
    assert (first.name, first.kind) == (NAME, InstrumentKind.PERPETUAL)
    assert first.fence == timedelta(seconds=16)
    assert first.position_mode is PositionMode.ONE_WAY
    assert len(script.requests["GetType"]) == 1


async def test_a_venue_without_a_fence_is_a_venue() -> None:
    """A connector that names no fence is taken, and its absence is not a fence of zero."""
    kind = exchange_pb2.GetTypeResponse(kind=instrument_pb2.INSTRUMENT_KIND_PERPETUAL)
    async with gateway(scripted(GetType=kind)) as venue:
        assert (await venue.profile()).fence is None


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"GetName": exchange_pb2.GetNameResponse(name="another")}, "VENUE_MISMATCH"),
        (
            {
                "GetType": exchange_pb2.GetTypeResponse(
                    kind=instrument_pb2.INSTRUMENT_KIND_SPOT, fence=Duration(seconds=16)
                )
            },
            "VENUE_MISMATCH",
        ),
        ({"GetType": exchange_pb2.GetTypeResponse(fence=Duration(seconds=1))}, "VENUE_MISMATCH"),
    ],
    ids=["name", "kind", "no kind"],
)
async def test_a_connector_of_another_venue_is_refused(
    answers: dict[str, Answer], reason: str
) -> None:
    """Two addresses swapped would sell where it should buy."""
    async with gateway(scripted(**answers)) as venue:
        error = await raised(venue.profile())
    assert isinstance(error, FatalError)
    assert error.reason == reason


async def test_rules_join_symbol_fees_and_leverage() -> None:
    """Three answers make the rules of one instrument."""
    async with gateway(scripted()) as venue:
        rules = await venue.rules("BTCUSDT", use_margin=False)
    assert rules == rules_from_proto(NAME, symbol_info(), [trading_fee()], 5, use_margin=False)
    assert rules.initial_margin_ratio == Decimal("0.2")


@pytest.mark.parametrize(
    ("answers", "kind", "reason"),
    [
        (
            {"GetSymbolInfo": NotFoundError("?", reason="SYMBOL_NOT_FOUND")},
            NotFoundError,
            "SYMBOL_NOT_FOUND",
        ),
        (
            {"GetTradingFees": exchange_pb2.GetTradingFeesResponse()},
            PreconditionError,
            "FEES_UNKNOWN",
        ),
        ({"GetSymbolInfo": symbol_info(symbol="ETHUSDT")}, FatalError, "CONNECTOR_INVALID"),
        ({"GetSymbolInfo": symbol_info(step_size="0")}, FatalError, "CONNECTOR_INVALID"),
    ],
    ids=["unknown symbol", "no fees", "another symbol", "no lot"],
)
async def test_rules_that_cannot_be_had_are_not_made_up(
    answers: dict[str, Answer], kind: type[OpensqtError], reason: str
) -> None:
    """The entry is refused with the cause."""
    async with gateway(scripted(**answers)) as venue:
        error = await raised(venue.rules("BTCUSDT", use_margin=False))
    assert type(error) is kind
    assert error.reason == reason


async def test_leverage_is_not_asked_of_spot_and_not_needed_of_a_perpetual() -> None:
    """A connector that cannot tell costs margin, not the entry."""
    cannot = scripted(GetAccountConfiguration=UnimplementedError("no"))
    async with gateway(cannot) as venue:
        assert (await venue.rules("BTCUSDT", use_margin=False)).initial_margin_ratio == 1
    spot = scripted(
        GetSymbolInfo=symbol_info(kind=instrument_pb2.INSTRUMENT_KIND_SPOT),
        GetAccountConfiguration=FatalError("never ask"),
    )
    async with gateway(spot, kind=InstrumentKind.SPOT) as venue:
        assert (await venue.rules("BTCUSDT", use_margin=False)).initial_margin_ratio == 1


async def test_the_book_is_asked_for_with_its_depth() -> None:
    """Each time anew."""
    script = scripted()
    async with gateway(script) as venue:
        book = await venue.book("BTCUSDT", 50)
        await venue.book("BTCUSDT", 50)
    assert book.bids[0].price == Decimal("99.5")
    asked = exchange_pb2.GetOrderBookRequest(symbol="BTCUSDT", depth=50)
    assert script.requests["GetOrderBook"] == [asked, asked]


async def test_a_read_is_asked_again_after_an_unreachable_moment() -> None:
    """Reads change nothing, so a moment's silence costs nothing."""
    script = scripted(GetOrderBook=[UnreachableError("a moment"), order_book()])
    async with gateway(script) as venue:
        assert (await venue.book("BTCUSDT", 5)).asks
    assert len(script.requests["GetOrderBook"]) == 2


async def test_a_read_nobody_answers_is_retryable() -> None:
    """The port promises the core this class."""
    async with served(scripted()) as address:
        pass
    async with gateway_to(address) as venue:
        assert isinstance(await raised(venue.book("BTCUSDT", 5)), RetryableError)
    async with gateway(scripted(GetOrderBook=never), call_seconds=0.2) as venue:
        assert isinstance(await raised(venue.book("BTCUSDT", 5)), RetryableError)


async def test_a_reply_that_is_no_message_is_the_connectors_fault() -> None:
    """gRPC gives nothing in its place, and nothing is not an empty book."""
    script = scripted(GetOrderBook=b"\xff\xff")
    async with served_by_stranger(script) as address, gateway_to(address) as venue:
        assert (await raised(venue.book("BTCUSDT", 5))).reason == "CONNECTOR_INVALID"


def _positions(*rows: tuple[str, str | None]) -> exchange_pb2.GetPositionsResponse:
    return exchange_pb2.GetPositionsResponse(
        positions=[
            resources_pb2.Position(symbol=symbol, size=None if size is None else number(size))
            for symbol, size in rows
        ]
    )


async def test_a_position_is_the_sum_of_its_sides() -> None:
    """Hedge mode has two rows, other symbols do not count, no row is none."""
    rows = _positions(("BTCUSDT", "0.5"), ("BTCUSDT", "-0.2"), ("ETHUSDT", "9"))
    async with gateway(scripted(GetPositions=[rows, _positions()])) as venue:
        assert await venue.position("BTCUSDT") == Decimal("0.3")
        assert await venue.position("BTCUSDT") == 0


@pytest.mark.parametrize("size", [None, "", "NaN"])
async def test_a_position_of_unknown_size_is_refused(size: str | None) -> None:
    """It is not zero: the user's own position must never be taken for none."""
    async with gateway(scripted(GetPositions=_positions(("BTCUSDT", size)))) as venue:
        assert isinstance(await raised(venue.position("BTCUSDT")), FatalError)


async def test_the_holdings_of_a_perpetual_account_are_all_its_positions() -> None:
    """One question without a symbol, answered in full."""
    rows = _positions(("BTCUSDT", "0.5"), ("BTCUSDT", "-0.2"), ("ETHUSDT", "-9"))
    async with gateway(scripted(GetPositions=rows)) as venue:
        held = await venue.holdings()
    assert held.perpetuals == {"BTCUSDT": Decimal("0.3"), "ETHUSDT": Decimal(-9)}


async def test_the_holdings_of_a_spot_account_are_its_balances() -> None:
    """Totals, so that a resting order changes nothing; no debt where none is told."""
    row = resources_pb2.AssetBalance(asset="BTC", total=number("2"), free=number("1"))
    account = resources_pb2.Account(balances=[row])
    async with gateway(scripted(GetAccount=account), kind=InstrumentKind.SPOT) as venue:
        held = await venue.holdings()
    assert (held.spot, held.margin) == ({"BTC": Decimal(2)}, None)


async def test_the_free_balance_is_the_free_one() -> None:
    """Not what is locked; and absent is not zero."""
    balance = exchange_pb2.GetBalanceResponse(free=number("12.5"), locked=number("99"))
    empty = exchange_pb2.GetBalanceResponse(locked=number("99"))
    async with gateway(scripted(GetBalance=[balance, empty])) as venue:
        assert await venue.free_balance("USDT") == Decimal("12.5")
        error = await raised(venue.free_balance("USDT"))
    assert error.reason == "CONNECTOR_INCOMPLETE"


def _page(token: str, *ids: str) -> exchange_pb2.GetFundingPaymentsResponse:
    return exchange_pb2.GetFundingPaymentsResponse(
        payments=[funding_payment(payment_id=name) for name in ids], next_page_token=token
    )


async def test_funding_payments_are_read_to_the_last_page() -> None:
    """Each page is asked for by the token of the one before; an empty page is no end."""
    script = scripted(GetFundingPayments=[_page("a", "1", "2"), _page("b"), _page("", "3")])
    async with gateway(script) as venue:
        payments = await venue.funding_payments("BTCUSDT", SINCE)
    assert [payment.payment_id for payment in payments] == ["1", "2", "3"]
    requests = script.requests["GetFundingPayments"]
    assert [request.page_token for request in requests] == ["", "a", "b"]
    assert {request.symbol for request in requests} == {"BTCUSDT"}
    assert {from_timestamp(request.start_time) for request in requests} == {SINCE}


async def test_pages_that_go_round_are_refused() -> None:
    """They would never end, and book each payment without end."""
    script = scripted(GetFundingPayments=[_page("a", "1"), _page("b", "2"), _page("a", "1")])
    async with gateway(script) as venue:
        error = await raised(venue.funding_payments("BTCUSDT", SINCE))
    assert error.reason == "CONNECTOR_INVALID"
    assert len(script.requests["GetFundingPayments"]) == 3
