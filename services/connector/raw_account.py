"""The account from the venue's own rows: what Binance is asked for balances, positions, fees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.connector.account_mapping import (
    UNKNOWN_CONFIG,
    MarginDebt,
    SymbolConfig,
    is_held,
    to_borrow_rate,
    to_funding_payment,
    to_futures_account,
    to_futures_balance,
    to_margin_debt,
    to_position,
    to_spot_balance,
    to_symbol_config,
    to_trading_fee,
)
from services.connector.market_mapping import instrument_of
from services.connector.row_numbers import stamp
from services.connector.venue_pages import Answer
from services.connector.venue_questions import KeyPermissions, Wallet, fees_by_symbol_only

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_reads import VenueReads

_logger = get_logger(__name__)

_CONFIG_SECONDS: Final = 30.0


class RawAccount:
    """Answers `AccountQuestions`; keeps only leverage and margin types, for half a minute."""

    def __init__(self, reads: VenueReads, quarantine: RowQuarantine) -> None:
        self._reads = reads
        self._quarantine = quarantine
        self._configs: Mapping[str, SymbolConfig] = {}
        self._configs_at: float | None = None

    async def account(self) -> resources_pb2.Account:
        """Return the whole account; on spot the balances are the account."""
        if not self._reads.is_perpetual:
            return resources_pb2.Account(
                margin_mode=types_pb2.MARGIN_MODE_REGULAR,
                balances=[one for one in (await self._spot_wallet()).balances if is_held(one)],
            )
        row, positions = await asyncio.gather(self._reads.ask("account"), self.positions(None))
        return self._quarantine.one(
            "account", row, lambda one: to_futures_account(one, self._futures_rows(one), positions)
        )

    async def wallet(self) -> Wallet:
        """Return all balances; the debts of the spot margin account when they can be read."""
        if self._reads.is_perpetual:
            return Wallet(self._futures_rows(await self._reads.ask("account")), debts_known=False)
        return await self._spot_wallet()

    async def positions(self, instrument: Instrument | None) -> list[resources_pb2.Position]:
        """Return the positions that are not zero, of one symbol or of all."""
        book = self._reads.venue.instruments
        wanted = None if instrument is None else instrument.exchange_symbol
        rows, configs = await asyncio.gather(
            self._reads.ask("positions", symbol=wanted), self.symbol_configs(None)
        )

        def convert(row: dict[str, Any]) -> resources_pb2.Position | None:
            found = instrument_of(book, row)
            if found is None:
                return None
            config = configs.get(found.exchange_symbol, UNKNOWN_CONFIG)
            position = to_position(row, found, config)
            # positionRisk also names symbols with orders and no position.
            return None if position.size.value == "0" else position

        return self._quarantine.collect_all("positions", rows, convert)

    async def symbol_configs(self, instrument: Instrument | None) -> Mapping[str, SymbolConfig]:
        """Return leverage and margin types of all symbols; empty when they cannot be read."""
        now = self._reads.venue.clock.monotonic()
        if self._configs_at is not None and now - self._configs_at < _CONFIG_SECONDS:
            return self._configs
        try:
            rows = await self._reads.ask("symbol_config")
        except OpensqtError as error:
            _logger.warning("symbol_settings_unread", reason=error.reason)
            # Not an error: a position without its leverage is better than no position at all.
            return {}
        found = dict(self._quarantine.collect("symbol_config", rows, to_symbol_config))
        self._configs, self._configs_at = found, now
        return found

    async def funding_payments(
        self, instrument: Instrument | None, start: int | None, end: int | None, limit: int
    ) -> Answer:
        """Return funding paid and received, with places."""
        book = self._reads.venue.instruments
        name = None if instrument is None else instrument.exchange_symbol

        def placed(row: dict[str, Any]) -> tuple[tuple[int, str], resources_pb2.FundingPayment]:
            time = stamp(row, "time")
            if not time:
                raise ValueError("a payment without time")
            return (time, f"{int(row['tranId']):020d}"), to_funding_payment(row, book)

        rows = await self._reads.ask(
            "income",
            incomeType="FUNDING_FEE",
            symbol=name,
            startTime=start,
            endTime=end,
            limit=limit,
        )
        return Answer(self._quarantine.collect_all("income", rows, placed), len(rows))

    async def trading_fees(self, instrument: Instrument | None) -> list[resources_pb2.TradingFee]:
        """Return this account's fees of one symbol, or on spot of all.

        Raises UnimplementedError (FEES_BY_SYMBOL_ONLY) for all symbols on USD-M, which tells them
        one symbol at a time.
        """
        book = self._reads.venue.instruments
        if self._reads.is_perpetual:
            if instrument is None:
                raise fees_by_symbol_only()
            row = await self._reads.ask("commission_rate", symbol=instrument.exchange_symbol)
            named: Instrument = instrument
            return [
                self._quarantine.one("commission_rate", row, lambda one: to_trading_fee(one, named))
            ]
        wanted = None if instrument is None else instrument.exchange_symbol
        rows = await self._reads.ask("trading_fees", symbol=wanted)

        def convert(row: dict[str, Any]) -> resources_pb2.TradingFee | None:
            found = instrument_of(book, row)
            return None if found is None else to_trading_fee(row, found)

        return self._quarantine.collect("trading_fees", rows, convert)

    async def borrow_rates(self, assets: Sequence[str]) -> list[resources_pb2.BorrowRate]:
        """Return the price of borrowing these assets on the spot margin account."""
        rows = await self._reads.ask("borrow_rates")
        now = self._reads.venue.clock.now()
        found = self._quarantine.collect("borrow_rates", rows, lambda row: to_borrow_rate(row, now))
        wanted = set(assets)
        return [rate for rate in found if rate.asset in wanted]

    async def position_mode(self) -> bool | None:
        """Return whether the account is in hedge mode; None on spot."""
        if not self._reads.is_perpetual:
            return None
        row = await self._reads.ask("position_mode")
        return self._quarantine.one(
            "position_mode", row, lambda one: _flag(one, "dualSidePosition")
        )

    async def key_permissions(self) -> KeyPermissions:
        """Return what /sapi/v1/account/apiRestrictions says of the key."""
        row = await self._reads.ask("key_permissions")
        trade = "enableFutures" if self._reads.is_perpetual else "enableSpotAndMarginTrading"
        return KeyPermissions(
            can_read=_optional_flag(row, "enableReading"),
            can_trade=_optional_flag(row, trade),
            can_withdraw=_optional_flag(row, "enableWithdrawals"),
            ip_restricted=_optional_flag(row, "ipRestrict"),
        )

    async def _spot_wallet(self) -> Wallet:
        row, debts = await asyncio.gather(self._reads.ask("account"), self._margin_debts())
        rows = row.get("balances") if isinstance(row, dict) else None
        balances = self._quarantine.collect_all(
            "balances", rows, lambda one: to_spot_balance(one, debts)
        )
        listed = {one.asset for one in balances}
        # A venue may leave out coins the wallet has none of, which the margin account still owes.
        absent = {"free": "0", "locked": "0"}
        balances += [
            to_spot_balance({"asset": asset, **absent}, debts)
            for asset in (debts or {})
            if asset not in listed
        ]
        return Wallet(balances, debts_known=debts is not None)

    async def _margin_debts(self) -> Mapping[str, MarginDebt] | None:
        """Return what the margin account owes, None when it cannot be read."""
        try:
            row = await self._reads.ask("margin_account")
            rows = row.get("userAssets") if isinstance(row, dict) else None
            return dict(self._quarantine.collect_all("margin_account", rows, to_margin_debt))
        except OpensqtError as error:
            _logger.warning("margin_account_unread", reason=error.reason)
            return None

    def _futures_rows(self, row: Any) -> list[resources_pb2.AssetBalance]:
        rows = row.get("assets") if isinstance(row, dict) else None
        return self._quarantine.collect_all("balances", rows, to_futures_balance)


def _flag(row: dict[str, Any], key: str) -> bool:
    value = row[key]
    if not isinstance(value, bool):
        raise ValueError(f"{key} is no truth value")
    return value


def _optional_flag(row: Any, key: str) -> bool | None:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, bool) else None
