"""Past settlements as columns: what a page of a thousand costs far less in than in messages. Pure.

A settlement here is its place, (time in Unix milliseconds, canonical symbol), with its rate as the
wire writes it; the rate is None where the row is not about one of our instruments.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import exchange_pb2
from services.common.codec import DECIMAL_PATTERN
from services.connector.row_numbers import required_wire, stamp, text, without_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opensqt.market_maker.v1 import resources_pb2

Settled = tuple[tuple[int, str], str | None]
"""Place and rate of one settlement."""

_COLUMNS: Final = itemgetter("symbol", "fundingTime", "fundingRate")
_LATEST_MS: Final = 10**15


def read_settled(row: dict[str, Any], symbol_of: Callable[[str], str | None]) -> Settled:
    """Return the settlement of one fundingRate row; ValueError or KeyError when it is malformed.

    `symbol_of` gives the canonical symbol of the venue's name, None when it is not one of ours. The
    mark price is not told in columns, so it is not looked at.
    """
    name, settled = text(row, "symbol"), stamp(row, "fundingTime")
    if not settled:
        raise ValueError("a settlement without time")
    symbol = symbol_of(name)
    # By the names callers see; others sort behind them and are left out at the end.
    if symbol is None:
        return (settled, f"~{name}"), None
    return (settled, symbol), required_wire(row, "fundingRate").value


def read_clean(rows: Any, symbol_of: Callable[[str], str | None]) -> list[Settled] | None:
    """Return what `read_settled` makes of each row, None unless every row is as it should be.

    Column by column, which takes a tenth of the time that it takes row by row.
    """
    if not isinstance(rows, list) or not rows:
        return None
    try:
        names, times, rates = zip(*map(_COLUMNS, rows), strict=True)
        symbols = {name: symbol_of(name) for name in set(names)}
        # Many rates are alike: the venue's default above all.
        told = {rate: without_zeros(rate) for rate in set(rates)}
        clean = all(map(DECIMAL_PATTERN.fullmatch, told))
    except (LookupError, TypeError, AttributeError):
        return None
    # By exact type: a bool is an int too.
    whole = set(map(type, times)) == {int} and min(times) > 0 and max(times) < _LATEST_MS
    if not (clean and whole and all(names) and set(map(type, names)) == {str}):
        return None
    if None not in symbols.values():
        places = zip(times, map(symbols.__getitem__, names), strict=True)
        return list(zip(places, map(told.__getitem__, rates), strict=True))  # type: ignore[arg-type]  # no None
    return [
        ((time, f"~{name}"), None) if symbols[name] is None else ((time, symbols[name]), told[rate])  # type: ignore[misc]  # told apart
        for name, time, rate in zip(names, times, rates, strict=True)
    ]


def settled_of(
    rows: Iterable[tuple[tuple[int, str], resources_pb2.FundingRate | None]],
) -> list[Settled]:
    """Return the settlements that messages tell; a message without a rate has an empty one."""
    return [(place, None if row is None else row.rate.value) for place, row in rows]


def to_columns(rows: Iterable[Settled]) -> exchange_pb2.FundingRateColumns:
    """Return the settlements of our instruments as columns, in the order given."""
    ours = [row for row in rows if row[1] is not None]
    if not ours:
        return exchange_pb2.FundingRateColumns()
    places, rates = zip(*ours, strict=True)
    times, symbols = zip(*places, strict=True)
    indexes = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    return exchange_pb2.FundingRateColumns(
        symbols=indexes,
        symbol_indexes=[indexes[symbol] for symbol in symbols],
        timestamps=times,
        rates=rates,
    )
