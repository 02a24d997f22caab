"""Request ids of the strategy's own commands: the same decision twice is one command.

They are no UUIDs, as those of callers must be: nobody else can use one.
"""

from __future__ import annotations

_ENTER = "strategy:enter:"


def enter_request(opportunity_id: str, revision: int) -> str:
    """Return the id of the one entry an opportunity's revision may ever lead to."""
    return f"{_ENTER}{revision}:{opportunity_id}"


def entered_by(request_id: str) -> tuple[str, int] | None:
    """Return the opportunity and revision an accepted command entered; None for other commands."""
    if not request_id.startswith(_ENTER):
        return None
    revision, _, opportunity_id = request_id.removeprefix(_ENTER).partition(":")
    return opportunity_id, int(revision)


def exit_request(position_id: str) -> str:
    """Return the id of the strategy's exit of a position."""
    return f"strategy:exit:{position_id}"


def reduce_request(position_id: str, revision: int) -> str:
    """Return the id of the strategy's reduction of a position as it is at a revision."""
    return f"strategy:reduce:{revision}:{position_id}"
