"""Figures that cost a call each, asked for the best opportunities only."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.scanner.tasks import ReadDetail

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.scanner.instruments import InstrumentKey
    from services.scanner.market import VenueView
    from services.scanner.opportunity import LegFunding, Opportunity
    from services.scanner.venue_codec import Detail


def detail_tasks(shortlist: Iterable[Opportunity]) -> tuple[ReadDetail, ...]:
    """Return one reading for each perpetual of the shortlist."""
    # A dict keeps the order of the rank and drops the second mention of a leg.
    legs = {leg: None for each in shortlist for leg in each.pair.perpetuals}
    return tuple(ReadDetail(leg.venue, leg.symbol) for leg in legs)


def with_details(
    opportunity: Opportunity,
    details: Mapping[tuple[str, str], Detail],
    views: Mapping[str, VenueView],
) -> Opportunity:
    """Return the opportunity with what is known of its perpetuals' volatility and open interest."""
    pair = opportunity.pair
    if not any((leg.venue, leg.symbol) in details for leg in pair.perpetuals):
        return opportunity
    return replace(
        opportunity,
        long_funding=_detailed(opportunity.long_funding, pair.long_leg, details, views),
        short_funding=_detailed(opportunity.short_funding, pair.short_leg, details, views),
    )


def _detailed(
    funding: LegFunding | None,
    leg: InstrumentKey,
    details: Mapping[tuple[str, str], Detail],
    views: Mapping[str, VenueView],
) -> LegFunding | None:
    detail = details.get((leg.venue, leg.symbol))
    if funding is None or detail is None:
        return funding
    return replace(
        funding,
        price_volatility=detail.price_volatility,
        open_interest_to_volume=_interest_to_volume(detail, leg, views),
    )


def _interest_to_volume(
    detail: Detail, leg: InstrumentKey, views: Mapping[str, VenueView]
) -> float | None:
    ticker = views[leg.venue].tickers[leg.symbol]
    notional = detail.open_interest_notional
    if notional is None and detail.open_interest is not None and ticker.mid is not None:
        notional = detail.open_interest * ticker.mid
    if notional is None or not ticker.quote_volume:
        return None
    return float(notional / ticker.quote_volume)
