"""The one object that knows where the real venue is. It reads: GET, public paths, nothing else.

There is no way through it for an order or a signed call: it takes no method, no body, no headers
and no key, and refuses paths that are not public and parameters that belong to a signature.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import aiohttp

from services.simulator.mirror.addresses import Addresses, kind_of
from services.simulator.mirror.used_weight import Need, UsedWeight

MOST_BYTES: Final = 64 * 1024 * 1024
"""The longest answer, exchangeInfo, has some ten million bytes."""
SIGNED_PARAMETERS: Final = frozenset({"signature", "timestamp", "recvWindow", "listenKey"})
TOLD_HEADERS: Final = ("X-MBX-USED-WEIGHT-1M", "Retry-After")
"""What a client's own rate budget lives on; the rest of the headers ends here."""
SILENCES: Final = {403: 60.0, 418: 120.0, 429: 10.0}
"""Statuses by which the venue asks for silence, and the seconds where it names none."""


class DataAwayError(Exception):
    """The venue's public data could not be read; the text says why."""


@dataclass(frozen=True, slots=True)
class DataAnswer:
    """An answer of the venue as it came."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class DataClient:
    """Reads public data of one venue."""

    def __init__(
        self,
        addresses: Addresses,
        session: aiohttp.ClientSession,
        timeout_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = addresses
        self._monotonic = monotonic
        self._silences: dict[str, tuple[float, DataAnswer]] = {}
        self._used_weight = UsedWeight(monotonic)
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def ask(self, path: str, query: str) -> DataAnswer:
        """Return the venue's answer, whatever its status.

        While the venue has asked for silence that answer is given again, and nothing is sent: it
        bans the address for longer whoever goes on, and the connectors share it.

        Raises DataAwayError when none comes, ValueError for what is not public.
        """
        try:
            address = self._addresses.of_path(path)
        except KeyError:
            raise ValueError(f"not public: {path}") from None
        names = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        if names & SIGNED_PARAMETERS:
            raise ValueError(f"a public call carries no {', '.join(names & SIGNED_PARAMETERS)}")
        silence = self._silence(address)
        if silence is not None:
            return silence
        answer = await self._get(f"{address}{path}{'?' if query else ''}{query}", path)
        self._used_weight.note(kind_of(path), answer.headers)
        if answer.status in SILENCES:
            self._keep_silent(address, answer)
        return answer

    def _keep_silent(self, address: str, answer: DataAnswer) -> None:
        named = answer.headers.get("Retry-After", "")
        seconds = float(named) if named.isdecimal() else 0.0
        end = self._monotonic() + (seconds or SILENCES[answer.status])
        # what was under way is answered in any order: the longest silence holds
        if end > self._silences.get(address, (0.0, answer))[0]:
            self._silences[address] = (end, answer)

    def _silence(self, address: str) -> DataAnswer | None:
        end, answer = self._silences.get(address, (0.0, None))
        left = math.ceil(end - self._monotonic())
        if answer is None or left <= 0:
            return None
        return DataAnswer(answer.status, answer.body, {"Retry-After": str(left)})

    async def _get(self, url: str, path: str) -> DataAnswer:
        try:
            async with self._session.get(
                url, timeout=self._timeout, allow_redirects=False
            ) as response:
                body = await response.content.read(MOST_BYTES)
                while len(body) < MOST_BYTES and (part := await response.content.read(MOST_BYTES)):
                    body += part
                told = {
                    name: response.headers[name]
                    for name in TOLD_HEADERS
                    if name in response.headers
                }
                return DataAnswer(response.status, body, told)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise DataAwayError(f"no answer to {path}: {type(error).__name__} {error}") from error

    async def read(self, path: str, need: Need, /, **params: object) -> Any:
        """Return the parsed answer; raises DataAwayError unless it is a success in JSON.

        Nothing is sent, and DataAwayError raised, while so much of the address's weight is used
        that a reading of that need has to wait.
        """
        put_off = self._used_weight.problem(kind_of(path), need)
        if put_off is not None:
            raise DataAwayError(put_off)
        answer = await self.ask(path, urlencode(params))
        if answer.status != 200:
            raise DataAwayError(f"{path} was answered with {answer.status}")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise DataAwayError(f"{path} was answered with no JSON") from error
