"""The REST surface over aiohttp: reads raw requests, waits and drops as the plan says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from services.simulator.gateway import Plan, Reply, Request

API_KEY_HEADER = "X-MBX-APIKEY"
Witness = Callable[[Request, Reply], None]
"""Told of every request that the venue acted on, with its answer."""
Before = Callable[[Plan], Awaitable[Reply | None]]
"""Asked before the venue acts on a call; a reply that it returns stands in place of the venue's."""


def read_request(request: web.BaseRequest, body: str) -> Request:
    """Return the request with its raw query: a signature covers it byte for byte."""
    # not request.query: it is decoded already, and no signature would hold over it
    path, _, query = request.raw_path.partition("?")
    return Request(
        request.method,
        path,
        query,
        body,
        request.headers.get(API_KEY_HEADER),
        request.remote or "",
        {name.lower(): value for name, value in request.headers.items()},
    )


class RestGateway(Protocol):
    """The REST surface of one family of venues."""

    def receive(self, request: Request) -> Plan:
        """Look the endpoint up, draw the faults, note arriving orders."""
        ...

    def handle(self, plan: Plan) -> Reply:
        """Let the venue act on a received request and return its answer."""
        ...


class RestHandler:
    """Answers every path that is not a stream or the control endpoint."""

    def __init__(
        self, gateway: RestGateway, witness: Witness | None = None, before: Before | None = None
    ) -> None:
        self._gateway = gateway
        self._witness = witness
        self._before = before

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, or close its connection without an answer."""
        body = await request.text() if request.body_exists else ""
        plan = self._gateway.receive(read_request(request, body))
        # before the venue acts: a request held up too long fails by its own timestamp
        await _wait(plan.delay("before"))
        if plan.drops_before:
            return _drop(request)
        reply = None if self._before is None else await self._before(plan)
        if reply is None:
            reply = self._gateway.handle(plan)
        if self._witness is not None:
            self._witness(plan.request, reply)
        await _wait(plan.delay("after"))
        if plan.drops_after:
            return _drop(request)
        if reply.cut_at is not None:
            return await _send_and_cut(request, reply, reply.cut_at)
        return web.Response(
            status=reply.status,
            body=reply.body,
            headers={**reply.headers, "Content-Type": reply.content_type},
        )


async def _wait(seconds: float) -> None:
    if seconds > 0:
        await asyncio.sleep(seconds)


def _drop(request: web.Request) -> web.Response:
    # abort, not close: nothing of a response may leave, as when the machine behind is gone
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _send_and_cut(request: web.Request, reply: Reply, cut_at: int) -> web.StreamResponse:
    response = web.StreamResponse(
        status=reply.status,
        headers={
            **reply.headers,
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
        },
    )
    await response.prepare(request)
    await response.write(reply.body[:cut_at])
    if request.transport is not None:
        request.transport.close()
    return response
