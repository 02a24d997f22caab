"""Kept answers: asked once, believed for a bounded time, forgotten when the account changes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from services.common.errors import RetryableError
from services.connector.account_reader import AccountReader
from services.connector.kept_answers import ConfigWatch, KeptAnswers
from tests.support.hand_clock import HandClock


class Account:
    """An account whose mode the test sets; counts the questions, and can be made to wait."""

    def __init__(self) -> None:
        self.hedge: bool | None = False
        self.modes = 0
        self.fees: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.ill = False

    async def position_mode(self) -> bool | None:
        """Return the mode as it was when asked."""
        self.modes += 1
        found = self.hedge
        await self.gate.wait()
        if self.ill:
            raise RetryableError("not now")
        return found

    async def trading_fees(self, symbol: str) -> list[Any]:
        """Return no rows."""
        self.fees.append(symbol)
        return []


def kept(account: Account, clock: HandClock) -> KeptAnswers:
    """Return answers that are believed for five minutes."""
    return KeptAnswers(cast("AccountReader", account), clock, 300.0)


async def test_an_answer_is_believed_until_it_is_too_old() -> None:
    """At 300 s it is, a millisecond later it is asked for again; fees by symbol."""
    account, clock = Account(), HandClock()
    answers = kept(account, clock)
    assert await answers.position_mode() is False
    account.hedge = True
    clock.instant += timedelta(seconds=300)
    assert await answers.position_mode() is False
    clock.instant += timedelta(milliseconds=1)
    assert await answers.position_mode() is True
    assert account.modes == 2
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        await answers.trading_fees(symbol)
    assert account.fees == ["BTCUSDT", "ETHUSDT"]


async def test_callers_that_come_together_share_one_question() -> None:
    """Fifty entries at once cost one question."""
    account = Account()
    answers = kept(account, HandClock())
    assert await asyncio.gather(*(answers.position_mode() for _ in range(50))) == [False] * 50
    assert account.modes == 1


async def test_an_answer_from_before_a_change_is_not_kept() -> None:
    """The question was under way when the account changed: the next caller asks again."""
    account = Account()
    answers = kept(account, HandClock())
    account.gate.clear()
    early = asyncio.create_task(answers.position_mode())
    await asyncio.sleep(0)
    account.hedge = True
    answers.forget()
    account.gate.set()
    assert await early is False
    assert await answers.position_mode() is True


async def test_a_failure_is_not_kept() -> None:
    """The error goes to its caller, the next one asks again."""
    account = Account()
    answers = kept(account, HandClock())
    account.ill = True
    with pytest.raises(RetryableError):
        await answers.position_mode()
    account.ill = False
    assert await answers.position_mode() is False


def test_the_user_stream_tells_of_changes_and_loses_nothing() -> None:
    """Both forms of the event, and a new socket; other messages are passed on alone."""
    seen: list[Any] = []
    changes: list[None] = []

    class Observer:
        def on_headers(self, headers: Mapping[str, str]) -> None:
            seen.append(headers)

        def on_connected(self, url: str) -> None:
            seen.append(url)

        def on_message(self, message: Any) -> None:
            seen.append(message)

    watch = ConfigWatch(Observer(), lambda: changes.append(None))
    rows: list[Any] = [
        {"e": "ACCOUNT_CONFIG_UPDATE"},
        {"event": {"e": "ACCOUNT_CONFIG_UPDATE"}},
        {"e": "ORDER_TRADE_UPDATE"},
        ["no", "event"],
    ]
    for row in rows:
        watch.on_message(row)
    assert len(changes) == 2
    watch.on_connected("wss://stream")
    watch.on_headers({})
    assert len(changes) == 3
    assert seen == [*rows, "wss://stream", {}]
