"""Two engines on one PostgreSQL: the one at work is stopped, continued or killed in mid-work.

The venue's books are the witness: no position is worked twice, each ends matched or flat.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from random import Random

import pytest
import pytest_asyncio

from cli.demo.books import Books
from cli.demo.stack import SPOT
from services.common.call_errors import translated
from services.common.errors import OpensqtError
from services.engine.__main__ import EXIT_OVERTAKEN
from tests.kills.test_stack_engine_killed import (
    CASES,
    EXITS,
    Case,
    lead_filled_unheard,
    perpetual_exit_held,
    perpetual_lead_filled_unheard,
    spot_exit_held,
)
from tests.support.engine_pair import (
    FIRST,
    PASSWORD,
    SECOND,
    EnginePair,
    running_pair,
)
from tests.support.postgres_server import (
    PostgresServer,
    WireSession,
    has_postgres,
    postgres_server,
)
from tests.support.stack import CLOSED, OPEN, classes, in_time
from tests.support.stack_cases import Position, held

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not has_postgres(), reason="PostgreSQL's server is not installed"),
    pytest.mark.asyncio(loop_scope="module"),
    # Seven processes are started, stopped, killed and started again on shared cores.
    pytest.mark.timeout(300),
]
LATER_CASES = {
    "ETHUSDT": lead_filled_unheard,
    "LTCUSDT": perpetual_exit_held,
    "TRXUSDT": perpetual_lead_filled_unheard,
    "SHIBUSDT": spot_exit_held,
}
OPENED, CLOSED_LATER = ("BTCUSDT", "SOLUSDT", "BNBUSDT"), ("XRPUSDT", "ADAUSDT", "LINKUSDT")
ROUNDS = int(os.environ.get("PAIR_ROUNDS", "3"))
MOMENTS_SECONDS = 0.3
"""An entry and an exit take about half of this here."""
LATER_EXITS = ("LTCUSDT", "SHIBUSDT")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Run one server for all tests."""
    with postgres_server(PASSWORD) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EnginePair]:
    """Run the whole system with two engines for all tests."""
    async with running_pair(tmp_path_factory.mktemp("pair"), server) as pair:
        yield pair


async def _begun(pair: EnginePair, cases: Mapping[str, Case]) -> list[Position]:
    """Bring each case to its moment."""
    await asyncio.gather(*(pair.market(symbol) for symbol in cases))
    positions = await asyncio.gather(*(case(pair, symbol) for symbol, case in cases.items()))
    await pair.assert_moving(*positions)
    return positions


async def _held_matched(pair: EnginePair, settled: Sequence[Position], before: Books) -> None:
    for position in settled:
        await pair.assert_matched_or_flat(position, before)
        if position.symbol in (*EXITS, *LATER_EXITS):
            assert position.state == CLOSED, position


async def _cut_connections(server: PostgresServer) -> None:
    session = await WireSession.connect(server.folder)
    await session.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    await session.close()


async def _refusal_to_close(pair: EnginePair, position: Position) -> str:
    with pytest.raises(OpensqtError) as refused, translated():
        await pair.close(position)
    return refused.value.reason


async def test_a_stopped_engine_that_continues_works_nothing_twice(pair: EnginePair) -> None:
    """In mid-entry and mid-exit: the other finishes all of it; the first sends nothing and ends."""
    await pair.until_standing_by(SECOND)
    before = await pair.books()
    positions = await _begun(pair, CASES)
    pair.signal(FIRST, signal.SIGSTOP)
    await pair.control.delete("faults")
    settled = [*map(in_time, await pair.settled_since(await pair.taken_over(), *positions))]
    requests = await pair.requests_sent()
    pair.signal(FIRST, signal.SIGCONT)
    assert await pair.stack.services[FIRST].wait_ended() == EXIT_OVERTAKEN
    assert await pair.requests_sent() == requests
    await _held_matched(pair, settled, before)
    await pair.stack.restart(FIRST)
    await pair.until_standing_by(FIRST)


async def test_a_killed_engine_is_followed_by_the_other(pair: EnginePair) -> None:
    """It takes up what moves once the lease has run out; the dead one stands by when it is back."""
    before, dead = await pair.books(), pair.leader
    positions = await _begun(pair, LATER_CASES)
    await pair.kill(dead)
    await pair.control.delete("faults")
    settled = [*map(in_time, await pair.settled_since(await pair.taken_over(), *positions))]
    await _held_matched(pair, settled, before)
    await pair.stack.restart(dead)
    await pair.until_standing_by(dead)


async def test_an_engine_cut_off_from_the_journal_is_stopped_by_the_connectors(
    pair: EnginePair,
) -> None:
    """It lives, hears of no takeover, and hedges the lead whose answer was held: it is refused."""
    before = await pair.books()
    assert pair.leader == FIRST
    await pair.resume()
    position = await lead_filled_unheard(pair, "LTCUSDT")
    pair.line.flows.clear()
    (outcome,) = await pair.settled_since(await pair.taken_over(), position)
    assert await pair.stack.services[FIRST].wait_ended() == EXIT_OVERTAKEN
    pair.line.flows.set()
    settled = in_time(outcome)
    await pair.assert_matched_or_flat(settled, before)
    assert sorted(classes(await pair.orders(settled))) == ["entry", "hedge"]
    assert sorted(classes(await pair.requests(settled))) == ["entry", "hedge"]
    await pair.stack.restart(FIRST)
    await pair.until_standing_by(FIRST)


async def test_a_connection_that_is_cut_costs_nothing(
    pair: EnginePair, server: PostgresServer
) -> None:
    """Those of both engines, while a lead is on its way: one lead, one hedge, nobody takes over."""
    before, leader = await pair.books(), pair.leader
    position = await pair.open("AXLUSDT")
    await _cut_connections(server)
    settled = await pair.settled(position)
    await pair.assert_matched_or_flat(settled, before)
    assert settled.state == OPEN, settled
    assert sorted(classes(await pair.orders(settled))) == ["entry", "hedge"]
    assert (pair.leader, await pair.refusal(leader)) == (leader, "")


async def test_without_the_database_a_lead_is_hedged_and_all_else_waits(
    pair: EnginePair, server: PostgresServer
) -> None:
    """The server killed in mid-entry: the hedge leaves; a close is refused until it is back."""
    before, leader = await pair.books(), pair.leader
    symbol = "SUPERUSDT"
    await pair.fault(symbol, held("after", 1.0), venue=SPOT, symbol=symbol)
    await pair.silence(symbol, 1.0, venue=SPOT, symbol=symbol)
    position = await pair.open(symbol)
    await pair.until_struck(symbol)
    server.kill()
    await pair.until_executed(position, "entry", "hedge")
    assert await _refusal_to_close(pair, position) == "JOURNAL_UNAVAILABLE"
    await asyncio.to_thread(server.start_again)
    settled = await pair.settled(position)
    await pair.assert_matched_or_flat(settled, before)
    assert settled.state == OPEN, settled
    assert await pair.refusal(leader) == ""
    await pair.until_standing_by(pair.other)


@pytest.mark.timeout(180 + 120 * ROUNDS)
async def test_takeovers_at_random_moments_work_nothing_twice(pair: EnginePair) -> None:
    """Opens and closes under way, a stop or a kill at any moment of them, round after round."""
    dice = Random(ROUNDS)
    await asyncio.gather(*(pair.market(symbol) for symbol in OPENED + CLOSED_LATER))
    await pair.leave_all()
    for _ in range(ROUNDS):
        await pair.resume()
        before, leader = await pair.books(), pair.leader
        closing = await asyncio.gather(*(pair.enter(symbol) for symbol in CLOSED_LATER))
        moves = [asyncio.create_task(pair.open(symbol)) for symbol in OPENED]
        moves += [asyncio.create_task(pair.close(position)) for position in closing]
        await asyncio.sleep(dice.uniform(0, MOMENTS_SECONDS))
        pair.signal(leader, how := dice.choice((signal.SIGSTOP, signal.SIGKILL)))
        # Whether a call got through is what nobody knows: the ledger of the next engine tells.
        for move in moves:
            move.cancel()
        await asyncio.gather(*moves, return_exceptions=True)
        served = await pair.taken_over()
        settled = await pair.settled_since(served, *await pair.positions())
        requests = await pair.requests_sent()
        if how is signal.SIGSTOP:
            pair.signal(leader, signal.SIGCONT)
            assert await pair.stack.services[leader].wait_ended() == EXIT_OVERTAKEN
            assert await pair.requests_sent() == requests
        for position in map(in_time, settled):
            await pair.assert_matched_or_flat(position, before)
        await pair.leave_all()
        assert (await pair.books()).positions == {}
        await pair.stack.restart(leader)
        await pair.until_standing_by(leader)


async def test_all_that_was_opened_closes_to_the_coins_of_before(pair: EnginePair) -> None:
    """By the engine at work; what both left at the venue is nothing, and no id was used twice."""
    for position in await pair.leave_all():
        assert position.state == CLOSED, position
    books = await pair.books()
    assert books.positions == {}
    assert books.duplicate_ids == ()
