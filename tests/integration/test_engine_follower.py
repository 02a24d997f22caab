"""The engine follows a scanner over gRPC: snapshot, changes, drops, resumes, restarts, silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from opensqt.market_maker.v1 import opportunity_pb2, scanner_pb2_grpc
from services.common.channels import open_channel
from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.settings import EndpointSettings, VenueSettings
from services.common.time_codec import to_duration, to_timestamp
from services.engine.bootstrap import engine_server
from services.engine.follower import OpportunityFollower
from services.engine.follower_board import OfferBoard
from services.engine.follower_offer import Offer
from services.engine.settings import EngineSettings
from services.engine.strategy_settings import StrategySettings
from services.engine.strategy_words import StrategyMode
from services.engine.view_codec import ref_to_proto
from tests.support.connector_messages import number
from tests.support.scanner_fake import FakeScanner, served_scanner
from tests.support.scanner_rig import until
from tests.support.scripted_service import Relay
from tests.support.strategy_cases import ref

CLOCK = SystemClock()


def row(name: str, revision: int = 1, **changes: Any) -> opportunity_pb2.Opportunity:
    """Return an opportunity that stands for an hour."""
    fields: dict[str, Any] = {
        "opportunity_id": name,
        "revision": revision,
        "symbol": "BTCUSDT",
        "long_leg": ref_to_proto(ref("spot")),
        "short_leg": ref_to_proto(ref("perp")),
        "gross_apr": number("0.3"),
        "net_apr": number("0.25"),
        "current_apr": number("0.28"),
        "round_trip_cost_ratio": number("0.002"),
        "capacity_notional": number("9000"),
        "caveats": ["BOOK_SHALLOW"],
        "expected_holding_time": to_duration(timedelta(days=3)),
        "expire_time": to_timestamp(datetime.now(UTC) + timedelta(hours=1)),
    }
    return opportunity_pb2.Opportunity(**{**fields, **changes})


@asynccontextmanager
async def following(
    address: str, *, silence: float = 20.0, wanted: Callable[[], bool] = lambda: True
) -> AsyncIterator[OpportunityFollower]:
    """Follow the scanner at an address."""
    async with open_channel(address) as channel:
        follower = OpportunityFollower(
            scanner_pb2_grpc.ScannerServiceStub(channel),
            CLOCK,
            OfferBoard(timedelta(hours=1)),
            silence=timedelta(seconds=silence),
        )
        task = asyncio.get_running_loop().create_task(follower.run(wanted))
        try:
            yield follower
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def standing(follower: OpportunityFollower) -> dict[str, int]:
    """Return the revisions of what may be acted upon."""
    now, monotonic = CLOCK.now(), CLOCK.monotonic()
    board = follower.board
    return {
        o.opportunity_id: o.revision for o in board.all() if not board.problem(o, now, monotonic)
    }


async def test_snapshot_changes_and_removals_are_followed() -> None:
    """The board is the scanner's, figure by figure, from the caught-up marker on."""
    scanner = FakeScanner()
    scanner.publish(row("one"), row("two"))
    async with served_scanner(scanner) as address, following(address) as follower:
        await until(lambda: standing(follower) == {"one": 1, "two": 1})
        offer = follower.board.get("one")
        assert isinstance(offer, Offer)
        assert offer.legs == (ref("spot"), ref("perp"))
        assert (offer.net_apr, offer.capacity_notional) == (Decimal("0.25"), Decimal(9000))
        assert offer.caveats == {"BOOK_SHALLOW"}
        assert offer.expected_holding_time == timedelta(days=3)
        assert offer.basis_ratio is None
        scanner.publish(row("one", 2))
        scanner.hub.remove("two")
        await until(lambda: standing(follower) == {"one": 2})
        # An older revision and an unreadable one: neither is what stands now.
        scanner.publish(row("one", 1), row("three", 1, net_apr=number("NaN")), row("four"))
        await until(lambda: standing(follower) == {"one": 2, "four": 1})
        assert follower.problem == ""


async def test_a_bug_about_one_offer_ends_no_following(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands from then on; a stream that begins anew brings all of it."""
    scanner = FakeScanner()
    scanner.publish(row("one"))
    async with served_scanner(scanner) as address, following(address) as follower:
        await until(lambda: standing(follower) == {"one": 1})
        upsert, broken = follower.board.upsert, list[str]()

        def break_once(offer: Offer) -> None:
            if not broken:
                broken.append(offer.opportunity_id)
                raise ZeroDivisionError
            upsert(offer)

        monkeypatch.setattr(follower.board, "upsert", break_once)
        scanner.publish(row("two"))
        await until(lambda: standing(follower) == {"one": 1, "two": 1})
        assert broken == ["two"]


async def test_cut_wire_makes_all_stale_and_resumes_with_the_token() -> None:
    """From the cut on nothing stands; the next stream goes on where the last one was."""
    scanner = FakeScanner()
    scanner.publish(row("one"), row("two"))
    async with (
        served_scanner(scanner) as address,
        Relay(address) as relay,
        following(relay.address) as follower,
    ):
        await until(lambda: len(standing(follower)) == 2)
        scanner.publish(row("three"))
        await until(lambda: len(standing(follower)) == 3)
        relay.cut()
        await until(lambda: not standing(follower))
        assert follower.problem
        scanner.hub.remove("two")
        await until(lambda: standing(follower) == {"one": 1, "three": 1})
        assert scanner.requests[0].resume_token == b""
        assert scanner.requests[-1].resume_token == b"epoch-1:3"


async def test_scanner_started_anew_is_followed_from_its_snapshot() -> None:
    """A token of the former process is dropped, and what the new one does not offer is gone."""
    scanner = FakeScanner()
    scanner.publish(row("one"), row("two", 5))
    async with (
        served_scanner(scanner) as address,
        Relay(address) as relay,
        following(relay.address) as follower,
    ):
        await until(lambda: len(standing(follower)) == 2)
        scanner.restart("epoch-2")
        scanner.publish(row("two", 6))
        relay.cut()
        await until(lambda: standing(follower) == {"two": 6})
        assert scanner.requests[-1].resume_token == b""


async def test_silent_stream_counts_as_lost() -> None:
    """A stream that brings no heartbeat is given up, and everything is stale meanwhile."""
    scanner = FakeScanner(heartbeat_seconds=0.05)
    scanner.publish(row("one"))
    async with (
        served_scanner(scanner) as address,
        following(address, silence=0.4) as follower,
    ):
        await until(lambda: standing(follower) == {"one": 1})
        scanner.mute = True
        await until(lambda: not standing(follower))
        assert "heartbeat" in follower.problem
        scanner.mute = False
        await until(lambda: standing(follower) == {"one": 1})


async def test_nothing_is_asked_while_nobody_wants_it() -> None:
    """A follower that is not wanted opens no stream, and ends the one it has."""
    scanner = FakeScanner(heartbeat_seconds=0.05)
    scanner.publish(row("one"))
    wanted = [True]
    async with (
        served_scanner(scanner) as address,
        following(address, wanted=lambda: wanted[0]) as follower,
    ):
        await until(lambda: standing(follower) == {"one": 1})
        wanted[0] = False
        await until(lambda: scanner.hub.subscriber_count == 0)
        assert standing(follower) == {}


async def test_engine_process_follows_in_advise_mode(tmp_path: Path) -> None:
    """The composed engine opens the stream of its scanner when its strategy is not manual."""
    scanner = FakeScanner()
    async with served_scanner(scanner) as address:
        settings = EngineSettings(
            journal_path=tmp_path / "journal.db",
            venues=(VenueSettings(name="perp", kind="perpetual", address="127.0.0.1:1"),),
            scanner=EndpointSettings(address=address),
            strategy=StrategySettings(mode=StrategyMode.ADVISE),
        )
        async with engine_server(settings, ServiceMetrics("engine")) as server, server:
            await until(lambda: scanner.requests)


@pytest.mark.parametrize(
    ("strategy", "problem"),
    [
        ({"mode": "auto"}, r"without a \[scanner\]"),
        ({"exit_gross_apr": "0.1"}, "is not below"),
        ({"min_notional": "2000"}, "is above"),
    ],
)
def test_strategy_that_cannot_work_is_refused(strategy: dict[str, str], problem: str) -> None:
    """Settings that would churn, or follow nobody, are refused before the start."""
    with pytest.raises(ValidationError, match=problem):
        EngineSettings.model_validate(
            {
                "venues": [{"name": "p", "kind": "perpetual", "address": "127.0.0.1:1"}],
                "strategy": strategy,
            }
        )
