"""What the user holds himself in the pockets the engine trades: kept apart, and never traded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from services.common.errors import UnreachableError
from services.engine.events import BaselineTaken, ReconciliationBroke
from services.engine.pockets import Pocket, PocketKind
from services.engine.reconcile_ledger import LedgerLine
from services.engine.reconciliation import Expectation, is_covered

_ZERO = Decimal(0)


def first_baselines(
    lines: Mapping[Pocket, LedgerLine],
    told: Mapping[Pocket, Decimal],
    moving: Collection[Pocket],
    at: datetime,
) -> tuple[BaselineTaken, ...]:
    """Return the baselines of pockets before their first trade: all they hold but the ledger's sum.

    Raises `UnreachableError` for a pocket the venue does not tell of: what is not known before the
    first trade cannot be told from our own fills afterwards. Moving ones are left for later.
    """
    untold = [pocket for pocket in sorted(lines) if pocket not in told]
    if untold:
        raise UnreachableError(f"the venue does not tell {untold[0]}", reason="HOLDINGS_UNREAD")
    return tuple(
        BaselineTaken(at, pocket, told[pocket] - lines[pocket].quantity, "FIRST_TRADE")
        for pocket in sorted(lines)
        if pocket not in moving
    )


def adopted_baselines(
    lines: Mapping[Pocket, LedgerLine],
    told: Mapping[Pocket, Decimal],
    known: Collection[Pocket],
    at: datetime,
) -> tuple[BaselineTaken, ...]:
    """Return the baselines of held pockets that have none: journals of before there were any.

    `told` has the pockets at rest only. A perpetual was free of the user's own when it was entered
    (`pretrade` refuses it otherwise), so that a loss since then shows as a break.
    """
    return tuple(
        BaselineTaken(at, pocket, _adopted(pocket, told[pocket] - line.quantity), "ADOPTED")
        for pocket, line in sorted(lines.items())
        if pocket in told and pocket not in known and line.live
    )


def declared_baselines(
    broken: Iterable[ReconciliationBroke], expected: Mapping[Pocket, Expectation], at: datetime
) -> tuple[BaselineTaken, ...]:
    """Return the baselines an operator declares by resuming: what differs is the user's own.

    Only where all that is ours is still there, and where the ledger says what it said when the
    break was found. Anything else stays broken: a leg that is gone is nobody's holding.
    """
    return tuple(
        BaselineTaken(
            at, one.pocket, one.told - expected[one.pocket].ledger, "DECLARED_BY_OPERATOR"
        )
        for one in broken
        if one.pocket in expected
        and expected[one.pocket].total == one.expected
        and is_covered(expected[one.pocket], one.told)
    )


def _adopted(pocket: Pocket, rest: Decimal) -> Decimal:
    return _ZERO if pocket.kind is PocketKind.PERPETUAL else rest
