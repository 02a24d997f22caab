"""The header `traceparent`: what is read of it, what is written, and which traces are kept."""

from __future__ import annotations

import pytest

from services.common.trace_context import (
    TraceContext,
    context_of_scan,
    is_kept,
    read_traceparent,
)

SHOWN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
READ = TraceContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7)


def test_a_context_is_written_as_it_is_read() -> None:
    """The example of the recommendation, both ways."""
    assert read_traceparent(SHOWN) == READ
    assert READ.traceparent == SHOWN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        SHOWN.removesuffix("01") + "00",
        SHOWN + "-more",
        "ff" + SHOWN[2:],
        SHOWN.upper(),
        SHOWN.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        SHOWN.replace("00f067aa0ba902b7", "0" * 16),
        f" {SHOWN}",
        "x" * 10_000,
    ],
)
def test_what_is_malformed_or_not_sampled_is_no_context(text: str) -> None:
    """Callers write that header: nothing they send does harm."""
    assert read_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """What follows the flags is left to those who know it."""
    assert read_traceparent(f"01{SHOWN[2:]}-what-comes") == READ


def test_every_service_keeps_the_same_traces() -> None:
    """The choice is made by the id alone, so that a link leads somewhere."""
    ids = [context_of_scan(str(number)).trace_id for number in range(2_000)]
    kept = [name for name in ids if is_kept(name, 0.25)]
    assert 400 < len(kept) < 600
    assert all(is_kept(name, 1.0) for name in ids)
    assert not any(is_kept(name, 0.0) for name in ids)
    assert set(kept) <= {name for name in ids if is_kept(name, 0.5)}


def test_a_scan_has_one_name_everywhere() -> None:
    """Whoever links to it makes the same context as the scanner."""
    assert context_of_scan("a") == context_of_scan("a") != context_of_scan("b")
