"""The last figures of every venue and the samples of every position, as guards judge them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from services.engine.guard_basis import basis_of
from services.engine.guard_facts import (
    GuardLimits,
    LegAccount,
    LegMarket,
    PairAccount,
    PairMarket,
)
from services.engine.guard_funding import hourly_carry
from services.engine.guard_ports import AccountFacts, HoldingFacts
from services.engine.instruments import InstrumentKind, InstrumentRef, LegSide
from services.engine.position import Position

_UNKNOWN = LegMarket()


class GuardMemory:
    """Figures by venue with the monotonic second they were read at; forgets closed positions."""

    def __init__(self, limits: GuardLimits) -> None:
        self._limits = limits
        self._accounts: dict[str, AccountFacts] = {}
        self._markets: dict[str, Mapping[str, LegMarket]] = {}
        self._accounts_at: dict[str, float] = {}
        self._markets_at: dict[str, float] = {}
        self._answered: set[str] = set()
        self._priced: set[str] = set()
        self._samples: dict[str, tuple[deque[Decimal], deque[Decimal]]] = {}

    def asked(self, exchange: str, now: float) -> None:
        """Wait for an answer, and count the silence of a venue that was never asked before."""
        for times in (self._accounts_at, self._markets_at):
            times.setdefault(exchange, now)
        self._answered.discard(exchange)
        self._priced.discard(exchange)

    def heard_account(self, exchange: str, now: float, account: AccountFacts) -> None:
        """Take a venue's account; it counts though the venue's markets are not told."""
        self._accounts_at[exchange] = now
        self._answered.add(exchange)
        self._accounts[exchange] = account

    def heard_markets(self, exchange: str, now: float, markets: Mapping[str, LegMarket]) -> None:
        """Take a venue's markets."""
        self._markets_at[exchange] = now
        self._priced.add(exchange)
        self._markets[exchange] = markets

    def keep(self, position_ids: Iterable[str], exchanges: Iterable[str]) -> None:
        """Forget everything of other positions and venues: silence counts only while asked."""
        wanted, venues = set(position_ids), set(exchanges)
        self._samples = {key: row for key, row in self._samples.items() if key in wanted}
        self._accounts_at = {key: at for key, at in self._accounts_at.items() if key in venues}
        self._markets_at = {key: at for key, at in self._markets_at.items() if key in venues}
        self._accounts = {key: row for key, row in self._accounts.items() if key in venues}
        self._markets = {key: rows for key, rows in self._markets.items() if key in venues}

    def sample(self, position: Position, now: float) -> None:
        """Add one sample of basis and carry, where both legs are known.

        A venue that did not answer when it was asked last has not said the same again.
        """
        rules = [position.rules(leg) for leg in LegSide]
        # A spot leg is valued by the other one's venue.
        if any(r.is_perpetual and r.ref.exchange not in self._priced for r in rules):
            return
        legs = {leg: self._market(position, leg, now) for leg in LegSide}
        size = max(self._limits.basis_intervals, self._limits.carry_intervals)
        fresh = (deque[Decimal](maxlen=size), deque[Decimal](maxlen=size))
        bases, carries = self._samples.setdefault(position.position_id, fresh)
        long, short = legs[LegSide.LONG].mark, legs[LegSide.SHORT].mark
        if long is not None and short is not None and long > 0:
            bases.append(basis_of(long, short))
        carry = hourly_carry(position, legs)
        if carry is not None:
            carries.append(carry)

    def market(self, position: Position, now: float) -> PairMarket:
        """Return the market of a position."""
        legs = {leg: self._market(position, leg, now) for leg in LegSide}
        bases, carries = self._samples.get(position.position_id, ((), ()))
        return PairMarket(legs, tuple(bases), tuple(carries))

    def account(self, position: Position, now: float, *, has_moved: bool) -> PairAccount:
        """Return the accounts behind a position; sizes of one that `has_moved` since are unknown.

        A position that came to rest while its venue answered is in the ledger and not in the
        answer. Of a venue that did not answer when it was asked last no size is known: what began
        since its last answer is not in that.
        """
        legs = {leg: self._account(position.rules(leg).ref, now) for leg in LegSide}
        if has_moved:
            legs = {leg: replace(row, size=None) for leg, row in legs.items()}
        return PairAccount(legs)

    def _silence(self, exchange: str, now: float) -> timedelta:
        # Of half an answer the half that is missing.
        at = min(self._accounts_at.get(exchange, now), self._markets_at.get(exchange, now))
        return timedelta(seconds=max(0.0, now - at))

    def _is_old(self, heard_at: float | None, now: float) -> bool:
        # Nothing is closed for a price nobody has seen for so long.
        age = 0.0 if heard_at is None else now - heard_at
        return age > self._limits.max_venue_silence.total_seconds()

    def _market(self, position: Position, leg: LegSide, now: float) -> LegMarket:
        ref = position.rules(leg).ref
        if ref.kind is InstrumentKind.SPOT:
            return self._spot_market(position, leg, now)
        if self._is_old(self._markets_at.get(ref.exchange), now):
            return _UNKNOWN
        return self._markets.get(ref.exchange, {}).get(ref.symbol, _UNKNOWN)

    def _spot_market(self, position: Position, leg: LegSide, now: float) -> LegMarket:
        """Return the index of the other leg's perpetual: what its venue takes for spot."""
        other = position.rules(leg.other).ref
        is_old = self._is_old(self._markets_at.get(other.exchange), now)
        if other.kind is InstrumentKind.SPOT or is_old:
            return _UNKNOWN
        row = self._markets.get(other.exchange, {}).get(other.symbol, _UNKNOWN)
        return LegMarket(mark=row.index)

    def _account(self, ref: InstrumentRef, now: float) -> LegAccount:
        silence = self._silence(ref.exchange, now)
        facts = self._accounts.get(ref.exchange)
        if facts is None or self._is_old(self._accounts_at.get(ref.exchange), now):
            return LegAccount(silent_for=silence)
        if ref.kind is InstrumentKind.SPOT:
            return LegAccount(
                margin_ratio=facts.margin_ratio, unified=facts.unified, silent_for=silence
            )
        row = facts.holdings.get(ref.symbol, HoldingFacts(Decimal(0)))
        # An isolated position has a margin of its own; the account's says nothing of it.
        ratio = row.margin_ratio if row.margin_ratio is not None else facts.margin_ratio
        size = row.size if ref.exchange in self._answered else None
        return LegAccount(size, row.liquidation_price, ratio, facts.unified, silence)
