"""What the venue's own books say before and after: the demo's witness, beside the engine's word."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from cli.demo.stack import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cli.demo.control import SimulatorControl

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Books:
    """One account at one moment: coins in the spot and margin wallets, perpetual positions, income.

    `coins` is net of what is owed on margin. Symbols and assets are the venue's own names.
    """

    coins: Mapping[str, Decimal]
    positions: Mapping[str, Decimal]
    funding_by_symbol: Mapping[str, Decimal]
    duplicate_ids: tuple[str, ...]


async def read_books(control: SimulatorControl) -> Books:
    """Read the books of record of the demo's account."""
    balances: list[dict[str, Any]] = await control.get("balances")
    positions: list[dict[str, Any]] = await control.get("positions")
    income: list[dict[str, Any]] = await control.get("income")
    requests: list[dict[str, Any]] = await control.get("requests")
    coins: dict[str, Decimal] = {}
    for account in balances:
        if account["account"] == ACCOUNT:
            for wallet, sign in (("spot", 1), ("margin", 1), ("owed", -1)):
                for asset, amount in account[wallet].items():
                    coins[asset] = coins.get(asset, _ZERO) + sign * Decimal(amount)
    funding: dict[str, Decimal] = {}
    for row in income:
        if row["account"] == ACCOUNT and row["type"] == "FUNDING_FEE":
            funding[row["symbol"]] = funding.get(row["symbol"], _ZERO) + Decimal(row["amount"])
    sent = Counter(row["client_order_id"] for row in requests if row["client_order_id"])
    return Books(
        coins=coins,
        positions={
            row["symbol"]: Decimal(row["quantity"])
            for row in positions
            if row["account"] == ACCOUNT
        },
        funding_by_symbol=funding,
        duplicate_ids=tuple(sorted(name for name, count in sent.items() if count > 1)),
    )


def changed_coins(before: Books, after: Books, quote_assets: frozenset[str]) -> dict[str, Decimal]:
    """Return by how much each coin that is not a quote asset changed; empty when none did."""
    assets = (set(before.coins) | set(after.coins)) - quote_assets
    changes = {
        asset: after.coins.get(asset, _ZERO) - before.coins.get(asset, _ZERO) for asset in assets
    }
    return {asset: change for asset, change in sorted(changes.items()) if change}
