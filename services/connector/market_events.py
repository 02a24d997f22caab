"""Market events of the venue's streams to rows of the contract. Pure but for the merged prices.

Event fields: web-socket-streams.md (spot), USD-M WebSocket Market Streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import events_pb2, resources_pb2
from services.common.codec import from_millis, to_duration, to_timestamp
from services.connector.row_numbers import positive, required, stamp, text, wire

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

    from services.connector.instruments import Instrument, InstrumentBook


# ccxt takes the mini ticker on spot and the whole one on USD-M; both tell the last price.
_PRINTS: Final = frozenset({"24hrTicker", "24hrMiniTicker"})


class PriceBoard:
    """The newest prices per symbol: book and print events each tell a part, a row tells all.

    Until a symbol was read once its events are kept, not told: a row of a part alone would take the
    place of the whole one. What an event told since the subscription is not overwritten by a read,
    which may have been on its way before.
    """

    def __init__(self, exchange: str, instruments: InstrumentBook, wanted: Collection[str]) -> None:
        self._exchange = exchange
        self._instruments = instruments
        self._wanted = frozenset(wanted)
        self._rows: dict[str, events_pb2.PriceChange] = {}
        self._read: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    def restart(self) -> None:
        """Forget what events told: the subscription broke, and a read knows better."""
        self._read.clear()
        self._told.clear()

    def on_event(self, event: dict[str, Any]) -> list[events_pb2.PriceChange]:
        """Take a book ticker or 24 h ticker event; return the symbol's prices, else nothing."""
        name = event.get("e")
        # Spot book tickers are the one event without a name.
        is_book = name == "bookTicker" or (name is None and "b" in event and "a" in event)
        if not is_book and name not in _PRINTS:
            return []
        instrument = self._instruments.find_exchange_symbol(text(event, "s"))
        if instrument is None or instrument.symbol not in self._wanted:
            return []
        row = self._row(instrument)
        self._told.add((instrument.symbol, "book" if is_book else "print"))
        if name in _PRINTS:
            set_price(row, "price", positive(event, "c"), instrument)
        if is_book:
            set_top(row, "bid", event, ("b", "B"), instrument)
            set_top(row, "ask", event, ("a", "A"), instrument)
        changed = stamp(event, "E")
        if changed:
            row.timestamp.CopyFrom(to_timestamp(from_millis(changed)))
        return [_copy(row)] if instrument.symbol in self._read else []

    def on_reads(
        self, prices: dict[str, Any] | None, tops: dict[str, Any] | None, instrument: Instrument
    ) -> events_pb2.PriceChange:
        """Take a price row and a book ticker row that were read; return the symbol's prices."""
        row = self._row(instrument)
        self._read.add(instrument.symbol)
        if prices is not None and (instrument.symbol, "print") not in self._told:
            set_price(row, "price", positive(prices, "price"), instrument)
            if stamp(prices, "time"):
                row.timestamp.CopyFrom(to_timestamp(from_millis(stamp(prices, "time"))))
        if tops is not None and (instrument.symbol, "book") not in self._told:
            set_top(row, "bid", tops, ("bidPrice", "bidQty"), instrument)
            set_top(row, "ask", tops, ("askPrice", "askQty"), instrument)
        return _copy(row)

    def _row(self, instrument: Instrument) -> events_pb2.PriceChange:
        return self._rows.setdefault(
            instrument.symbol,
            events_pb2.PriceChange(exchange=self._exchange, symbol=instrument.symbol),
        )


def set_price(row: Any, field: str, price: Any, instrument: Instrument) -> None:
    """Set a price per single coin; None leaves what was known."""
    if price is not None:
        getattr(row, field).CopyFrom(wire(instrument.to_base_price(price)))


def set_top(
    row: Any,
    side: str,
    event: dict[str, Any],
    keys: tuple[str, str],
    instrument: Instrument,
) -> None:
    """Set best price and quantity of a side; an empty side is cleared."""
    price, quantity = positive(event, keys[0]), positive(event, keys[1])
    # Binance sends "0" for an empty side; a zero bid would be taken for a price.
    if price is None or quantity is None:
        row.ClearField(f"best_{side}_price")
        row.ClearField(f"best_{side}_quantity")
        return
    getattr(row, f"best_{side}_price").CopyFrom(wire(instrument.to_base_price(price)))
    getattr(row, f"best_{side}_quantity").CopyFrom(wire(instrument.to_base_quantity(quantity)))


def to_funding_update(
    event: dict[str, Any], instrument: Instrument, exchange: str, interval: timedelta | None
) -> events_pb2.FundingUpdate:
    """Return the funding of a markPriceUpdate event."""
    mark, index = positive(event, "p"), positive(event, "i")
    return events_pb2.FundingUpdate(
        exchange=exchange,
        symbol=instrument.symbol,
        rate=wire(required(event, "r")),
        next_funding_time=stamp(event, "T"),
        timestamp=stamp(event, "E"),
        interval=None if interval is None else to_duration(interval),
        mark_price=wire(None if mark is None else instrument.to_base_price(mark)),
        index_price=wire(None if index is None else instrument.to_base_price(index)),
    )


def funding_update_of(rate: resources_pb2.FundingRate) -> events_pb2.FundingUpdate:
    """Return a rate that was read as a row of the stream."""
    update = events_pb2.FundingUpdate(
        exchange=rate.exchange,
        symbol=rate.symbol,
        next_funding_time=rate.next_funding_time,
        timestamp=rate.timestamp,
    )
    for field in ("rate", "predicted_rate", "interval", "mark_price", "index_price"):
        if rate.HasField(field):
            getattr(update, field).CopyFrom(getattr(rate, field))
    return update


def to_stream_candle(event: dict[str, Any], instrument: Instrument) -> resources_pb2.Candle:
    """Return the candle of a kline event; the venue itself says when it is closed."""
    kline = event["k"]
    prices = {key: wire(instrument.to_base_price(required(kline, key))) for key in "ohlc"}
    return resources_pb2.Candle(
        symbol=instrument.symbol,
        open=prices["o"],
        high=prices["h"],
        low=prices["l"],
        close=prices["c"],
        volume=wire(instrument.to_base_quantity(required(kline, "v"))),
        timestamp=stamp(kline, "t"),
        is_closed=kline["x"] is True,
        quote_volume=wire(required(kline, "q")),
    )


def _copy(row: events_pb2.PriceChange) -> events_pb2.PriceChange:
    found = events_pb2.PriceChange()
    found.CopyFrom(row)
    return found
