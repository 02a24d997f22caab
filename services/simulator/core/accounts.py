"""Accounts of the venue: one API key, a spot wallet, a cross-margin wallet and a futures wallet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from services.simulator.core.errors import VenueError
from services.simulator.core.money import ZERO
from services.simulator.core.orders import PositionSide
from services.simulator.core.positions import Position

DEFAULT_LEVERAGE = 20


# Not frozen: a balance changes with every fill.
@dataclass(slots=True)
class Balance:
    """What an account has of one asset: free to use, and locked in open orders."""

    free: Decimal = ZERO
    locked: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        """Return free plus locked."""
        return self.free + self.locked


class Wallet:
    """Balances by asset, for spot or for cross margin."""

    def __init__(self, seed: Mapping[str, Decimal] | None = None) -> None:
        self.balances: dict[str, Balance] = {
            asset: Balance(amount) for asset, amount in (seed or {}).items()
        }

    def get(self, asset: str) -> Balance:
        """Return the balance of one asset, made on first use."""
        return self.balances.setdefault(asset, Balance())

    def credit(self, asset: str, amount: Decimal) -> None:
        """Add to what is free."""
        self.get(asset).free += amount

    def debit(self, asset: str, amount: Decimal) -> None:
        """Take from what is free; raises VenueError -2010 when it does not suffice."""
        balance = self.get(asset)
        # a wallet can never go below zero: spot lends nothing
        if amount > balance.free:
            raise insufficient_balance()
        balance.free -= amount

    def lock(self, asset: str, amount: Decimal) -> None:
        """Move free to locked; raises VenueError -2010 when free does not suffice."""
        self.debit(asset, amount)
        self.get(asset).locked += amount

    def unlock(self, asset: str, amount: Decimal) -> None:
        """Move locked back to free."""
        balance = self.get(asset)
        balance.locked -= amount
        balance.free += amount

    def spend_locked(self, asset: str, amount: Decimal) -> None:
        """Pay out of what is locked."""
        self.get(asset).locked -= amount


# Not frozen: loans grow and shrink with margin orders and with interest.
@dataclass(slots=True)
class Loans:
    """What the cross-margin wallet owes: principal and interest by asset."""

    principal: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    interest: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    accrued_until: datetime | None = None

    def owed(self, asset: str) -> Decimal:
        """Return principal plus interest of one asset."""
        return self.principal[asset] + self.interest[asset]

    def assets(self) -> list[str]:
        """Return the assets with something owed."""
        return sorted(a for a in {*self.principal, *self.interest} if self.owed(a) > 0)


class FuturesWallet:
    """Wallet balances by settle asset, positions, leverage and modes of one futures account."""

    def __init__(self, seed: Mapping[str, Decimal] | None = None) -> None:
        self.balances: dict[str, Decimal] = dict(seed or {})
        self.positions: dict[tuple[str, PositionSide], Position] = {}
        self.leverage: dict[str, int] = {}
        self.isolated: set[str] = set()
        self.is_hedge_mode = False

    def balance(self, asset: str) -> Decimal:
        """Return the wallet balance of one settle asset, without unrealized profit."""
        return self.balances.get(asset, ZERO)

    def credit(self, asset: str, amount: Decimal) -> None:
        """Change a wallet balance; `amount` may be negative."""
        self.balances[asset] = self.balance(asset) + amount

    def position(self, symbol: str, side: PositionSide) -> Position:
        """Return the position of one symbol and side, an empty one on first use."""
        return self.positions.setdefault((symbol, side), Position(symbol, side))

    def open_positions(self) -> list[Position]:
        """Return the positions that are not flat."""
        return [position for position in self.positions.values() if position.quantity]

    def leverage_of(self, symbol: str, maximum: int) -> int:
        """Return the leverage set for a symbol, the venue's default where none was set."""
        # thin symbols allow less than the default of twenty
        return min(self.leverage.get(symbol, DEFAULT_LEVERAGE), maximum)


@dataclass(frozen=True, slots=True)
class AccountSeed:
    """An account as the settings describe it; without a passphrase any will do."""

    name: str
    api_key: str
    api_secret: str
    spot: Mapping[str, Decimal] = field(default_factory=dict)
    margin: Mapping[str, Decimal] = field(default_factory=dict)
    futures: Mapping[str, Decimal] = field(default_factory=dict)
    can_withdraw: bool = False
    passphrase: str = field(default="", repr=False)


# Not frozen: the wallets inside change, the identity does not.
@dataclass(slots=True)
class Account:
    """One customer of the venue."""

    name: str
    api_key: str
    api_secret: str = field(repr=False)
    spot: Wallet = field(default_factory=Wallet)
    margin: Wallet = field(default_factory=Wallet)
    loans: Loans = field(default_factory=Loans)
    futures: FuturesWallet = field(default_factory=FuturesWallet)
    can_withdraw: bool = False
    passphrase: str = field(default="", repr=False)


class Accounts:
    """All accounts, found by API key or by name."""

    def __init__(self, seeds: Iterable[AccountSeed]) -> None:
        self._by_name: dict[str, Account] = {}
        self._by_key: dict[str, Account] = {}
        for seed in seeds:
            self.add(seed)

    def add(self, seed: AccountSeed) -> Account:
        """Open an account, or set the balances of the one that has the name already."""
        account = self._by_name.get(seed.name)
        if account is None:
            account = Account(seed.name, seed.api_key, seed.api_secret)
            self._by_name[seed.name] = account
            self._by_key[seed.api_key] = account
        # only the assets named are set, so that a test can top up one and leave the rest
        for asset, amount in seed.spot.items():
            account.spot.get(asset).free = amount
        for asset, amount in seed.margin.items():
            account.margin.get(asset).free = amount
        account.futures.balances.update(seed.futures)
        account.can_withdraw = seed.can_withdraw
        account.passphrase = seed.passphrase or account.passphrase
        return account

    def by_key(self, api_key: str) -> Account | None:
        """Return the account of an API key."""
        return self._by_key.get(api_key)

    def by_name(self, name: str) -> Account:
        """Return the account of a name; raises KeyError."""
        return self._by_name[name]

    def all(self) -> list[Account]:
        """Return every account."""
        return list(self._by_name.values())

    def held_symbols(self) -> set[str]:
        """Return the perpetuals that anybody has a position in."""
        return {
            position.symbol
            for account in self.all()
            for position in account.futures.open_positions()
        }


def insufficient_balance() -> VenueError:
    """Return the spot venue's refusal for want of funds."""
    return VenueError(-2010, "Account has insufficient balance for requested action.")
