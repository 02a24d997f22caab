"""The margin of an account as an entry would leave it, simulated before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from services.engine.guard_facts import GuardLimits
from services.engine.guard_ports import AccountFacts
from services.engine.instruments import InstrumentRules, LegSide
from services.engine.risk_failure import CheckFailure

_ZERO = Decimal(0)
_MAINTENANCE_SHARE = Decimal("0.5")
"""Most that maintenance is of the initial margin: a half at the venue's highest leverage (Binance
USD-M, leverage brackets), less at any lower one."""


@dataclass(frozen=True, slots=True)
class MarginRoom:
    """What a futures account has and holds, in quote asset.

    `maintenance` is demanded now, `notional` the unsigned sum of its positions at their marks.
    """

    balance: Decimal
    maintenance: Decimal
    notional: Decimal


def room_of(account: AccountFacts) -> MarginRoom | None:
    """Return the room of an account; None where the venue does not tell enough of it."""
    if account.balance is None or account.maintenance is None:
        return None
    notional = _ZERO
    for row in account.holdings.values():
        if row.size != 0 and row.mark is None:
            return None
        notional += abs(row.size) * (row.mark or _ZERO)
    return MarginRoom(account.balance, account.maintenance, notional)


def check_margin_room(
    leg: LegSide,
    rules: InstrumentRules,
    room: MarginRoom | None,
    added: Decimal,
    limits: GuardLimits,
) -> tuple[CheckFailure, ...]:
    """Check that an entry of `added` notional would not at once be what the guards act upon.

    The account is taken with the entry on: its margin ratio must stay below the warning, and the
    adverse move of all it holds that leads to liquidation above the warning distance.
    """
    if room is None or not rules.is_perpetual:
        return ()
    # The fee is paid out of the balance that backs the position.
    balance = room.balance - added * rules.taker_fee_ratio
    maintenance = room.maintenance + added * rules.initial_margin_ratio * _MAINTENANCE_SHARE
    failures = []
    warn = limits.margin_warn_ratio
    if warn is not None and maintenance >= warn * balance:
        text = f"{maintenance:.2f} of {balance:.2f} margin would be demanded, the bound is {warn}"
        failures.append(CheckFailure("MARGIN_AFTER_ENTRY", leg, text))
    nearest = limits.liquidation_warn_distance
    total = room.notional + added
    if nearest is not None and balance - maintenance <= nearest * total:
        move = (balance - maintenance) / total
        text = f"a move of {move:.4f} would liquidate the account then, the bound is {nearest}"
        failures.append(CheckFailure("LIQUIDATION_AFTER_ENTRY", leg, text))
    return tuple(failures)
