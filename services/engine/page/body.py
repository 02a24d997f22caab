"""The whole page as HTML: head, verdict, figures, and the parts below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from services.engine.page.cards import position_card, position_cards
from services.engine.page.facts import Level, PageFacts
from services.engine.page.lists import ended_table, event_list, offer_table
from services.engine.page.markup import Markup, document, element, group, style_element
from services.engine.page.notices import Notice, notices_of
from services.engine.page.style import STYLE
from services.engine.page.totals import Totals, totals_of
from services.engine.page.words import UNKNOWN, age, clock_time, gain, money
from services.engine.views import EngineMode

REFRESH_SECONDS: Final = 5
"""How often an open page loads itself anew."""

_MODE_LEVELS = {
    EngineMode.ACTIVE: Level.GOOD,
    EngineMode.REDUCING: Level.WATCH,
    EngineMode.HALTED: Level.BAD,
}
# The colour of the dot in the tab tells from afar; a page of strict policy has no other picture.
_ICONS = {Level.GOOD: "2a9d6f", Level.WATCH: "e0a526", Level.BAD: "d63a30"}


def page_of(facts: PageFacts, *, shows_offers: bool, cards: Iterable[Markup] | None = None) -> str:
    """Return the page; without `shows_offers` the reader may not see opportunities.

    `cards` are those of the positions, where they were drawn before.
    """
    if cards is None:
        cards = [position_card(row, facts.now) for row in facts.positions]
    notices = notices_of(facts)
    worst = _worst(notices)
    offers = (
        _section("Top opportunities, carry a year", offer_table(facts.offers, facts.now))
        if shows_offers
        else None
    )
    body = group(
        _header(facts),
        element(
            "main",
            _verdict(notices, facts),
            _tiles(facts),
            _section("Positions", position_cards(facts, cards)),
            offers,
            _section("Last events", event_list(facts)),
            _section("Ended last", ended_table(facts)),
            element(
                "footer",
                f"Read-only. Times are UTC. The page loads itself anew every {REFRESH_SECONDS} s.",
            ),
        ),
    )
    count = facts.status.open_position_count
    return _document(f"{facts.status.mode.value}, {count} open · OpenSQT engine", worst, body)


def waiting_page(now: datetime) -> str:
    """Return the page of a process that has no engine yet: it starts, or another one leads."""
    notice = Notice(
        Level.WATCH,
        "This engine does not trade yet",
        "it starts, or it stands by while another one holds the journal",
    )
    body = group(
        element("header", element("div", element("h1", "OpenSQT engine"), _time(now, now))),
        element("main", element("section", _notice(notice, now), class_="notices")),
    )
    return _document("standing by · OpenSQT engine", Level.WATCH, body)


def _document(title: str, level: Level, body: Markup) -> str:
    icon = (
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
        f"%3Ccircle cx='4' cy='4' r='4' fill='%23{_ICONS[level]}'/%3E%3C/svg%3E"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="refresh", content=str(REFRESH_SECONDS)),
        element("title", title),
        element("link", rel="icon", href=icon),
        style_element(STYLE),
    )
    return document("en", head, element("body", body))


def _worst(notices: tuple[Notice, ...]) -> Level:
    levels = {notice.level for notice in notices}
    return next((level for level in (Level.BAD, Level.WATCH) if level in levels), Level.GOOD)


def _header(facts: PageFacts) -> Markup:
    mode = facts.status.mode
    return element(
        "header",
        element(
            "div",
            element("h1", "OpenSQT engine"),
            element("span", mode.value, class_=f"badge {_MODE_LEVELS[mode].value}"),
            element("span", f"strategy {facts.strategy.value}", class_="badge"),
            _time(facts.now, facts.now),
        ),
    )


def _time(at: datetime, now: datetime) -> Markup:
    text = f"{at:%d %b %Y} {clock_time(at, now)} UTC"
    return element("time", text, datetime=at.isoformat(timespec="seconds"))


def _verdict(notices: tuple[Notice, ...], facts: PageFacts) -> Markup:
    if not notices:
        text = "nothing unknown, nothing halted, every venue answers"
        calm = Notice(Level.GOOD, "All is well", text)
        return element("section", _notice(calm, facts.now), class_="notices")
    return element("section", *(_notice(each, facts.now) for each in notices), class_="notices")


def _notice(notice: Notice, now: datetime) -> Markup:
    since = None
    if notice.since is not None:
        since = group(" ", element("time", f"for {age(now - notice.since)}"))
    return element(
        "div",
        element("b", notice.title),
        since,
        element("p", notice.text),
        class_=f"notice {notice.level.value}",
    )


def _tiles(facts: PageFacts) -> Markup:
    status = facts.status
    reachable = sum(venue.reachable for venue in status.venues)
    today = facts.day_result
    return element(
        "dl",
        _tile("open positions", str(status.open_position_count)),
        *_money_tiles(facts),
        None if today is None else _tile("result today", gain(today), _asset(facts), _sign(today)),
        _tile(
            "unknown orders",
            str(len(facts.doubtful)),
            level="bad-text" if facts.doubtful else "",
        ),
        _tile(
            "venues answering",
            f"{reachable} of {len(status.venues)}",
            level="" if reachable == len(status.venues) else "bad-text",
        ),
        class_="tiles",
    )


def _asset(facts: PageFacts) -> str:
    assets = {row.quote_asset for row in facts.positions}
    return assets.pop() if len(assets) == 1 else ""


def _money_tiles(facts: PageFacts) -> Iterator[Markup]:
    if facts.summed is None:
        # Sums over a part of the positions would be made up.
        for name in ("notional", "funding so far", "result so far"):
            yield _tile(name, UNKNOWN)
        return
    totals = totals_of(facts.summed) or {"": Totals(funding=Decimal(0))}
    for asset, one in totals.items():
        yield _tile("notional", money(one.notional), asset)
        yield _tile("funding so far", gain(one.funding), asset, _sign(one.funding))
        yield _tile("result so far", gain(one.result), asset, _sign(one.result))


def _tile(name: str, value: str, unit: str = "", level: str = "") -> Markup:
    label = f"{name}, {unit}" if unit and value != UNKNOWN else name
    return element("div", element("dt", label), element("dd", value, class_=level), class_="tile")


def _sign(value: Decimal | None) -> str:
    if value is None or value == 0:
        return ""
    return "good-text" if value > 0 else "bad-text"


def _section(title: str, content: Markup) -> Markup:
    return element("section", element("h2", title), content)
