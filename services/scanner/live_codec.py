"""Rows of a connector's streams into the scanner's values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.codec import decimal_from_proto
from services.common.errors import InvalidFieldError
from services.scanner.instruments import TickerRow
from services.scanner.venue_codec import rate_row

if TYPE_CHECKING:
    from opensqt.market_maker.v1 import events_pb2
    from services.scanner.instruments import RateRow


def quote_of(change: events_pb2.PriceChange) -> TickerRow | None:
    """Return the best prices of a row, None when it tells of no book.

    Raises InvalidFieldError for a book that nobody can trade at: a side missing, zero or crossed.
    """
    bid = decimal_from_proto(change, "best_bid_price")
    ask = decimal_from_proto(change, "best_ask_price")
    if bid is None and ask is None:
        return None
    row = TickerRow(change.symbol, None, bid, ask)
    if row.mid is None:
        raise InvalidFieldError("best_bid_price", f"has no sound other side: {bid} and {ask}")
    return row


def rate_of(update: events_pb2.FundingUpdate, max_rate: float) -> RateRow | None:
    """Return the rate of the coming settlement, None for a past settlement or without a rate.

    Raises InvalidFieldError for a rate beyond belief, over `max_rate` a settlement either way.
    """
    # A settlement that passed in a gap is told beside the present rate.
    if update.settled:
        return None
    row = rate_row(update)
    if row.rate is None:
        return None
    if abs(row.rate) > max_rate:
        raise InvalidFieldError("rate", f"is beyond belief: {row.rate}")
    return row
