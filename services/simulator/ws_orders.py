"""Orders over Binance's WebSocket API: the REST endpoint behind another envelope.

Signature, limits, faults and records are those of the REST request with the same parameters, so
that an order means the same whichever way it came.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from services.simulator.gateway import Gateway, Plan, Reply, Request
from services.simulator.http import Before
from services.simulator.ws_connection import Connection


class WebSocketOrders:
    """Answers `order.place`, each request in a task of its own."""

    def __init__(self, gateway: Gateway, before: Before | None = None) -> None:
        self._gateway = gateway
        self._before = before
        # Owned here: asyncio itself keeps only weak references.
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, connection: Connection, message: dict[str, Any], path: str) -> None:
        """Handle one request of a connection; its answer is sent when it is known."""
        params = message.get("params") or {}
        signature = str(params.get("signature", ""))
        signed = sorted((name, value) for name, value in params.items() if name != "signature")
        # Signed in the order of the names, as over REST in the order of the query.
        query = urlencode([(name, _text(value)) for name, value in signed])
        request = Request(
            "POST",
            path,
            f"{query}&signature={signature}",
            "",
            params.get("apiKey"),
            connection.request.remote or "",
        )
        plan = self._gateway.receive(request)
        task = asyncio.get_running_loop().create_task(
            self._answer(connection, message.get("id"), plan)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, connection: Connection, entry: object, plan: Plan) -> None:
        await asyncio.sleep(plan.delay("before"))
        if plan.drops_before:
            connection.cut()
            return
        reply = None if self._before is None else await self._before(plan)
        if reply is None:
            reply = self._gateway.handle(plan)
        await asyncio.sleep(plan.delay("after"))
        if plan.drops_after or reply.cut_at is not None:
            connection.cut()
            return
        connection.send({"id": entry, **_envelope(reply)})


def _envelope(reply: Reply) -> dict[str, object]:
    try:
        body = json.loads(reply.body)
    except ValueError:
        # A body that a fault has broken: what remains of the envelope has no result.
        return {"status": reply.status}
    if reply.status == 200 and not (isinstance(body, dict) and "code" in body):
        return {"status": 200, "result": body}
    return {"status": reply.status, "error": body}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
