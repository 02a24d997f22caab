"""Opportunities, events and ended positions, as tables and lists."""

from __future__ import annotations

from datetime import datetime

from services.engine.follower_offer import Offer
from services.engine.page.facts import Offers, PageEvent, PageFacts
from services.engine.page.markup import Markup, element
from services.engine.page.words import clock_time, gain, money, percent, place, short_amount
from services.engine.views import PositionView


def offer_table(offers: Offers, now: datetime) -> Markup:
    """Return the best opportunities with their carry a year, or why there are none."""
    if offers.problem:
        return element("p", offers.problem, class_="panel empty")
    if not offers.rows:
        return element("p", "The scanner offers nothing now.", class_="panel empty")
    head = element(
        "tr",
        element("th", "symbol", class_="text"),
        element("th", "long, short", class_="text"),
        element("th", "net"),
        element("th", "gross", class_="wide"),
        element("th", "rate now", class_="wide"),
        element("th", "room", class_="wide"),
        element("th", "doubts", class_="wide text doubts"),
    )
    rows = (_offer(offer, now) for offer in offers.rows)
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="panel")


def _offer(offer: Offer, now: datetime) -> Markup:
    expired = element("small", "expired") if offer.expire_time <= now else None
    doubts = ", ".join(sorted(offer.caveats)).replace("_", " ").lower()
    return element(
        "tr",
        element("td", element("b", offer.symbol), expired),
        element(
            "td", place(offer.long_leg), element("small", place(offer.short_leg)), class_="text"
        ),
        element("td", percent(offer.net_apr)),
        element("td", percent(offer.gross_apr), class_="wide"),
        element("td", percent(offer.current_apr), class_="wide"),
        element("td", short_amount(offer.capacity_notional), class_="wide"),
        element("td", element("small", doubts), class_="wide text doubts"),
    )


def event_list(facts: PageFacts) -> Markup:
    """Return the events, newest first."""
    rows = (_event(event, facts.now) for event in facts.events)
    return element("div", element("ul", *rows, class_="events"), class_="panel")


def _event(event: PageEvent, now: datetime) -> Markup:
    subject = element("b", f"{event.subject} ") if event.subject else None
    return element(
        "li",
        _time(event.at, now),
        element("p", subject, event.text),
        class_=event.level.value,
    )


def ended_table(facts: PageFacts) -> Markup:
    """Return what ended last, with what it made."""
    if not facts.is_whole:
        text = "The journal is being read: what has ended is not known yet."
        return element("p", text, class_="panel empty")
    if not facts.ended:
        return element("p", "No position has ended yet.", class_="panel empty")
    head = element(
        "tr",
        element("th", "position", class_="text"),
        element("th", "ended", class_="text"),
        element("th", "funding", class_="wide"),
        element("th", "fees", class_="wide"),
        element("th", "made"),
    )
    rows = (_ended(view, facts.now) for view in facts.ended)
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="panel")


def _ended(view: PositionView, now: datetime) -> Markup:
    at = view.close_time or view.update_time
    why = f"{view.status.value}: {view.state_reason}" if view.state_reason else view.status.value
    return element(
        "tr",
        element("td", element("b", view.symbol), element("small", view.position_id)),
        element("td", _time(at, now), element("small", why), class_="text"),
        element("td", gain(view.funding_received, 4), class_="wide"),
        element("td", money(view.fees_paid, 4), class_="wide"),
        element("td", gain(view.made)),
    )


def _time(at: datetime, now: datetime) -> Markup:
    return element("time", clock_time(at, now), datetime=at.isoformat(timespec="seconds"))
