"""Figures and times as the page writes them; an unknown figure is a dash, never a zero."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext

from services.engine.instruments import InstrumentKind, InstrumentRef

UNKNOWN = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_DIGITS = 8
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def quantity(value: Decimal | None) -> str:
    """Write base units with the digits that matter, in groups of three."""
    if value is None:
        return UNKNOWN
    with localcontext() as context:
        context.prec = 60
        places = max(0, _DIGITS - max(value.adjusted() + 1, 0)) if value else 0
        rounded = value.quantize(Decimal(1).scaleb(-min(places, 18)), ROUND_DOWN)
        # What is there must not look like nothing.
        shown = rounded if rounded or not value else value
        text = f"{shown:,f}"
    return _signed(text.rstrip("0").rstrip(".") if "." in text else text)


def price(value: Decimal | None) -> str:
    """Write a price with the digits that matter, seven at most."""
    if value is None:
        return UNKNOWN
    with localcontext() as context:
        context.prec = _DIGITS - 1
        rounded = (+value).normalize()
    return _signed(f"{rounded:,f}")


def money(value: Decimal | None, places: int = 2) -> str:
    """Write an amount of quote asset; amounts below the last place keep two digits of theirs."""
    if value is None:
        return UNKNOWN
    if value and abs(value) < Decimal(1).scaleb(-places):
        places = min(1 - value.adjusted(), 8)
    text = f"{value:,.{places}f}"
    return _signed(text) if Decimal(text.replace(",", "")) else f"{0:.{places}f}"


def gain(value: Decimal | None, places: int = 2) -> str:
    """Write an amount that was made, with a plus where it was."""
    text = money(value, places)
    return f"+{text}" if value is not None and value > 0 else text


def percent(value: Decimal | None, places: int = 1) -> str:
    """Write a fraction as a percentage."""
    return UNKNOWN if value is None else _signed(f"{value * 100:,.{places}f}") + " %"


def short_amount(value: Decimal | None) -> str:
    """Write an amount in thousands or millions, rounded down: it is a bound."""
    if value is None:
        return UNKNOWN
    for size, suffix in ((Decimal(1_000_000), "M"), (Decimal(1_000), "k")):
        if value >= size:
            return f"{(value / size).quantize(Decimal('0.1'), ROUND_DOWN)}{suffix}"
    return f"{value.quantize(Decimal(1), ROUND_DOWN)}"


def place(ref: InstrumentRef) -> str:
    """Write where an instrument is traded, short enough for a phone."""
    kind = "spot" if ref.kind is InstrumentKind.SPOT else "perp"
    return f"{ref.exchange} {kind}"


def age(length: timedelta) -> str:
    """Write how long something has been so, in its two largest units."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return f"{seconds // _HOUR} h {seconds % _HOUR // _MINUTE} min"
    return f"{seconds // _DAY} d {seconds % _DAY // _HOUR} h"


def clock_time(at: datetime, now: datetime) -> str:
    """Write an instant in UTC: the time of today, else with its day."""
    at, now = at.astimezone(UTC), now.astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%d %b %H:%M}"


def _signed(text: str) -> str:
    return text.replace("-", _MINUS)
