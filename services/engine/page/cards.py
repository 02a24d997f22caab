"""Open positions, a card each: legs, residual, funding so far, state."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from services.engine.instruments import LegSide
from services.engine.page.facts import Level, PageFacts, PositionRow
from services.engine.page.markup import Markup, element, group
from services.engine.page.words import age, gain, money, percent, place, price, quantity
from services.engine.views import LegView, PositionStatus


def position_cards(facts: PageFacts, cards: Iterable[Markup]) -> Markup:
    """Return the cards of the positions side by side, and how many found no room."""
    if not facts.positions:
        return element("p", "No position is open.", class_="panel empty")
    more = None
    if facts.unshown_count:
        text = f"and {facts.unshown_count} more; arb positions lists them all"
        more = element("p", text, class_="empty")
    return group(element("div", *cards, class_="cards"), more)


def position_card(row: PositionRow, now: datetime) -> Markup:
    """Return the card of one position."""
    view = row.view
    level = _level(row)
    reason = element("p", view.state_reason, class_="why") if view.state_reason else None
    return element(
        "article",
        element(
            "div",
            element("h3", view.symbol),
            element("span", _state(row), class_=f"badge {_badge(row).value}"),
            element("span", gain(row.result), f" {row.quote_asset}", class_=_sum_class(row.result)),
            class_="card-head",
        ),
        element("p", f"{view.position_id} · held for {age(now - view.create_time)}", class_="id"),
        reason,
        _legs(row),
        _figures(row),
        class_=f"card {level.value}",
    )


def _sum_class(result: Decimal) -> str:
    if result == 0:
        return "sum"
    return "sum good-text" if result > 0 else "sum bad-text"


def _level(row: PositionRow) -> Level:
    legs = (row.view.long_leg, row.view.short_leg)
    if any(leg.outcome_unknown for leg in legs):
        return Level.BAD
    if row.view.status is PositionStatus.OPEN:
        return Level.PLAIN if row.is_neutral else Level.BAD
    return Level.WATCH


def _state(row: PositionRow) -> str:
    is_naked = row.view.status is PositionStatus.OPEN and not row.is_neutral
    return "open, not hedged" if is_naked else row.view.status.value


def _badge(row: PositionRow) -> Level:
    level = _level(row)
    return Level.GOOD if level is Level.PLAIN else level


def _legs(row: PositionRow) -> Markup:
    names = (("leg", "text"), (row.base_asset, ""), ("entry", ""), ("funding", ""))
    head = element("tr", *(element("th", name, class_=kind) for name, kind in names))
    legs = ((LegSide.LONG, row.view.long_leg), (LegSide.SHORT, row.view.short_leg))
    return element(
        "table",
        element("thead", head),
        element("tbody", *(_leg(*leg) for leg in legs)),
        class_="legs",
    )


def _leg(side: LegSide, leg: LegView) -> Markup:
    doubt = (
        group(" ", element("span", "unknown", class_="badge bad")) if leg.outcome_unknown else None
    )
    return element(
        "tr",
        element("td", side.value, doubt, element("small", place(leg.instrument))),
        element("td", quantity(leg.quantity)),
        element("td", price(leg.average_entry_price)),
        element("td", gain(leg.funding_received, 4)),
    )


def _figures(row: PositionRow) -> Markup:
    view = row.view
    return element(
        "dl",
        _figure(
            f"residual {row.base_asset}",
            quantity(view.residual_quantity),
            "" if row.is_neutral else "bad-text",
        ),
        _figure("funding so far", gain(view.funding_received, 4)),
        _figure("fees", money(view.fees_paid, 4)),
        _figure("carry a year", percent(row.carry_apr), "bad-text" if _pays(row) else ""),
        _figure("notional", money(row.notional)),
    )


def _pays(row: PositionRow) -> bool:
    return row.carry_apr is not None and row.carry_apr < 0


def _figure(name: str, value: str, level: str = "") -> Markup:
    return element("div", element("dt", name), element("dd", value, class_=level))
