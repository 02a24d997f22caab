"""Requests that no service should take, by kind: each is a method, the bytes sent, its metadata."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.type import decimal_pb2

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from tests.support.contract_methods import contract_methods

EXCHANGE: Final = "/opensqt.market_maker.v1.ExchangeService/"
PLACE, BATCH = EXCHANGE + "PlaceOrder", EXCHANGE + "BatchPlaceOrders"
UNARY: Final = sorted(
    name
    for name, method in contract_methods().items()
    if name.startswith(EXCHANGE)
    and not method.server_streaming
    and not method.client_streaming
    # Random bytes may be a sound request of these: they would halt what is measured.
    and not name.endswith(("HaltTrading", "ResumeTrading"))
)
NUMBERS: Final = (
    *("NaN", "sNaN", "-NaN", "Infinity", "-Infinity", "inf", "", " ", " 1", "1 ", "+1", "-0", "-1"),
    *("0", "0.0", "1_000", "1e999999", "1E5", "0x10", ".5", "5.", "1,000", "--1", "1.2.3", "1\n"),
    *("\u0661\u0662", "\uff11", "\u00b2", "1\u200b", "9" * 40, "0." + "1" * 40, "1\x00", "\ud7ff"),
    "1" * 5_000,
)
DECIMALS: Final = ("quantity", "price", "worst_price", "slippage_bound_ratio")
ENUMS: Final = ("side", "type", "time_in_force", "order_class")


@dataclass(frozen=True, slots=True)
class MalformedCall:
    """One call to make."""

    kind: str
    method: str
    body: bytes
    metadata: tuple[tuple[str, str], ...] = ()


def sound_order() -> Any:
    """Return a limit order that would be taken, far off the market."""
    return resources_pb2.PlaceOrderRequest(
        symbol="BTCUSDT",
        side=types_pb2.ORDER_SIDE_BUY,
        type=types_pb2.ORDER_TYPE_LIMIT,
        quantity=decimal_pb2.Decimal(value="0.01"),
        price=decimal_pb2.Decimal(value="100"),
    )


def decimal_field(rng: random.Random) -> MalformedCall:
    """Return an order with one number that is none, or one out of bounds."""
    order = sound_order()
    field = rng.choice(DECIMALS)
    if field in ("worst_price", "slippage_bound_ratio"):
        order.type = types_pb2.ORDER_TYPE_MARKET
        order.ClearField("price")
    getattr(order, field).value = rng.choice(NUMBERS)
    return MalformedCall("decimal", PLACE, order.SerializeToString())


def enum_field(rng: random.Random) -> MalformedCall:
    """Return an order with an enum at zero, unknown or negative."""
    order = sound_order()
    field = rng.choice(ENUMS)
    unset = (0,) if field in ("side", "type") else ()
    setattr(order, field, rng.choice((*unset, 99, -1, 2**31 - 1)))
    return MalformedCall("enum", PLACE, order.SerializeToString())


def missing_field(rng: random.Random) -> MalformedCall:
    """Return an order without something it needs."""
    order = sound_order()
    order.ClearField(rng.choice(("symbol", "side", "type", "quantity", "price")))
    return MalformedCall("missing", PLACE, order.SerializeToString())


def invalid_text(rng: random.Random) -> MalformedCall:
    """Return a symbol that is not UTF-8, or no symbol at all, or a hostile one."""
    text = rng.choice(
        (
            b"\xff\xfe",
            b"BTC\x80USDT",
            b"\xed\xa0\x80",
            b"\x00",
            b"\x1b[2J",
            b"A" * 4_000,
            b"../../etc/passwd",
            b"BTCUSDT' OR 1=1",
            "\u202eTDSUCTB".encode(),
        )
    )
    body = b"\x0a" + _varint(len(text)) + text
    method = EXCHANGE + rng.choice(("GetSymbolInfo", "GetOrderBook", "PlaceOrder", "GetOrder"))
    return MalformedCall("text", method, body)


def random_bytes(rng: random.Random) -> MalformedCall:
    """Return noise for any method with one request."""
    return MalformedCall("noise", rng.choice(UNARY), rng.randbytes(rng.randrange(1, 200)))


def truncated(rng: random.Random) -> MalformedCall:
    """Return a sound order cut short, or with one bit turned in its tags."""
    body = bytearray(sound_order().SerializeToString())
    return MalformedCall("truncated", PLACE, bytes(body[: rng.randrange(1, len(body) - 1)]))


def deep_nesting(rng: random.Random) -> MalformedCall:
    """Return groups opened thousands deep, closed or not."""
    depth = rng.choice((101, 1_000, 7_000))
    body = b"\x0b" * depth + (b"\x0c" * depth if rng.random() < 0.5 else b"")
    return MalformedCall("nesting", rng.choice(UNARY), body)


def many_items(rng: random.Random) -> MalformedCall:
    """Return a batch of as many empty orders as a request may be long."""
    count = rng.choice((1_000, 20_000, 120_000))
    return MalformedCall("items", BATCH, b"\x0a\x00" * count)


def many_symbols(rng: random.Random) -> MalformedCall:
    """Return a batch of cancels with a hundred thousand ids."""
    return MalformedCall(
        "items", EXCHANGE + "BatchCancelOrders", b"\x12\x01a" * rng.choice((2_000, 80_000))
    )


def oversize(rng: random.Random) -> MalformedCall:
    """Return more than the server takes: a million items, or one long text."""
    if rng.random() < 0.5:
        return MalformedCall("oversize", BATCH, b"\x0a\x00" * 1_000_000)
    return MalformedCall("oversize", PLACE, b"\x0a" + _varint(300_000) + b"A" * 300_000)


def long_headers(rng: random.Random) -> MalformedCall:
    """Return headers beyond 8 KiB."""
    headers = tuple((f"x-{index}", "a" * 3_000) for index in range(rng.randrange(4, 8)))
    return MalformedCall("headers", EXCHANGE + "GetName", b"", headers)


def look_alike(rng: random.Random) -> MalformedCall:
    """Return a method that does not exist, close to one that does."""
    name = rng.choice(
        (
            EXCHANGE + "placeOrder",
            EXCHANGE + "PlaceOrder/",
            "/x" + EXCHANGE + "PlaceOrder",
            EXCHANGE + "PlaceOrder%00",
            "/grpc.health.v1.Health/Check/" + "a" * 50,
            "/" + "a" * 200,
        )
    )
    return MalformedCall("look-alike", name, b"")


def wrong_token(rng: random.Random) -> MalformedCall:
    """Return a second credential that is wrong beside the caller's own."""
    return MalformedCall(
        "token", EXCHANGE + "GetName", b"", (("x-api-key", f"wrong-{rng.getrandbits(64):x}"),)
    )


Maker = Callable[[random.Random], MalformedCall]
KINDS: Final[dict[Maker, int]] = {
    decimal_field: 400,
    enum_field: 120,
    missing_field: 60,
    invalid_text: 120,
    random_bytes: 120,
    truncated: 80,
    look_alike: 40,
    wrong_token: 40,
    deep_nesting: 12,
    many_items: 1,
    many_symbols: 1,
    oversize: 2,
    long_headers: 4,
}
"""Shares of a thousand; the heavy kinds are rare, as a flood of them would be one of bytes."""


def malformed_calls(count: int, seed: int) -> Iterator[MalformedCall]:
    """Yield so many calls in shares of KINDS; the same seed makes the same calls."""
    rng = random.Random(seed)
    makers, weights = list(KINDS), list(KINDS.values())
    for maker in rng.choices(makers, weights, k=count):
        yield maker(rng)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
