"""Calls that hang, from a process of their own: `python -m tests.support.wire_hang JSON`.

Half each: requests that are never sent, streams that nobody reads; and a few orders that wait for a
fill that does not come, fewer than a venue's own limits refuse. Prints, once all were made, how
each stands (`hanging`, or the code it ended with); holds what hangs for the seconds of the plan,
and prints the same again.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from opensqt.market_maker.v1 import exchange_pb2
from tests.support.malformed import EXCHANGE, PLACE, sound_order

CONNECTIONS = 25


async def _never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


def _unsent(channel: Any, metadata: Any, _price: str) -> Any:
    return channel.stream_unary(EXCHANGE + "PlaceOrder")(_never(), metadata=metadata)


def _unread(channel: Any, metadata: Any, _price: str) -> Any:
    request = exchange_pb2.SubscribePriceRequest(symbols=["BTCUSDT", "ETHUSDT"])
    return channel.unary_stream(EXCHANGE + "SubscribePrice")(
        request.SerializeToString(), metadata=metadata
    )


def _waiting(channel: Any, metadata: Any, price: str) -> Any:
    order = sound_order()
    order.price.value = price
    order.fill_timeout.CopyFrom(Duration(seconds=60))
    return channel.unary_unary(PLACE)(order.SerializeToString(), metadata=metadata)


async def hang(plan: dict[str, Any]) -> None:
    """Make the calls, tell how they stand, hold them, tell again."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    channels: list[Any] = [
        grpc.aio.insecure_channel(plan["address"], options=options) for _ in range(CONNECTIONS)
    ]
    metadata = (("authorization", f"Bearer {plan['token']}"),)
    makers = (*((_unsent, _unread) * 125), _waiting)
    calls: list[tuple[str, Any]] = []
    for index in range(plan["count"]):
        maker = makers[index % len(makers)]
        channel = channels[index % CONNECTIONS]
        calls.append((maker.__name__[1:], maker(channel, metadata, plan["price"])))
        if index % 50 == 0:
            await asyncio.sleep(0)
    for pause in (plan["settle"], plan["seconds"]):
        await asyncio.sleep(pause)
        sys.stdout.write(json.dumps(await _standing(calls)) + "\n")
        sys.stdout.flush()
    for channel in channels:
        await channel.close()


async def _standing(calls: list[tuple[str, Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for kind, call in calls:
        end = (await call.code()).name if call.done() else "hanging"
        counts[f"{kind} {end}"] += 1
    return counts


if __name__ == "__main__":
    asyncio.run(hang(json.loads(sys.argv[1])))
