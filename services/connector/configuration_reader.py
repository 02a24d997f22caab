"""What the account and its key are set to, read back for the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensqt.market_maker.v1 import exchange_pb2, types_pb2
from services.common.codec import to_duration
from services.common.errors import OpensqtError
from services.connector.account_mapping import UNKNOWN_CONFIG, SymbolConfig
from services.connector.account_problems import AccountFacts, find_problems
from services.connector.venue_questions import KeyPermissions
from services.connector.venue_upkeep import measure_skew

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import timedelta

    from services.connector.account_reader import AccountReader
    from services.connector.venue import Venue


class ConfigurationReader:
    """Reads settings; a part that cannot be read is unknown and named among the problems."""

    def __init__(self, venue: Venue, account: AccountReader) -> None:
        self._venue = venue
        self._account = account

    async def configuration(self, symbol: str) -> exchange_pb2.GetAccountConfigurationResponse:
        """Return the settings of the account, and of `symbol` when it is not empty.

        Raises NotFoundError for an unknown symbol.
        """
        venue = self._venue
        instrument = venue.instruments.get(symbol) if symbol else None
        # One unreadable part must not hide the others: the doctor is asked when things are ill.
        unread: list[str] = []
        key = await _try("the key's permissions", self._account.key_permissions(), unread)
        hedge = await _try("the position mode", self._account.position_mode(), unread)
        skew = await _try("the venue's clock", self.clock_skew(), unread)
        config = UNKNOWN_CONFIG
        if instrument is not None and venue.is_perpetual:
            configs = await self._account.symbol_configs(instrument)
            config = configs.get(instrument.exchange_symbol, UNKNOWN_CONFIG)
        facts = _facts(key, hedge, skew, config, tuple(unread), venue.is_perpetual)
        return exchange_pb2.GetAccountConfigurationResponse(
            key_can_trade=facts.can_trade,
            key_can_withdraw=facts.can_withdraw,
            ip_restricted=facts.ip_restricted,
            position_mode=to_position_mode(hedge),
            leverage=config.leverage,
            margin_mode=config.margin_type,
            clock_skew=None if skew is None else to_duration(skew),
            problems=find_problems(facts),
        )

    async def clock_skew(self) -> timedelta:
        """Return the venue's clock less ours, measured with one request."""
        return (await measure_skew(self._venue))[0]


def to_position_mode(hedge: bool | None) -> types_pb2.PositionMode.ValueType:
    """Return the wire's word; None (spot, or not known) is unspecified."""
    if hedge is None:
        return types_pb2.POSITION_MODE_UNSPECIFIED
    return types_pb2.POSITION_MODE_HEDGE if hedge else types_pb2.POSITION_MODE_ONE_WAY


async def _try(what: str, read: Awaitable[Any], unread: list[str]) -> Any:
    try:
        return await read
    except OpensqtError as error:
        unread.append(f"{what} ({error.reason})")
        return None


def _facts(
    key: KeyPermissions | None,
    hedge: bool | None,
    skew: timedelta | None,
    config: SymbolConfig,
    unread: tuple[str, ...],
    is_perpetual: bool,
) -> AccountFacts:
    known = key or KeyPermissions()
    return AccountFacts(
        is_perpetual=is_perpetual,
        can_read=known.can_read,
        can_trade=known.can_trade,
        can_withdraw=known.can_withdraw,
        ip_restricted=known.ip_restricted,
        hedge_mode=hedge,
        margin_type=config.margin_type,
        clock_skew=skew,
        unread=unread,
    )
