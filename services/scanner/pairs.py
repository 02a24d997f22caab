"""Which pairs of legs are looked at: one symbol, any two instruments, both directions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING
from urllib.parse import quote

from services.scanner.instruments import InstrumentKey, InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from services.scanner.market import VenueView


@dataclass(frozen=True, slots=True, order=True)
class PairOfLegs:
    """The leg to be long and the leg to be short, of one canonical symbol."""

    long_leg: InstrumentKey
    short_leg: InstrumentKey

    @property
    def symbol(self) -> str:
        """Canonical symbol of both legs."""
        return self.long_leg.symbol

    @property
    def opportunity_id(self) -> str:
        """Name of the pair, the same from scan to scan; printable ASCII whatever the symbol."""
        # Colons separate, so what a symbol or a name has of its own is percent-encoded.
        parts = (self.symbol, *_name(self.long_leg), *_name(self.short_leg))
        return ":".join(map(_encoded, parts))

    @property
    def perpetuals(self) -> tuple[InstrumentKey, ...]:
        """Legs that pay or receive funding."""
        legs = (self.long_leg, self.short_leg)
        return tuple(leg for leg in legs if leg.kind is InstrumentKind.PERPETUAL)

    @property
    def borrows(self) -> bool:
        """Whether the short leg is spot, whose coin is borrowed."""
        return self.short_leg.kind is InstrumentKind.SPOT


def pairs_of_legs(
    views: Mapping[str, VenueView], tradable: Mapping[str, Collection[str]]
) -> Iterator[PairOfLegs]:
    """Yield every ordered pair of tradable instruments of one symbol with a perpetual among them.

    A short spot leg needs a venue that lends the coin. Two spot legs earn no funding and are left
    out.
    """
    legs_by_symbol: dict[str, list[InstrumentKey]] = {}
    for venue in sorted(views):
        for symbol in tradable.get(venue, ()):
            legs_by_symbol.setdefault(symbol, []).append(views[venue].key(symbol))
    # Sorted, so that two scans of the same market work in the same order.
    for symbol in sorted(legs_by_symbol):
        for long_leg, short_leg in permutations(legs_by_symbol[symbol], 2):
            pair = PairOfLegs(long_leg, short_leg)
            if pair.perpetuals and (not pair.borrows or _lends(views, short_leg)):
                yield pair


def _lends(views: Mapping[str, VenueView], leg: InstrumentKey) -> bool:
    return views[leg.venue].symbols[leg.symbol].margin_allowed


def _encoded(part: str) -> str:
    # Nearly every name is plain, and encoding is asked for with every comparison of ranks.
    return part if part.isascii() and part.isalnum() else quote(part, safe="")


def _name(leg: InstrumentKey) -> tuple[str, str]:
    return leg.venue, leg.kind.value
