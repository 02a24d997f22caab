"""The status page: what it says first, what it never leaves out, what it escapes."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from services.engine import events as ev
from services.engine.instruments import LegSide
from services.engine.ledger import EngineRecord
from services.engine.orders import OrderClass
from services.engine.page import words
from services.engine.page.body import page_of, waiting_page
from services.engine.page.events import doubtful_orders, last_events
from services.engine.page.facts import Level, PageEvent
from services.engine.page.markup import element, group
from services.engine.page.notices import notices_of
from services.engine.page.style import POLICY
from services.engine.position import fold
from services.engine.views import EngineMode
from tests.support.page_samples import NOW, calm_facts, troubled_facts
from tests.support.risk_positions import entering, opened, ordered
from tests.support.virtual_clock import START

RECORD = EngineRecord(EngineMode.ACTIVE, START - timedelta(days=1))
ATTACK = "<script>alert('x')</script>\"&"


def page(shows_offers: bool = True) -> str:
    """Return the page of the troubled engine."""
    return page_of(troubled_facts(), shows_offers=shows_offers)


def test_text_is_escaped_wherever_it_goes() -> None:
    """A venue's words, a symbol or a reason cannot become markup, inside or as an attribute."""
    written = str(group(element("p", ATTACK, title=ATTACK), ATTACK, None))
    assert "<script" not in written
    assert written.count("&lt;script&gt;") == 3
    assert '"&amp;' not in written.replace("&quot;&amp;", "")


def test_no_field_of_the_facts_reaches_the_page_unescaped() -> None:
    """Whatever a venue, the scanner or an operator wrote is text."""
    facts = troubled_facts()
    row = facts.positions[0]
    view = replace(row.view, symbol=ATTACK, position_id=ATTACK, state_reason=ATTACK)
    offer = replace(calm_facts().offers.rows[0], symbol=ATTACK, caveats=frozenset({ATTACK}))
    venue = replace(facts.status.venues[1], exchange=ATTACK, problem=ATTACK)
    hostile = replace(
        facts,
        status=replace(facts.status, reason=ATTACK, venues=(venue,)),
        positions=(replace(row, view=view, base_asset=ATTACK, quote_asset=ATTACK),),
        ended=(replace(facts.ended[0], symbol=ATTACK, state_reason=ATTACK),),
        doubtful=(replace(facts.doubtful[0], text=ATTACK),),
        offers=replace(calm_facts().offers, rows=(offer,)),
        events=(PageEvent(NOW, Level.BAD, ATTACK, ATTACK),),
    )
    assert "<script" not in page_of(hostile, shows_offers=True)


def test_the_worst_is_told_first() -> None:
    """Halted, unknown, unhedged, unreachable; then what only wants patience."""
    titles = [notice.title for notice in notices_of(troubled_facts())]
    assert titles == [
        "Halted: nothing is opened, exits still run",
        "The outcome of an order is unknown",
        "BTCUSDT is not hedged",
        "binanceusdm does not answer",
        "Recovery after the start is not finished",
    ]


def test_peace_is_told_too() -> None:
    """Nothing to tell is a statement of its own, not an empty place."""
    assert notices_of(calm_facts()) == ()
    assert "All is well" in page_of(calm_facts(), shows_offers=True)


def test_a_position_that_pays_is_told() -> None:
    """Carry below zero is a reason to look, before any guard acts."""
    facts = calm_facts()
    paying = replace(facts.positions[0], carry_apr=Decimal("-0.1"))
    (notice,) = notices_of(replace(facts, positions=(paying,)))
    assert (notice.level, notice.title) == (Level.WATCH, "LOOMUSDT pays for being held")


@pytest.mark.parametrize("mode", [EngineMode.HALTED, EngineMode.REDUCING])
def test_a_stopped_engine_says_why_and_for_how_long(mode: EngineMode) -> None:
    """The reason of the halt is on the page in its own words."""
    facts = troubled_facts()
    stopped = replace(facts, status=replace(facts.status, mode=mode))
    first = notices_of(stopped)[0]
    assert first.text.startswith("UNHEDGED_TOO_LONG")
    assert "for 35 s" in page_of(stopped, shows_offers=True)


def test_the_page_names_every_position_with_its_figures() -> None:
    """Both legs, residual, funding so far and state stand on each card."""
    text = page()
    for row in troubled_facts().positions:
        assert row.view.position_id in text
    assert "and 50 more" in text
    assert re.search(r"residual DOGE</dt><dd class=\"bad-text\">5,120<", text)


def test_sums_over_a_part_are_not_shown() -> None:
    """With positions left out, their sum is unknown: a dash, never the sum of the rest."""
    text = page_of(replace(calm_facts(), summed=None), shows_offers=True)
    assert f'<dt>notional</dt><dd class="">{words.UNKNOWN}<' in text


def test_sums_are_of_one_currency_each() -> None:
    """Two quote assets have no sum; positions that found no room count."""
    first, second = calm_facts().positions
    other = replace(second, quote_asset="USDC", notional=Decimal(50))
    text = page_of(replace(calm_facts(), summed=(first, first, other)), shows_offers=True)
    assert f'notional, USDT</dt><dd class="">{words.money(2 * first.notional)}<' in text
    assert 'notional, USDC</dt><dd class="">50.00<' in text


def test_a_journal_that_is_being_read_has_no_list_of_what_ended() -> None:
    """An empty list would tell that nothing ever ended."""
    text = page_of(replace(calm_facts(), ended=(), is_whole=False), shows_offers=True)
    assert "The journal is being read" in text
    assert "No position has ended yet" not in text


def test_who_may_not_see_opportunities_does_not() -> None:
    """The section is gone for a reader without the scope."""
    assert "Top opportunities" in page()
    assert "Top opportunities" not in page(shows_offers=False)


def test_the_policy_allows_the_page_its_own_style_and_nothing_else() -> None:
    """The digest in the policy is that of the style sheet as it is sent; no script, no style=."""
    (style,) = re.findall(r"<style>(.*?)</style>", page(), re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert "default-src 'none'" in POLICY
    assert not re.search(r"<script|\son\w+=|\sstyle=|https?://(?!www\.w3\.org)", page())


def test_a_process_without_an_engine_says_so() -> None:
    """One that stands by is not mistaken for one that trades."""
    assert "does not trade yet" in waiting_page(NOW)


def test_an_order_in_doubt_is_told_with_what_it_asked() -> None:
    """Side, quantity and place of an unknown order, as an operator would look for it."""
    sent = ordered(entering(), LegSide.LONG, OrderClass.ENTRY)
    assert doubtful_orders([sent], START) == ()
    (key,) = sent.unresolved()
    unknown = fold(sent, ev.OrderUnknown("p1", START, key, "TIMEOUT"))
    (order,) = doubtful_orders([unknown], START)
    assert doubtful_orders([sent], START + timedelta(minutes=1)) == (order,)
    assert (order.client_order_id, order.text) == (key, "buy 1 BTCUSDT at spot spot")
    told = {e.text for p in (sent, unknown) for e in last_events([p], RECORD, (), 5)}
    assert "entry: buy 1 BTCUSDT at spot spot: sent, no answer yet" in told
    assert "entry: buy 1 BTCUSDT at spot spot: outcome unknown (TIMEOUT)" in told


def test_events_are_in_the_order_they_came() -> None:
    """What has one time with another stays in its order: newest first, first cause last."""
    events = last_events([opened()], RECORD, (), 10)
    assert [event.text.split(":")[0] for event in events] == [
        "hedge",
        "entry",
        "entry begun as p1",
        "engine active",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("37419", "37,419"),
        ("2642.355", "2,642.355"),
        ("-0.00000001", "\N{MINUS SIGN}0.00000001"),
        ("0.000000000123", "0.000000000123"),
        ("0", "0"),
        ("1E+3", "1,000"),
    ],
)
def test_quantities_keep_what_matters(value: str, text: str) -> None:
    """Grouped, without an exponent, and never rounded to nothing."""
    assert words.quantity(Decimal(value)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.0004", "+0.00040"),
        ("-3.5", "\N{MINUS SIGN}3.50"),
        ("0", "0.00"),
        ("12345.678", "+12,345.68"),
    ],
)
def test_money_is_not_rounded_to_nothing(value: str, text: str) -> None:
    """A small gain is a gain."""
    assert words.gain(Decimal(value)) == text


def test_unknown_is_a_dash() -> None:
    """Absent figures are never zero."""
    written = {words.quantity(None), words.price(None), words.money(None), words.gain(None)}
    assert written | {words.percent(None), words.short_amount(None)} == {words.UNKNOWN}


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59, "59 s"), (3_599, "59 min"), (90_000, "1 d 1 h")]
)
def test_ages_are_short(seconds: int, text: str) -> None:
    """Two units at most; a clock that was set back makes none negative."""
    assert words.age(timedelta(seconds=seconds)) == text
