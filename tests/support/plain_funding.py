"""The conventions of funding statistics, written plainly in Decimal: the yardstick of the fast
form. Loops and sums only, no numpy, one function for each sentence of docs/quality-score.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

Row = tuple[int, Decimal]
Figures = dict[str, Decimal | int | None]
HOUR_MS = 3_600_000
YEAR_HOURS = Decimal(8760)
LONGEST_INTERVAL = 24


def plain_statistics(rows: Sequence[Row], word: int | None = None) -> Figures | None:
    """Return the statistics of rows (settlement time in ms, rate), in any order, or None where the
    interval is unknown.

    Times are rounded to the hour and of rows of one hour the last told stands; `word` is the
    venue's word for the interval now. A figure is None where there are too few rows for it.
    """
    with localcontext() as context:
        context.prec = 50
        by_hour = {(time + HOUR_MS // 2) // HOUR_MS: rate for time, rate in rows}
        times = sorted(by_hour)
        rates = [by_hour[time] for time in times]
        spacings = [later - earlier for earlier, later in pairwise(times)]
        interval = word
        if interval is None:
            if not spacings or spacings[-1] > LONGEST_INTERVAL:
                return None
            interval = spacings[-1]
        covered = _covered_hours(spacings, interval, is_told=word is not None)
        gaps = [covered[0] if covered else interval, *covered]
        found = _moments(rates) | _annual(rates, gaps, interval)
        found |= {
            "first_minute": times[0] * 60,
            "last_minute": times[-1] * 60,
            "interval_h": interval,
            "last_h": gaps[-1],
            "interval_changes": _changes(gaps),
            "missing_rows": sum(
                round(Decimal(wide) / kept) - 1
                for wide, kept in zip(spacings, covered, strict=True)
                if kept < wide
            ),
        }
        found |= _signs(rates) | _regime(rates, gaps) | _slopes(times, rates)
        for days in (1, 3, 7, 30):
            found |= _window(days, times, rates, gaps)
        return found


def _covered_hours(spacings: Sequence[int], interval: int, *, is_told: bool) -> list[int]:
    """A spacing over a day is a hole; so is one at least twice as wide as both neighbours, and so
    are those side by side that the venue's word shows.
    """
    kept = []
    holes = _holes_side_by_side(spacings, interval) if is_told else set()
    for index, spacing in enumerate(spacings):
        if index in holes:
            kept.append(interval)
            continue
        if spacing <= LONGEST_INTERVAL:
            kept.append(spacing)
            continue
        before = [each for each in spacings[:index] if each <= LONGEST_INTERVAL]
        after = [each for each in spacings[index + 1 :] if each <= LONGEST_INTERVAL]
        kept.append(max([*before[-1:], *after[:1]], default=interval))
    covered = kept[:1]
    for index in range(1, len(kept)):
        last_word = interval if is_told else kept[-1]
        after_this = kept[index + 1] if index + 1 < len(kept) else last_word
        widest = max(kept[index - 1], after_this)
        covered.append(widest if kept[index] >= 2 * widest else kept[index])
    return covered


def _holes_side_by_side(spacings: Sequence[int], interval: int) -> set[int]:
    """Multiples of the interval told, between two spacings of it, that last no more than a day or
    of which one does not divide it.
    """
    known = [*spacings, interval]
    holes: set[int] = set()
    run: list[int] = []
    for index, spacing in enumerate(known):
        if spacing >= 2 * interval and spacing % interval == 0:
            run.append(index)
            continue
        if run and run[0] > 0 and known[run[0] - 1] == spacing == interval:
            wide = [spacings[each] for each in run]
            if sum(wide) <= LONGEST_INTERVAL or any(LONGEST_INTERVAL % each for each in wide):
                holes.update(run)
        run = []
    return holes


def _moments(rates: Sequence[Decimal]) -> Figures:
    count = len(rates)
    mean = sum(rates, Decimal(0)) / count
    squares = sum(((rate - mean) ** 2 for rate in rates), Decimal(0))
    deviation = (squares / count).sqrt()
    size = abs(mean) + deviation
    return {
        "n": count,
        "mean": mean,
        "std_pop": deviation,
        "std_smp": (squares / (count - 1)).sqrt() if count > 1 else None,
        "min": min(rates),
        "max": max(rates),
        "stability": abs(mean) / size if size else Decimal(0),
    }


def _annual(rates: Sequence[Decimal], gaps: Sequence[int], interval: int) -> Figures:
    total = sum(rates, Decimal(0))
    hourly = total / sum(gaps)
    squares = sum(
        ((rate / gap - hourly) ** 2 * gap for rate, gap in zip(rates, gaps, strict=True)),
        Decimal(0),
    )
    return {
        "covered_h": sum(gaps),
        "apr_mean": total / len(rates) * YEAR_HOURS / interval,
        "apr_true": total / sum(gaps) * YEAR_HOURS,
        "apr_naive_8h": total / len(rates) * 1095,
        "deviation_year": (squares / sum(gaps)).sqrt() * YEAR_HOURS,
    }


def _sign(rate: Decimal) -> int:
    return (rate > 0) - (rate < 0)


def _changes(values: Sequence[int]) -> int:
    return sum(later != earlier for earlier, later in pairwise(values))


def _signs(rates: Sequence[Decimal]) -> Figures:
    longest = run = 0
    for rate in rates:
        run = run + 1 if rate == 0 else 0
        longest = max(longest, run)
    return {
        "positive_ratio": Decimal(sum(rate > 0 for rate in rates)) / len(rates),
        "negative_ratio": Decimal(sum(rate < 0 for rate in rates)) / len(rates),
        "n_zero": sum(rate == 0 for rate in rates),
        "longest_zero_run": longest,
        "sign_flips": _changes([_sign(rate) for rate in rates if rate]),
        "sign_flips_strict": _changes([_sign(rate) for rate in rates]),
    }


def _regime(rates: Sequence[Decimal], gaps: Sequence[int]) -> Figures:
    length = hours = 0
    for rate, gap in zip(reversed(rates), reversed(gaps), strict=True):
        if _sign(rate) != _sign(rates[-1]):
            break
        length, hours = length + 1, hours + gap
    return {"regime_sign": _sign(rates[-1]), "regime_len": length, "regime_h": hours}


def _slopes(times: Sequence[int], rates: Sequence[Decimal]) -> Figures:
    last_rates, last_times = rates[-10:], times[-10:]
    numbers = list(range(len(last_rates)))
    return {
        "slope10": _least_squares(numbers, last_rates),
        "slope10_t": _least_squares(last_times, last_rates),
    }


def _least_squares(x: Sequence[int], y: Sequence[Decimal]) -> Decimal | None:
    x_mean = Decimal(sum(x)) / len(x)
    y_mean = sum(y, Decimal(0)) / len(y)
    products = sum(((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)), Decimal(0))
    squares = sum(((a - x_mean) ** 2 for a in x), Decimal(0))
    return products / squares if squares else None


def _window(
    days: int, times: Sequence[int], rates: Sequence[Decimal], gaps: Sequence[int]
) -> Figures:
    start = times[-1] - days * 24
    inside = [
        (rate, gap) for time, rate, gap in zip(times, rates, gaps, strict=True) if time > start
    ]
    total = sum((rate for rate, _ in inside), Decimal(0))
    covered = sum(gap for _, gap in inside)
    return {
        f"avg_{days}d": total / len(inside),
        f"n_{days}d": len(inside),
        f"cov_{days}d": Decimal(covered) / (days * 24),
        f"apr_{days}d": total / covered * YEAR_HOURS,
    }
