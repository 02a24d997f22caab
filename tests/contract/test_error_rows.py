"""Every documented answer to an order proves what its class says: by table, and end to end.

End to end means ccxt's real class and the venue's own host name: the order is posted over TLS to a
responder that answers as the venue would, and the verdict is read off `VenueOrders.place`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from services.connector.order_types import OrderIntent, OrderType, Side, TimeInForce
from services.connector.outcome import AnswerClass, classify_answer
from services.connector.send_judgement import SendResult, Verdict
from services.connector.venue_client_ids import to_venue_client_id
from services.connector.venue_http import read_answer
from services.connector.venue_orders import VenueOrders
from services.connector.venues import find_profile
from tests.support.canned_markets import MARKETS
from tests.support.canned_venue import Answer, open_canned, open_venue
from tests.support.error_rows import ORDER_PATHS, VERDICTS, ErrorRow, own_rows, recorded_rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.canned_venue import CannedVenue

INTENT = OrderIntent(
    client_order_id="trend1",
    symbol="BTCUSDT",
    side=Side.BUY,
    type=OrderType.LIMIT,
    time_in_force=TimeInForce.IOC,
    quantity=Decimal("0.002"),
    price=Decimal("38026"),
)
HYPERLIQUID = (
    ("Order must have minimum value of $10.", Verdict.REJECTED),
    ("Insufficient margin to place order. asset=0", Verdict.REJECTED),
    ("Order could not immediately match against any resting orders. asset=0", Verdict.REJECTED),
    ("Post only order would have immediately matched, bbo was 1@2. asset=0", Verdict.REJECTED),
    ("A sentence that nobody knows", Verdict.UNKNOWN),
)


def classified(row: ErrorRow, code: str) -> AnswerClass | None:
    """Return what the venue's table says of the answer as it comes over the wire."""
    profile = find_profile(code)
    reply = row.reply()
    error = read_answer(reply.status, {}, reply.body, profile.read_refusal)
    if error is None:
        return None
    return classify_answer(
        error.status, error.code, error.message, profile.answers, profile.answer_messages
    )


def misread(rows: list[ErrorRow]) -> list[str]:
    """Return the answers that a table classifies otherwise than their class says."""
    return [
        f"{code} {row.status} {row.code}: {found} instead of {row.answer}"
        for row in rows
        for code in row.codes
        if (found := classified(row, code)) is not row.answer
    ]


async def misjudged(rows: list[ErrorRow], folder: Path) -> tuple[int, list[str]]:
    """Post an order for each answer; return how many were posted and which verdicts are wrong."""
    posted, wrong = 0, list[str]()
    async with open_canned(folder) as (canned, session):
        for code in sorted({code for row in rows for code in row.codes}):
            canned.answers = dict(MARKETS[code])
            async with open_venue(code, session) as venue:
                orders = VenueOrders(venue)
                instrument = next(iter(venue.instruments))
                for row in (row for row in rows if code in row.codes):
                    canned.answers[ORDER_PATHS[code]] = row.reply()
                    # A ban or a limit of the row before must not hold this one back.
                    venue.budget = type(venue.budget)({}, venue.clock)
                    result = await orders.place(
                        INTENT, instrument, to_venue_client_id("trend1", venue.profile)
                    )
                    posted += 1
                    wrong.extend(_problems(row, code, result, canned))
    return posted, wrong


def _problems(row: ErrorRow, code: str, result: SendResult, canned: CannedVenue) -> list[str]:
    asked = canned.asked[-1]
    problems = []
    if result.verdict is not VERDICTS[row.answer]:
        problems.append(f"{code} {row.status} {row.code}: {result.verdict} for {row.answer}")
    # Without the code in it the verdict was right by chance.
    told = result.note if result.error is None else str(result.error.metadata)
    if asked.method != "POST" or row.code not in told:
        problems.append(f"{code} {row.status} {row.code}: not judged by its code ({told})")
    return problems


def test_own_answers_are_classified_by_table() -> None:
    """A few of each venue and class."""
    assert misread(own_rows()) == []


async def test_own_answers_are_judged_end_to_end(tmp_path: Path) -> None:
    """The same through ccxt and HTTPS."""
    posted, wrong = await misjudged(own_rows(), tmp_path)
    assert wrong == []
    assert posted == sum(len(row.codes) for row in own_rows())


@pytest.mark.recorded
def test_every_recorded_answer_is_classified_by_table() -> None:
    """All rows of error_classification.csv, each status they name."""
    count, rows = recorded_rows()
    assert misread(rows) == []
    assert len(rows) >= count >= 56


@pytest.mark.recorded
async def test_every_recorded_answer_is_judged_end_to_end(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """All rows of error_classification.csv through ccxt and HTTPS under the venue's own host."""
    count, rows = recorded_rows()
    posted, wrong = await misjudged(rows, tmp_path)
    told = f"{count} rows of error_classification.csv as {posted} orders, misjudged: {wrong}"
    record_property("told", told)
    assert wrong == []
    assert posted >= count >= 56


@pytest.mark.parametrize("code", sorted(ORDER_PATHS))
async def test_a_broken_reply_proves_nothing(code: str, tmp_path: Path) -> None:
    """Empty, truncated, HTML, a success that names no order, and a server error."""
    replies = (Answer(""), Answer('{"code'), Answer("<html>"), Answer({}), Answer("", 502))
    async with open_canned(tmp_path) as (canned, session):
        canned.answers = dict(MARKETS[code])
        async with open_venue(code, session) as venue:
            orders, instrument = VenueOrders(venue), next(iter(venue.instruments))
            client_id = to_venue_client_id("trend1", venue.profile)
            for reply in replies:
                canned.answers[ORDER_PATHS[code]] = reply
                result = await orders.place(INTENT, instrument, client_id)
                assert result.verdict is Verdict.UNKNOWN, reply


async def test_hyperliquid_refusals_inside_statuses_are_judged(tmp_path: Path) -> None:
    """They come with HTTP 200 and the word "ok"."""
    async with open_canned(tmp_path) as (canned, session):
        canned.answers = dict(MARKETS["hyperliquid"])
        async with open_venue("hyperliquid", session) as venue:
            orders, instrument = VenueOrders(venue), next(iter(venue.instruments))
            client_id = to_venue_client_id("trend1", venue.profile)
            for sentence, wanted in HYPERLIQUID:
                data = {"statuses": [{"error": sentence}]}
                body = {"status": "ok", "response": {"type": "order", "data": data}}
                canned.answers[ORDER_PATHS["hyperliquid"]] = Answer(body)
                result = await orders.place(INTENT, instrument, client_id)
                assert result.verdict is wanted, sentence
