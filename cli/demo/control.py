"""The simulator's control endpoint, as the demo and the tests use it."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import dataclass, field
from typing import Any


class ControlError(Exception):
    """The simulator refused a control call, or did not answer; the text says which."""


@dataclass(frozen=True, slots=True)
class SimulatorControl:
    """Calls to `/control/…` of a simulator at `address` (host:port); each may take `seconds`.

    Off loopback the simulator asks for its `token`.
    """

    address: str
    seconds: float = 10.0
    token: str = field(default="", repr=False)

    async def get(self, name: str) -> Any:
        """Read one of the books of record, the clock or the faults."""
        return await asyncio.to_thread(self._call, "GET", name, None)

    async def post(self, name: str, body: Any) -> Any:
        """Change the clock, add faults, set balances or force an event."""
        return await asyncio.to_thread(self._call, "POST", name, body)

    async def delete(self, name: str) -> Any:
        """Clear the faults."""
        return await asyncio.to_thread(self._call, "DELETE", name, None)

    def _call(self, method: str, name: str, body: Any) -> Any:
        # The standard library's, in a thread: `arb` is installed without aiohttp.
        connection = http.client.HTTPConnection(self.address, timeout=self.seconds)
        try:
            text = None if body is None else json.dumps(body)
            headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request(method, f"/control/{name}", text, headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ControlError(f"{method} /control/{name}: {error}") from None
        finally:
            connection.close()
        if reply.status >= http.client.BAD_REQUEST:
            raise ControlError(f"{method} /control/{name}: {answer}")
        return answer
