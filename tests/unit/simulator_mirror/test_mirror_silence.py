"""A venue that asks for silence: nobody goes on, and the longest word holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import pytest

from services.simulator.mirror.addresses import Addresses
from services.simulator.mirror.data_client import DataAnswer, DataClient

SPOT, PERPETUAL = "/api/v3/depth", "/fapi/v1/depth"


class ScriptedClient(DataClient):
    """Answers each question as the test says, when it says; mutable."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(Addresses(), session, 1.0, lambda: self.seconds)
        self.seconds = 0.0
        self.asked: list[asyncio.Future[DataAnswer]] = []

    async def _get(self, url: str, path: str) -> DataAnswer:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    async def answered(self, path: str, status: int, **headers: str) -> DataAnswer:
        """Ask, and have it answered where it is sent."""
        question = asyncio.create_task(self.ask(path, ""))
        await asyncio.sleep(0)
        if self.asked and not self.asked[-1].done():
            self.asked[-1].set_result(_answer(status, headers))
        return await question


def _answer(status: int, headers: Mapping[str, str]) -> DataAnswer:
    return DataAnswer(status, b"", {"Retry-After": headers["after"]} if headers else {})


@pytest.fixture
async def client() -> AsyncIterator[ScriptedClient]:
    """Give a client whose clock the test moves."""
    async with aiohttp.ClientSession() as session:
        yield ScriptedClient(session)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"after": "7"}, 7),
        (429, {"after": "0"}, 10),
        (429, {}, 10),
        (418, {"after": "soon"}, 120),
        (403, {}, 60),
    ],
)
async def test_nothing_is_sent_until_the_silence_is_over(
    client: ScriptedClient, status: int, headers: dict[str, str], seconds: int
) -> None:
    """It is as long as was asked, and the other host of the venue is not part of it."""
    assert (await client.answered(SPOT, status, **headers)).status == status
    client.seconds = seconds - 0.5
    again = await client.answered(SPOT, 200)
    assert (again.status, again.headers) == (status, {"Retry-After": "1"})
    assert len(client.asked) == 1
    assert (await client.answered(PERPETUAL, 200)).status == 200
    client.seconds = seconds
    assert (await client.answered(SPOT, 200)).status == 200


async def test_a_shorter_word_that_comes_later_ends_no_ban(client: ScriptedClient) -> None:
    """Both questions were under way when the first was answered with a ban."""
    questions = [asyncio.create_task(client.ask(SPOT, "")) for _ in range(2)]
    await asyncio.sleep(0)
    client.asked[0].set_result(_answer(418, {"after": "600"}))
    await questions[0]
    client.asked[1].set_result(_answer(429, {"after": "1"}))
    await questions[1]
    client.seconds = 599.0
    assert (await client.answered(SPOT, 200)).status == 418
