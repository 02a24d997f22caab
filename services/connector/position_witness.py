"""The account's positions as evidence about an order in doubt: when they last changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.time_codec import from_timestamp
from services.connector.instruments import InstrumentKind

if TYPE_CHECKING:
    from datetime import datetime

    from services.connector.account_reader import AccountReader
    from services.connector.instruments import Instrument


class AccountWitness:
    """Tells when the position in an instrument changed, by reading the account."""

    def __init__(self, account: AccountReader) -> None:
        self._account = account

    async def changed(self, instrument: Instrument) -> datetime | None:
        """Return the venue's stamp of the last change, of the later side in hedge mode.

        None on spot, where the venue does not say, and for a flat position, which is in no list.
        Raises RetryableError and its branches.
        """
        if instrument.kind is InstrumentKind.SPOT:
            return None
        stamps = [
            from_timestamp(row.update_time)
            for row in await self._account.positions(instrument.symbol)
            if row.symbol == instrument.symbol and row.HasField("update_time")
        ]
        return max(stamps, default=None)
