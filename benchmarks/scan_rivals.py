"""What a scan is compared with: each symbol after the other, and a pool of processes a scan.

Both read of each perpetual what a scan reads of it: 30 days of settlements, hourly candles of a
week, and the open interest, through the same connector.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc

from opensqt.market_maker.v1 import exchange_pb2, exchange_pb2_grpc
from services.common.codec import from_millis, to_timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

POOL_SIZE: Final = 8
"""Processes of the pool, as many as a scanner has workers unless it is told otherwise."""
_HISTORY: Final = timedelta(days=30)
_TIMEOUT: Final = 60.0
# One for each process of the pool: what its initializer opens and its tasks use.
_stubs: list[Any] = []


def listed_perpetuals(address: str, count: int) -> tuple[list[str], int]:
    """Return so many perpetuals of a connector and the venue's time in milliseconds."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
        answer = stub.GetFundingRates(exchange_pb2.GetFundingRatesRequest(), timeout=_TIMEOUT)
        rates = list(answer.rates)
    return sorted(rate.symbol for rate in rates)[:count], max(rate.timestamp for rate in rates)


def scan_in_sequence(address: str, symbols: Sequence[str], now_ms: int) -> float:
    """Read one symbol after the other; return the seconds that took."""
    begun = time.perf_counter()
    with grpc.insecure_channel(address) as channel:
        stub: Any = exchange_pb2_grpc.ExchangeServiceStub(channel)
        for symbol in symbols:
            _read(stub, symbol, now_ms)
    return time.perf_counter() - begun


def scan_with_new_pool(address: str, symbols: Sequence[str], now_ms: int) -> float:
    """Start a pool of processes, read all symbols with it, end it; return the seconds."""
    begun = time.perf_counter()
    # Started afresh, not forked: a fork of a process with gRPC's threads does not live.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        POOL_SIZE, mp_context=context, initializer=_open, initargs=(address,)
    ) as pool:
        list(pool.map(_read_in_pool, symbols, [now_ms] * len(symbols)))
    return time.perf_counter() - begun


def _open(address: str) -> None:
    _stubs.append(exchange_pb2_grpc.ExchangeServiceStub(grpc.insecure_channel(address)))


def _read_in_pool(symbol: str, now_ms: int) -> None:
    _read(_stubs[0], symbol, now_ms)


def _read(stub: Any, symbol: str, now_ms: int) -> None:
    now = from_millis(now_ms)
    history = exchange_pb2.GetHistoricalFundingRatesRequest(
        symbol=symbol,
        start_time=to_timestamp(now - _HISTORY),
        end_time=to_timestamp(now),
        page_size=1000,
    )
    stub.GetHistoricalFundingRates(history, timeout=_TIMEOUT)
    candles = exchange_pb2.GetHistoricalKlinesRequest(symbol=symbol, interval="1h", limit=169)
    stub.GetHistoricalKlines(candles, timeout=_TIMEOUT)
    interest = exchange_pb2.GetOpenInterestRequest(symbol=symbol)
    stub.GetOpenInterest(interest, timeout=_TIMEOUT)
