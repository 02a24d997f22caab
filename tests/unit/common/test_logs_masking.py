"""Log lines: one per event, nothing secret, nothing that moves the terminal's cursor."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from services.common.logs import bind_context, configure_logging, get_logger, register_secret
from services.common.masking import MASK, MAX_TEXT_LENGTH, mask_text, mask_value
from services.common.settings import LogSettings

SECRET = "canary-value-91"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(form: Literal["json", "console"], **facts: Any) -> str:
    """Return what one event with these facts writes."""
    stream = io.StringIO()
    configure_logging(LogSettings(format=form), "demo", stream)
    get_logger("demo.part").info("order_sent", **facts)
    return stream.getvalue()


def test_a_json_line_has_time_level_service_and_facts() -> None:
    """One object per line, with the context of the task."""
    stream = io.StringIO()
    configure_logging(LogSettings(), "demo", stream)
    bind_context(position_id="p1")
    get_logger("demo.part").warning("order_sent", quantity="1.5")
    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "order_sent",
        "level": "warning",
        "logger": "demo.part",
        "service": "demo",
        "position_id": "p1",
        "quantity": "1.5",
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_hostile_text_stays_on_one_line(form: Literal["json", "console"]) -> None:
    """Newlines, escapes and direction marks are written out; a long text is cut."""
    text = written(form, problem='a\nfake {"event"}\r\x1b[2J\u202ez\x85\u2028', long="x" * 100_000)
    assert text.count("\n") == 1
    assert not set(text[:-1]) & set("\r\x1b\u202e\x85\u2028")
    assert len(text) < 2 * MAX_TEXT_LENGTH


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_is_one_line_and_masked(form: Literal["json", "console"]) -> None:
    """The traceback is there, in one line, without the secret in its message."""
    register_secret(SECRET)
    stream = io.StringIO()
    configure_logging(LogSettings(format=form), "demo", stream)
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        get_logger("demo").exception("call_failed")
    text = stream.getvalue()
    assert "ValueError" in text
    assert text.count("\n") == 1
    assert SECRET not in text


@pytest.mark.parametrize("form", ["json", "console"])
def test_registered_secrets_are_masked_wherever_they_are(form: Literal["json", "console"]) -> None:
    """In values, nested values, keys, other objects and lines of libraries."""
    register_secret(SECRET)
    text = written(
        form,
        a=SECRET,
        b={"deep": [{"er": f"x{SECRET}y"}], SECRET: 1},
        c=Exception(SECRET),
        d=(SECRET.encode(),),
    )
    stream = io.StringIO()
    configure_logging(LogSettings(format=form), "demo", stream)
    logging.getLogger("library").warning("told %s", SECRET, extra={"e": SECRET})
    assert SECRET not in text + stream.getvalue()
    assert MASK in text
    assert f"told {MASK}" in stream.getvalue()


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "apiKey",
        "secret",
        "client_secret",
        "token",
        "Signature",
        "authorization",
        "password",
    ],
)
def test_fields_with_secret_names_are_masked(key: str) -> None:
    """Whatever their value, short or numeric too."""
    assert mask_value({key: "abc", "n": 1}) == {key: MASK, "n": 1}
    assert mask_value({key: 42}) == {key: MASK}


@pytest.mark.parametrize(
    "text",
    [
        "https://host/api?symbol=BTCUSDT&signature=XYZXYZ&x=1",
        "headers {'X-MBX-APIKEY': 'XYZXYZ', 'a': 1}",
        '{"apiKey":"XYZXYZ","n":1}',
        "Authorization: Bearer XYZXYZ",
        "got bearer XYZXYZ, refused",
        "secret=XYZXYZ",
        "listenKey=XYZXYZ",
    ],
)
def test_secrets_inside_texts_are_masked(text: str) -> None:
    """As ccxt's error texts and request dumps carry them."""
    masked = mask_text(text)
    assert "XYZ" not in masked
    assert MASK in masked


def test_ordinary_text_is_left_alone() -> None:
    """Masking must not eat the log."""
    text = "placed BTCUSDT at 100.5, author known, tokens left: none"
    assert mask_text(text) == text


def test_short_values_are_not_registered() -> None:
    """Masking every 'abc' would blank ordinary words."""
    register_secret("abc")
    assert mask_text("abcdef") == "abcdef"


def test_nesting_without_end_is_cut() -> None:
    """A cyclic value cannot hang the log."""
    value: dict[str, Any] = {}
    value["self"] = value
    assert "..." in str(mask_value(value))
