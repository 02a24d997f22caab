"""The one error the venue core raises: a refusal with the venue's own code and words."""

from __future__ import annotations


class VenueError(Exception):
    """A refusal: `code` and `message` are the venue's, `status` is the HTTP status of it."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.status = status


def unknown_symbol() -> VenueError:
    """Return the refusal of a symbol that is not listed."""
    return VenueError(-1121, "Invalid symbol.")


def unknown_order() -> VenueError:
    """Return the answer to a query for an order the venue does not have."""
    return VenueError(-2013, "Order does not exist.")


def cancel_refused() -> VenueError:
    """Return the answer to a cancel of an order that is not open."""
    return VenueError(-2011, "Unknown order sent.")


def outcome_unknown() -> VenueError:
    """Return the answer that leaves open whether the order was executed."""
    return VenueError(
        -1007,
        "Timeout waiting for response from backend server. "
        "Send status unknown; execution status unknown.",
        # 408 and not 504: the request was received, its outcome is what is unknown
        408,
    )
