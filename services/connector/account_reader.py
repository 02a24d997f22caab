"""The account: balances, positions, funding payments, fees, borrowing."""

from __future__ import annotations

from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from opensqt.market_maker.v1 import exchange_pb2, resources_pb2
from services.common.errors import InvalidFieldError, UnimplementedError
from services.connector.row_numbers import wire
from services.connector.venue_pages import Answer, HistoryRequest, read_history

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.connector.account_mapping import SymbolConfig
    from services.connector.instruments import Instrument
    from services.connector.venue import Venue
    from services.connector.venue_questions import AccountQuestions, KeyPermissions

_ZERO: Final = Decimal(0)


class AccountReader:
    """Checks what is asked for and asks the venue."""

    def __init__(self, venue: Venue, questions: AccountQuestions) -> None:
        self._venue = venue
        self._questions = questions

    async def account(self) -> resources_pb2.Account:
        """Return the whole account; on spot the balances are the account."""
        return await self._questions.account()

    async def balance(self, asset: str) -> exchange_pb2.GetBalanceResponse:
        """Return the balance of one asset; zero when the account holds none."""
        wallet = await self._questions.wallet()
        for one in wallet.balances:
            if one.asset == asset:
                return _to_balance(one)
        zero = wire(_ZERO)
        # No debt is claimed where the margin account could not be read.
        return exchange_pb2.GetBalanceResponse(
            balance=zero, free=zero, locked=zero, borrowed=zero if wallet.debts_known else None
        )

    async def positions(self, symbol: str = "") -> list[resources_pb2.Position]:
        """Return the positions that are not zero, of one symbol or of all.

        Raises UnimplementedError on spot, NotFoundError for an unknown symbol.
        """
        self._venue.require_perpetual("positions")
        return await self._questions.positions(self._find(symbol))

    async def symbol_configs(
        self, instrument: Instrument | None = None
    ) -> Mapping[str, SymbolConfig]:
        """Return leverage and margin type by the venue's symbol; empty when they cannot be read."""
        return await self._questions.symbol_configs(instrument)

    async def funding_payments(
        self, request: HistoryRequest
    ) -> tuple[list[resources_pb2.FundingPayment], str]:
        """Return a page of funding paid and received, oldest first, and the next page's token."""
        self._venue.require_perpetual("funding payments")
        instrument = self._find(request.symbol or "")

        async def fetch(start: int | None, end: int | None, limit: int) -> Answer:
            return await self._questions.funding_payments(instrument, start, end, limit)

        rows, token = await read_history(request, fetch, itemgetter(0))
        return [row for _, row in rows if row is not None], token

    async def trading_fees(self, symbol: str) -> list[resources_pb2.TradingFee]:
        """Return this account's fees of one symbol, or of all where the venue tells them so.

        Raises UnimplementedError (FEES_BY_SYMBOL_ONLY) for all symbols elsewhere.
        """
        return await self._questions.trading_fees(self._find(symbol))

    async def borrow_rates(self, assets: list[str]) -> list[resources_pb2.BorrowRate]:
        """Return the price of borrowing these assets on the spot margin account.

        Raises UnimplementedError where nothing can be borrowed.
        """
        if self._venue.is_perpetual:
            raise UnimplementedError("a futures account borrows nothing", reason="NOT_ON_FUTURES")
        if not assets:
            raise InvalidFieldError("assets", "needs at least one asset")
        return await self._questions.borrow_rates(assets)

    async def position_mode(self) -> bool | None:
        """Return whether the account is in hedge mode; None on spot and where not told."""
        return await self._questions.position_mode() if self._venue.is_perpetual else None

    async def key_permissions(self) -> KeyPermissions:
        """Return what the key may do, as far as the venue tells."""
        return await self._questions.key_permissions()

    def _find(self, symbol: str) -> Instrument | None:
        return self._venue.instruments.get(symbol) if symbol else None


def _to_balance(one: resources_pb2.AssetBalance) -> exchange_pb2.GetBalanceResponse:
    found = exchange_pb2.GetBalanceResponse(balance=one.total)
    for field in ("free", "locked", "borrowed"):
        if one.HasField(field):
            getattr(found, field).CopyFrom(getattr(one, field))
    return found
