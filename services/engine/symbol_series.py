"""How many symbols have series of their own: each one costs every scrape and every query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_SYMBOLS: Final = 100
"""Series by symbol: the largest so many have their own, the others share one."""

OTHER_SYMBOLS: Final = "others"
"""The label of the shared series; venues write their symbols in capitals."""


def bounded_symbols(
    values: Mapping[tuple[str, ...], float], place: int
) -> dict[tuple[str, ...], float]:
    """Return the values by at most MOST_SYMBOLS symbols and, summed with their signs, the others.

    `place` is where in a key the symbol stands. A symbol is as large as the sizes of its values.
    """
    sizes: dict[str, float] = {}
    for key, value in values.items():
        sizes[key[place]] = sizes.get(key[place], 0.0) + abs(value)
    # The name decides between equals, so that a refresh changes nothing where nothing changed.
    kept = set(sorted(sizes, key=lambda symbol: (-sizes[symbol], symbol))[:MOST_SYMBOLS])
    shown: dict[tuple[str, ...], float] = {}
    for key, value in values.items():
        symbol = key[place] if key[place] in kept else OTHER_SYMBOLS
        shared = (*key[:place], symbol, *key[place + 1 :])
        shown[shared] = shown.get(shared, 0.0) + value
    return shown
