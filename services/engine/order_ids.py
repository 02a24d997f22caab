"""Client order ids as a pure function of position, leg, purpose and attempt.

A restart therefore asks the venue about the same ids. Fixed widths make the function injective;
lowercase letters and digits, 22 characters, never starting with `t`, pass at every venue.
"""

from __future__ import annotations

from services.engine.instruments import LegSide
from services.engine.orders import OrderClass

KEY_LENGTH = 16
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
# 1.6 million attempts: at one in five seconds more than ninety days of one exit.
_ATTEMPT_WIDTH = 4
_LEGS = {LegSide.LONG: "l", LegSide.SHORT: "s"}
_CLASSES = {
    OrderClass.ENTRY: "e",
    OrderClass.HEDGE: "h",
    OrderClass.UNWIND: "u",
    OrderClass.EXIT: "x",
}


def position_key(random_id: str) -> str:
    """Return the position id made from a random id of `[a-z0-9]`: `p` and its first 15 characters.

    Raises ValueError where the id is too short.
    """
    if len(random_id) < KEY_LENGTH - 1:
        raise ValueError("a position key needs 15 random characters")
    return "p" + random_id[: KEY_LENGTH - 1]


def client_order_id(key: str, leg: LegSide, order_class: OrderClass, attempt: int) -> str:
    """Return the id of attempt number `attempt` (from 0) of one series.

    Raises ValueError for a key of another length or an attempt beyond 36^4.
    """
    if len(key) != KEY_LENGTH:
        raise ValueError(f"a position key has {KEY_LENGTH} characters")
    if not 0 <= attempt < 36**_ATTEMPT_WIDTH:
        raise ValueError(f"attempt out of range: {attempt}")
    digits = ""
    for _ in range(_ATTEMPT_WIDTH):
        attempt, digit = divmod(attempt, 36)
        digits = _DIGITS[digit] + digits
    return f"{key}{_LEGS[leg]}{_CLASSES[order_class]}{digits}"
