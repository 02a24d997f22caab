"""What lines carry of the work they come from: position and order, bound once, in every service."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from services.common.logs import bind_context, configure_logging, get_logger
from services.common.order_names import position_of
from services.common.settings import LogSettings
from services.engine.instruments import LegSide
from services.engine.order_ids import client_order_id, position_key
from services.engine.orders import OrderClass
from services.engine.owned_tasks import OwnedTasks

POSITION = position_key("00000000000000100000")
ORDER = client_order_id(POSITION, LegSide.LONG, OrderClass.ENTRY, 0)
_log = get_logger("demo")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Collect what is logged, in a context of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    found = io.StringIO()
    configure_logging(LogSettings(), "demo", found)
    yield found
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged so far, less what every line has."""
    common = {"timestamp", "level", "logger", "service", "exception"}
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [{key: row[key] for key in row.keys() - common} for row in rows]


async def test_tasks_bind_for_themselves_and_those_they_start(stream: io.StringIO) -> None:
    """Two positions side by side do not lend each other their names."""

    async def tell(order: str) -> None:
        bind_context(client_order_id=order)
        await asyncio.sleep(0)
        _log.info("sent")

    async def drive(position_id: str) -> None:
        bind_context(position_id=position_id)
        await asyncio.gather(tell(f"{position_id}-a"), tell(f"{position_id}-b"))
        _log.info("settled")

    await asyncio.gather(asyncio.create_task(drive("p1")), asyncio.create_task(drive("p2")))
    _log.info("outside")
    rows = lines(stream)
    assert {"event": "outside"} in rows
    for name in ("p1", "p2"):
        assert {"event": "settled", "position_id": name} in rows
        for order in (f"{name}-a", f"{name}-b"):
            assert {"event": "sent", "position_id": name, "client_order_id": order} in rows


async def test_a_line_says_more_than_its_context(stream: io.StringIO) -> None:
    """Its own facts go first, and nothing is bound that nobody knows."""

    async def work() -> None:
        bind_context(position_id="p1", client_order_id="")
        _log.info("own", position_id="p2")
        logging.getLogger("library").warning("told")

    await asyncio.create_task(work())
    assert lines(stream) == [
        {"event": "own", "position_id": "p2"},
        {"event": "told", "position_id": "p1"},
    ]


async def test_an_order_names_its_position(stream: io.StringIO) -> None:
    """Also where the order is another's than the task's, and where nobody knows the position."""

    async def work() -> None:
        bind_context(position_id="p1")
        _log.info("news", client_order_id=ORDER)
        bind_context(client_order_id=ORDER)
        _log.info("own")
        _log.info("foreign", client_order_id="my-own-id")

    await asyncio.create_task(work())
    assert [row["position_id"] for row in lines(stream)] == [POSITION, POSITION, "p1"]


@pytest.mark.parametrize("leg", list(LegSide))
@pytest.mark.parametrize("order_class", list(OrderClass))
def test_every_order_of_the_engine_is_of_its_position(
    leg: LegSide, order_class: OrderClass
) -> None:
    """The form that services read is the one the engine writes."""
    assert position_of(client_order_id(POSITION, leg, order_class, 36**4 - 1)) == POSITION


@pytest.mark.parametrize(
    "name", ["", "own", ORDER[:-1], ORDER + "0", ORDER.upper(), "t" + ORDER[1:]]
)
def test_an_id_of_another_form_names_no_position(name: str) -> None:
    """Callers may give their orders any id."""
    assert position_of(name) == ""


def test_threads_of_libraries_name_the_service(stream: io.StringIO) -> None:
    """They begin without any context."""
    thread = threading.Thread(target=lambda: _log.info("beside"))
    thread.start()
    thread.join()
    assert json.loads(stream.getvalue())["service"] == "demo"


async def test_a_task_that_failed_is_told_with_what_it_had_bound(stream: io.StringIO) -> None:
    """The line is written by the loop, when the task is gone."""

    async def work() -> None:
        bind_context(position_id="p1")
        raise KeyError("p1")

    tasks = OwnedTasks()
    with pytest.raises(KeyError):
        await tasks.spawn(work(), "drive-p1")
    await asyncio.sleep(0)
    assert lines(stream) == [{"event": "task_failed", "task": "drive-p1", "position_id": "p1"}]


PLANTED = "canary-value-93"


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        ("database_away", {"problem": f"postgresql://engine:{PLANTED}@db:5432/journal refused"}),
        ("queue_lost", {"server": f"nats://{PLANTED}@queue:4222"}),
        ("request_failed", {"headers": {"OK-ACCESS-SIGN": PLANTED, "Content-Type": "json"}}),
        ("request_failed", {"text": f"{{'X-BAPI-API-KEY': '{PLANTED}', 'a': 1}}"}),
        ("request_failed", {"text": f"POST /order?symbol=BTCUSDT&sign={PLANTED}&x=1"}),
        ("request_failed", {"text": f"Authorization: Basic {PLANTED}"}),
        ("request_failed", {"text": f"set-cookie: {PLANTED}; Path=/"}),
        ("login_failed", {"reply": {"data": [{"access_token": PLANTED}]}}),
        ("login_failed", {"reply": f'{{"refresh_token": "{PLANTED}"}}'}),
        (
            "key_refused",
            {"problem": f"-----BEGIN EC PRIVATE KEY-----\n{PLANTED}\n-----END EC PRIVATE KEY-----"},
        ),
        (f"told password={PLANTED}", {}),
    ],
)
def test_planted_secrets_do_not_reach_the_stream(
    stream: io.StringIO, event: str, facts: dict[str, Any]
) -> None:
    """Keys, tokens, addresses with user and password, headers: through the logger itself."""
    _log.warning(event, **facts)
    logging.getLogger("library").warning("%s %s", event, facts)
    try:
        raise ValueError(f"{event} {facts}")
    except ValueError:
        _log.exception("failed")
    assert PLANTED not in stream.getvalue()
    assert stream.getvalue().count("\n") == 3
