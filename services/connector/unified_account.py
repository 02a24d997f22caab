"""The account through ccxt's unified methods, for every venue without readers of its own."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.account_mapping import is_held
from services.connector.row_numbers import milliseconds, wire
from services.connector.unified_history import read_newest, read_windows
from services.connector.unified_rows import (
    to_unified_balance,
    to_unified_borrow_rate,
    to_unified_fee,
    to_unified_payment,
    to_unified_position,
)
from services.connector.venue_pages import Answer
from services.connector.venue_questions import (
    KeyPermissions,
    Wallet,
    fees_by_symbol_only,
    history_by_symbol_only,
)
from services.connector.venue_settings import AccountTotals, find_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.connector.account_mapping import SymbolConfig
    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.unified_reads import UnifiedReads

_logger = get_logger(__name__)
_ONE: Final = Decimal(1)
_ZERO: Final = Decimal(0)
_NO_BALANCE: Final = frozenset({"info", "free", "used", "total", "debt", "timestamp", "datetime"})


class UnifiedAccount:
    """Answers `AccountQuestions`; keeps nothing."""

    def __init__(self, reads: UnifiedReads, quarantine: RowQuarantine) -> None:
        self._reads = reads
        self._quarantine = quarantine
        self._settings = find_settings(reads.venue.profile.ccxt_id)

    async def account(self) -> resources_pb2.Account:
        """Return the whole account; on spot the balances are the account."""
        if not self._reads.venue.is_perpetual:
            held = [one for one in self._balances(await self._raw_balance()) if is_held(one)]
            return resources_pb2.Account(margin_mode=types_pb2.MARGIN_MODE_REGULAR, balances=held)
        row, positions = await asyncio.gather(self._raw_balance(), self.positions(None))
        totals = self._quarantine.one(
            "account", row, lambda one: self._settings.totals(one["info"])
        )
        return resources_pb2.Account(
            total_wallet_balance=wire(totals.wallet),
            total_margin_balance=wire(totals.equity),
            available_balance=wire(totals.available),
            positions=positions,
            is_unified=totals.is_unified,
            health_score=wire(_health(totals)),
            margin_mode=types_pb2.MARGIN_MODE_REGULAR,
            adjusted_equity=wire(totals.adjusted),
            total_maintenance_margin=wire(totals.maintenance),
            balances=[one for one in self._balances(row) if is_held(one)],
        )

    async def wallet(self) -> Wallet:
        """Return all balances."""
        balances = self._balances(await self._raw_balance())
        return Wallet(balances, debts_known=any(one.HasField("borrowed") for one in balances))

    async def positions(self, instrument: Instrument | None) -> list[resources_pb2.Position]:
        """Return the positions that are not zero, of one symbol or of all."""
        book = self._reads.venue.instruments
        names = None if instrument is None else [instrument.unified]
        rows: list[dict[str, Any]] = []
        for params in self._position_questions(instrument):
            rows.extend(await self._raw_positions(names, params))

        def convert(row: dict[str, Any]) -> resources_pb2.Position | None:
            found = book.find(str(row["symbol"]))
            if found is None:
                return None
            position = to_unified_position(row, found)
            return None if position.size.value == "0" else position

        return self._quarantine.collect_all("positions", rows, convert)

    async def symbol_configs(self, instrument: Instrument | None) -> Mapping[str, SymbolConfig]:
        """Return leverage and margin type of one symbol; position rows carry their own."""
        if instrument is None:
            return {}
        exchange = self._reads.venue.exchange
        try:
            found = await self._reads.ask(
                "symbol_config", lambda: self._settings.symbol_config(exchange, instrument)
            )
        except OpensqtError as error:
            _logger.warning("symbol_settings_unread", reason=error.reason)
            return {}
        return {instrument.exchange_symbol: found}

    async def funding_payments(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return funding paid and received, with places.

        Raises UnimplementedError (HISTORY_BY_SYMBOL_ONLY) where the venue needs a symbol.
        """
        reads, book = self._reads, self._reads.venue.instruments
        reads.require("fetchFundingHistory", "funding payments")
        if instrument is None and reads.traits.payments_by_symbol:
            raise history_by_symbol_only()
        clock = instrument or next(iter(book), None)
        if clock is None:
            return Answer([], 0)
        stop = await reads.last_instant(clock, end)
        rows = await self._raw_payments(instrument, start, stop, limit)
        wanted = [row for row in rows if (start or 0) <= milliseconds(row["timestamp"]) <= stop]
        wanted.sort(key=lambda row: milliseconds(row["timestamp"]))
        chosen = wanted[-limit:] if start is None else wanted[:limit]
        placed = self._quarantine.collect_all(
            "income", chosen, lambda row: to_unified_payment(row, book, reads.traits.payment_sign)
        )
        # By place: neighbouring windows may both have the row between them.
        return Answer(list(dict(placed).items()), len(chosen))

    async def trading_fees(self, instrument: Instrument | None) -> list[resources_pb2.TradingFee]:
        """Return this account's fees of one symbol.

        Raises UnimplementedError (FEES_BY_SYMBOL_ONLY) without one.
        """
        if instrument is None:
            raise fees_by_symbol_only()
        named: Instrument = instrument
        self._reads.require("fetchTradingFee", "fees of the account")
        exchange, traits = self._reads.venue.exchange, self._reads.traits
        row = await self._reads.ask(
            "trading_fee", lambda: exchange.fetch_trading_fee(named.unified)
        )
        return [
            self._quarantine.one(
                "trading_fees", row, lambda one: to_unified_fee(one, named, traits)
            )
        ]

    async def borrow_rates(self, assets: Sequence[str]) -> list[resources_pb2.BorrowRate]:
        """Return the price of borrowing these assets; what the venue refuses is left out."""
        reads = self._reads
        # What our orders cannot borrow has no price here either.
        if not (reads.venue.profile.margin_supported and reads.offers("fetchCrossBorrowRate")):
            raise reads.not_offered("borrowing")
        known = reads.venue.exchange.currencies or {}
        # ccxt has no currency of an asset that the venue does not list, and would break.
        return [await self._borrow_rate(asset) for asset in assets if asset in known]

    async def position_mode(self) -> bool | None:
        """Return whether the account is in hedge mode; None on spot and where not told."""
        venue = self._reads.venue
        if not venue.is_perpetual:
            return None
        # Venues that keep it per symbol keep it for all symbols of a settle coin alike.
        first = next(iter(venue.instruments), None)
        return await self._reads.ask(
            "position_mode", lambda: self._settings.hedge_mode(venue.exchange, first)
        )

    async def key_permissions(self) -> KeyPermissions:
        """Return what the key may do, as far as the venue tells."""
        venue = self._reads.venue
        return await self._reads.ask(
            "key_permissions",
            lambda: self._settings.key_permissions(venue.exchange, perpetual=venue.is_perpetual),
        )

    async def _borrow_rate(self, asset: str) -> resources_pb2.BorrowRate:
        reads = self._reads
        exchange, now = reads.venue.exchange, reads.venue.clock.now()
        row = await reads.ask("borrow_rate", lambda: exchange.fetch_cross_borrow_rate(asset))
        period = reads.traits.borrow_period
        return self._quarantine.one(
            "borrow_rates", row, lambda one: to_unified_borrow_rate(one, asset, period, now)
        )

    async def _raw_positions(
        self, names: list[str] | None, params: dict[str, Any]
    ) -> list[dict[str, Any]]:
        exchange = self._reads.venue.exchange
        rows: list[dict[str, Any]] = await self._reads.ask(
            "positions", lambda: exchange.fetch_positions(names, params)
        )
        return rows

    async def _raw_balance(self) -> dict[str, Any]:
        exchange, params = self._reads.venue.exchange, dict(self._reads.traits.params)
        row: dict[str, Any] = await self._reads.ask(
            "account", lambda: exchange.fetch_balance(params)
        )
        return row

    def _balances(self, row: dict[str, Any]) -> list[resources_pb2.AssetBalance]:
        rows = [(key, one) for key, one in row.items() if key not in _NO_BALANCE]
        return self._quarantine.collect_all(
            "balances", rows, lambda pair: to_unified_balance(pair[0], pair[1])
        )

    async def _raw_payments(
        self, instrument: Instrument | None, start: int | None, stop: int, limit: int
    ) -> list[dict[str, Any]]:
        reads, pages = self._reads, self._reads.traits.payments
        exchange = reads.venue.exchange
        name = None if instrument is None else instrument.unified

        async def window(begin: int, until: int) -> list[dict[str, Any]]:
            end = (until + 1) // 1000 + 1 if pages.end_in_seconds else until + 1
            params = {**pages.params, pages.end_name: end}
            if pages.start_name is not None:
                params[pages.start_name] = begin
            rows = await reads.ask(
                "income",
                lambda: exchange.fetch_funding_history(
                    name, begin, pages.rows, {**reads.traits.contract_params, **params}
                ),
            )
            return rows if isinstance(rows, list) else []

        if start is None:
            return await read_newest(window, pages, stop, limit)
        return await read_windows(window, pages, (start, max(start, stop)), limit)

    def _position_questions(self, instrument: Instrument | None) -> list[dict[str, Any]]:
        """Return the params of each question: one per settle asset where the venue wants it."""
        traits = self._reads.traits
        base = {**traits.contract_params, **traits.position_params}
        by_settle = traits.settle_params
        if not by_settle or instrument is not None:
            return [base]
        held = {one.settle_asset for one in self._reads.venue.instruments}
        return [{**base, **more} for settle, more in by_settle.items() if settle in held]


def _health(totals: AccountTotals) -> Decimal | None:
    # Without equity the ratio means nothing; absent says so, 0 would say "liquidated".
    if totals.equity is None or totals.maintenance is None or totals.equity <= 0:
        return None
    return max(_ONE - totals.maintenance / totals.equity, _ZERO)
