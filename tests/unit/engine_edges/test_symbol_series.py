"""However many positions are on, the series by symbol are bounded and leave nothing out."""

from __future__ import annotations

from services.engine.symbol_series import MOST_SYMBOLS, OTHER_SYMBOLS, bounded_symbols


def test_up_to_the_bound_every_symbol_has_its_own_series() -> None:
    """Nothing is shared before it must be."""
    values: dict[tuple[str, ...], float] = {}
    values |= {(f"S{number}USDT",): 0.0 for number in range(MOST_SYMBOLS)}
    assert bounded_symbols(values, place=0) == values


def test_beyond_the_bound_the_largest_are_kept_and_the_others_summed() -> None:
    """Signs stay: two residuals that cancel are no exposure of the account."""
    values: dict[tuple[str, ...], float] = {}
    values |= {(f"S{number}USDT",): float(1000 + number) for number in range(MOST_SYMBOLS)}
    small: dict[tuple[str, ...], float] = {("AUSDT",): 7.0, ("BUSDT",): -2.0}
    assert bounded_symbols(small | values, place=0) == values | {(OTHER_SYMBOLS,): 5.0}


def test_both_legs_of_a_symbol_stay_together() -> None:
    """A symbol is as large as all of it, and a venue and a side keep their own sums."""
    values: dict[tuple[str, ...], float] = {}
    for number in range(MOST_SYMBOLS):
        values["spot", f"S{number}USDT", "long"] = 10.0
        values["perp", f"S{number}USDT", "short"] = -10.0
    # Larger than any leg, smaller than any pair of legs.
    small = {("spot", "AUSDT", "long"): 12.0, ("spot", "BUSDT", "long"): 3.0}
    shown = bounded_symbols(values | small, place=1)
    assert shown == values | {("spot", OTHER_SYMBOLS, "long"): 15.0}
