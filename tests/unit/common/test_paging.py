"""Pages of lists held in memory."""

from __future__ import annotations

import base64

import pytest

from services.common.errors import InvalidFieldError
from services.common.paging import page_size, take_page

ROWS = [f"row{number}" for number in range(7)]


def _name(row: str) -> str:
    return row


def test_pages_give_every_row_once_and_end_with_an_empty_token() -> None:
    """Following the tokens walks the whole list."""
    seen: list[str] = []
    token = ""
    for _ in range(3):
        page, token = take_page(ROWS, _name, 3, token, "f")
        seen.extend(page)
    assert seen == ROWS
    assert token == ""


def test_a_row_that_appears_in_front_shifts_nothing() -> None:
    """The token names the last row, not a number of rows."""
    _, token = take_page(ROWS, _name, 3, "", "f")
    page, _ = take_page(["new", *ROWS], _name, 3, token, "f")
    assert list(page) == ["row3", "row4", "row5"]


def test_a_token_goes_with_its_filters_only() -> None:
    """Changed filters with an old token are refused."""
    _, token = take_page(ROWS, _name, 3, "", "f")
    with pytest.raises(InvalidFieldError) as caught:
        take_page(ROWS, _name, 3, token, "other")
    assert caught.value.field == "page_token"


@pytest.mark.parametrize("token", ["x", "é", "AAAA", "a" * 33])
def test_garbage_tokens_name_the_field(token: str) -> None:
    """A token that was never ours is a bad argument."""
    with pytest.raises(InvalidFieldError) as caught:
        take_page(ROWS, _name, 3, token, "f")
    assert caught.value.field == "page_token"


def test_a_forged_place_before_the_list_names_the_field() -> None:
    """A negative place would count from the end."""
    _, token = take_page(ROWS, _name, 3, "", "f")
    digest = base64.urlsafe_b64decode(token).decode().split(":")[0]
    forged = base64.urlsafe_b64encode(f"{digest}:-2:gone".encode()).decode()
    with pytest.raises(InvalidFieldError) as caught:
        take_page(ROWS, _name, 3, forged, "f")
    assert caught.value.field == "page_token"


@pytest.mark.parametrize(("asked", "rows"), [(0, 50), (1, 1), (500, 500), (9999, 500)])
def test_page_sizes_have_a_default_and_a_bound(asked: int, rows: int) -> None:
    """Zero takes the default; above the bound is the bound."""
    assert page_size(asked) == rows


def test_a_negative_page_size_is_refused() -> None:
    """It names the field."""
    with pytest.raises(InvalidFieldError) as caught:
        page_size(-1)
    assert caught.value.field == "page_size"
