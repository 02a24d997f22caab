"""The account: balances, positions, funding payments, fees, borrowing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2, types_pb2
from services.common.errors import InvalidFieldError, OpensqtError, UnimplementedError
from services.common.logs import get_logger
from services.connector.account_mapping import (
    NO_DEBT,
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
from services.connector.row_numbers import stamp, wire
from services.connector.venue_pages import Answer, HistoryRequest, read_history

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.instruments import Instrument
    from services.connector.row_quarantine import RowQuarantine
    from services.connector.venue_reads import VenueReads

_logger = get_logger(__name__)

_ZERO: Final = Decimal(0)
_CONFIG_SECONDS: Final = 30.0


class AccountReader:
    """Reads the account; nothing is kept but leverage and margin types, for half a minute."""

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
                balances=[one for one in (await self._spot_wallet())[0] if is_held(one)],
            )
        row, positions = await asyncio.gather(self._reads.ask("account"), self.positions())
        return self._quarantine.one(
            "account", row, lambda one: to_futures_account(one, self._futures_rows(one), positions)
        )

    async def balance(self, asset: str) -> exchange_pb2.GetBalanceResponse:
        """Return the balance of one asset; zero when the account holds none."""
        if self._reads.is_perpetual:
            balances = self._futures_rows(await self._reads.ask("account"))
            debts = None
        else:
            balances, debts = await self._spot_wallet()
        for one in balances:
            if one.asset == asset:
                return _to_balance(one)
        zero = wire(_ZERO)
        # No debt is claimed where the margin account could not be read.
        debt = None if debts is None else debts.get(asset, NO_DEBT).borrowed
        return exchange_pb2.GetBalanceResponse(
            balance=zero, free=zero, locked=zero, borrowed=wire(debt)
        )

    async def positions(self, symbol: str = "") -> list[resources_pb2.Position]:
        """Return the positions that are not zero, of one symbol or of all.

        Raises UnimplementedError on spot, NotFoundError for an unknown symbol.
        """
        self._reads.require_perpetual("positions")
        book = self._reads.venue.instruments
        wanted = book.get(symbol).exchange_symbol if symbol else None
        rows, configs = await asyncio.gather(
            self._reads.ask("positions", symbol=wanted), self.symbol_configs()
        )

        def convert(row: dict[str, Any]) -> resources_pb2.Position | None:
            instrument = instrument_of(book, row)
            if instrument is None:
                return None
            config = configs.get(instrument.exchange_symbol, UNKNOWN_CONFIG)
            position = to_position(row, instrument, config)
            # positionRisk also names symbols with orders and no position.
            return None if position.size.value == "0" else position

        return self._quarantine.collect_all("positions", rows, convert)

    async def symbol_configs(self) -> Mapping[str, SymbolConfig]:
        """Return leverage and margin type by the venue's symbol; empty when they cannot be read."""
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
        self, request: HistoryRequest
    ) -> tuple[list[resources_pb2.FundingPayment], str]:
        """Return a page of funding paid and received, oldest first, and the next page's token."""
        self._reads.require_perpetual("funding payments")
        book = self._reads.venue.instruments
        name = None if request.symbol is None else book.get(request.symbol).exchange_symbol

        async def fetch(start: int | None, end: int | None, limit: int) -> Answer:
            rows = await self._reads.ask(
                "income",
                incomeType="FUNDING_FEE",
                symbol=name,
                startTime=start,
                endTime=end,
                limit=limit,
            )
            return Answer(self._quarantine.collect_all("income", rows, _placed), len(rows))

        rows, token = await read_history(request, fetch, _place)
        found = self._quarantine.collect_all(
            "income", list(rows), lambda row: to_funding_payment(row, book)
        )
        return found, token

    async def trading_fees(self, symbol: str) -> list[resources_pb2.TradingFee]:
        """Return this account's fees of one symbol, or on spot of all.

        Raises UnimplementedError (FEES_BY_SYMBOL_ONLY) for all symbols on USD-M, which tells them
        one symbol at a time.
        """
        book = self._reads.venue.instruments
        instrument = book.get(symbol) if symbol else None
        if self._reads.is_perpetual:
            if instrument is None:
                raise UnimplementedError(
                    "the venue tells fees of one symbol at a time; name one",
                    reason="FEES_BY_SYMBOL_ONLY",
                )
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

    async def borrow_rates(self, assets: list[str]) -> list[resources_pb2.BorrowRate]:
        """Return the price of borrowing these assets on the spot margin account.

        Raises UnimplementedError where nothing can be borrowed.
        """
        if self._reads.is_perpetual:
            raise UnimplementedError("a futures account borrows nothing", reason="NOT_ON_FUTURES")
        if not assets:
            raise InvalidFieldError("assets", "needs at least one asset")
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

    async def _spot_wallet(
        self,
    ) -> tuple[list[resources_pb2.AssetBalance], Mapping[str, MarginDebt] | None]:
        row, debts = await asyncio.gather(self._reads.ask("account"), self._margin_debts())
        rows = row.get("balances") if isinstance(row, dict) else None
        balances = self._quarantine.collect_all(
            "balances", rows, lambda one: to_spot_balance(one, debts)
        )
        return balances, debts

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


def _to_balance(one: resources_pb2.AssetBalance) -> exchange_pb2.GetBalanceResponse:
    found = exchange_pb2.GetBalanceResponse(balance=one.total)
    for field in ("free", "locked", "borrowed"):
        if one.HasField(field):
            getattr(found, field).CopyFrom(getattr(one, field))
    return found


def _place(row: dict[str, Any]) -> tuple[int, str]:
    return stamp(row, "time"), f"{int(row['tranId']):020d}"


def _placed(row: dict[str, Any]) -> dict[str, Any]:
    if _place(row)[0] == 0:
        raise ValueError("a payment without time")
    return row
