"""The engine as it is shipped, with the moments written down at which orders pass its wire.

A tap is a clock reading around what turns a message into bytes or bytes into a message: before a
fill is decoded, and after an order is encoded. `read_taps` reads what was written when it ended.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.type import decimal_pb2

from services.common.channels import open_channel
from services.engine import __main__ as engine_main
from services.engine import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable

    Coder = Callable[[Any], Any]

_ENTER: Final = "/EnterOrders"
_TOLD: Final = "/SubscribeOrders"
_PLACE: Final = "/PlaceOrder"


@dataclass(frozen=True, slots=True)
class Tap:
    """One order at the engine's wire: `way` is left, answered or told.

    `at` is the monotonic clock, `cpu` what the event loop's thread has computed so far, seconds.
    """

    at: float
    cpu: float
    way: str
    client_order_id: str
    executed: float


# Not frozen: taps are added while the engine works.
@dataclass(slots=True)
class Taps:
    """Messages with their moments; what they say is read when the engine has ended."""

    rows: list[tuple[int, int, str, Any]]

    def encoding(self, encode: Coder) -> Coder:
        """Return `encode` with a reading after it."""

        def encoded(message: Any) -> Any:
            data = encode(message)
            self.rows.append((time.perf_counter_ns(), time.thread_time_ns(), "left", message))
            return data

        return encoded

    def decoding(self, decode: Coder, way: str) -> Coder:
        """Return `decode` with a reading before it."""

        def decoded(data: Any) -> Any:
            at, cpu = time.perf_counter_ns(), time.thread_time_ns()
            message = decode(data)
            self.rows.append((at, cpu, way, message))
            return message

        return decoded

    def write(self, path: Path) -> None:
        """Write what was seen of orders, one line of JSON each."""
        lines = []
        for at, cpu, way, message in self.rows:
            order = message.order if hasattr(message, "order") else message
            figure = getattr(order, "executed_qty", decimal_pb2.Decimal(value="0"))
            row = [at / 1e9, cpu / 1e9, way, order.client_order_id, figure.value or "0"]
            lines.append(json.dumps(row))
        path.write_text("\n".join(lines))


class TappedChannel:
    """A channel whose calls that carry orders are tapped; all else passes through."""

    def __init__(self, channel: Any, taps: Taps) -> None:
        self._channel = channel
        self._taps = taps

    async def __aenter__(self) -> TappedChannel:
        """Open the channel."""
        await self._channel.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Close the channel."""
        await self._channel.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        """Return what is not tapped as the channel has it."""
        return getattr(self._channel, name)

    def unary_unary(
        self, method: str, request_serializer: Coder, response_deserializer: Coder, **options: Any
    ) -> Any:
        """Tap an order that has a call of its own."""
        if method.endswith(_PLACE):
            request_serializer = self._taps.encoding(request_serializer)
            response_deserializer = self._taps.decoding(response_deserializer, "answered")
        return self._channel.unary_unary(
            method, request_serializer, response_deserializer, **options
        )

    def unary_stream(
        self, method: str, request_serializer: Coder, response_deserializer: Coder, **options: Any
    ) -> Any:
        """Tap what venues tell of orders."""
        if method.endswith(_TOLD):
            response_deserializer = self._taps.decoding(response_deserializer, "told")
        return self._channel.unary_stream(
            method, request_serializer, response_deserializer, **options
        )

    def stream_stream(
        self, method: str, request_serializer: Coder, response_deserializer: Coder, **options: Any
    ) -> Any:
        """Tap orders and their answers."""
        if method.endswith(_ENTER):
            request_serializer = self._taps.encoding(request_serializer)
            response_deserializer = self._taps.decoding(response_deserializer, "answered")
        return self._channel.stream_stream(
            method, request_serializer, response_deserializer, **options
        )


def read_taps(path: Path) -> list[Tap]:
    """Return what a tapped engine wrote, oldest first."""
    found = []
    for line in path.read_text().splitlines():
        at, cpu, way, client_order_id, executed = json.loads(line)
        if client_order_id:
            found.append(Tap(at, cpu, way, client_order_id, float(executed)))
    return sorted(found, key=lambda tap: tap.at)


def main() -> int:
    """Run the engine; the first argument is where the taps go, the others are the engine's."""
    path, *arguments = sys.argv[1:]
    taps = Taps([])

    def open_tapped(*options: Any, **named: Any) -> Any:
        return TappedChannel(open_channel(*options, **named), taps)

    # The composition root takes it from its own names.
    vars(bootstrap)["open_channel"] = open_tapped
    code = engine_main.main(arguments)
    taps.write(Path(path))
    return code


if __name__ == "__main__":
    sys.exit(main())
