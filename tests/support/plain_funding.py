"""The conventions of funding statistics, written plainly in Decimal: the yardstick of the fast
form.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from itertools import pairwise

Row = tuple[int, Decimal]
HOUR_MS = 3_600_000
YEAR_HOURS = Decimal(8760)


def plain_statistics(rows: Sequence[Row]) -> dict[str, Decimal | int]:
    """Return the statistics of rows (settlement time in ms, rate), in any order, without holes.

    Times are rounded to the hour; the first row is given the spacing after it.
    """
    with localcontext() as context:
        context.prec = 50
        ordered = sorted(((time + HOUR_MS // 2) // HOUR_MS, rate) for time, rate in rows)
        times = [time for time, _ in ordered]
        rates = [rate for _, rate in ordered]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        gaps = [gaps[0], *gaps]
        count = len(rates)
        mean = sum(rates, Decimal(0)) / count
        squares = sum(((rate - mean) ** 2 for rate in rates), Decimal(0))
        found: dict[str, Decimal | int] = {
            "n": count,
            "interval_h": gaps[-1],
            "mean": mean,
            "std_pop": (squares / count).sqrt(),
            "std_smp": (squares / (count - 1)).sqrt(),
            "min": min(rates),
            "max": max(rates),
            "positive_ratio": Decimal(sum(rate > 0 for rate in rates)) / count,
            "n_zero": sum(rate == 0 for rate in rates),
            "sign_flips": _flips([_sign(rate) for rate in rates if rate]),
            "sign_flips_strict": _flips([_sign(rate) for rate in rates]),
            "apr_mean": mean * YEAR_HOURS / gaps[-1],
            "apr_true": sum(rates, Decimal(0)) / sum(gaps) * YEAR_HOURS,
            "apr_naive_8h": mean * 1095,
            "interval_changes": _flips(gaps[1:]),
        }
        found |= _regime(rates, gaps) | _slopes(times, rates)
        for days in (1, 3, 7, 30):
            found |= _window(days, times, rates, gaps)
        return found


def _sign(rate: Decimal) -> int:
    return (rate > 0) - (rate < 0)


def _flips(values: Sequence[int]) -> int:
    return sum(later != earlier for earlier, later in pairwise(values))


def _regime(rates: Sequence[Decimal], gaps: Sequence[int]) -> dict[str, Decimal | int]:
    length = hours = 0
    for rate, gap in zip(reversed(rates), reversed(gaps), strict=True):
        if _sign(rate) != _sign(rates[-1]):
            break
        length, hours = length + 1, hours + gap
    return {"regime_sign": _sign(rates[-1]), "regime_len": length, "regime_h": hours}


def _slopes(times: Sequence[int], rates: Sequence[Decimal]) -> dict[str, Decimal | int]:
    last_rates, last_times = rates[-10:], times[-10:]
    numbers = list(range(len(last_rates)))
    return {
        "slope10": _least_squares(numbers, last_rates),
        "slope10_t": _least_squares(last_times, last_rates),
    }


def _least_squares(x: Sequence[int], y: Sequence[Decimal]) -> Decimal:
    x_mean = Decimal(sum(x)) / len(x)
    y_mean = sum(y, Decimal(0)) / len(y)
    products = sum(((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True)), Decimal(0))
    return products / sum(((a - x_mean) ** 2 for a in x), Decimal(0))


def _window(
    days: int, times: Sequence[int], rates: Sequence[Decimal], gaps: Sequence[int]
) -> dict[str, Decimal | int]:
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
