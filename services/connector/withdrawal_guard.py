"""No start with a key that can take the money away, unless the settings say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from services.common.errors import AuthError, FatalError, OpensqtError, RetryableError
from services.common.logs import get_logger

if TYPE_CHECKING:
    from services.common.clock import Clock
    from services.connector.account_reader import AccountReader
    from services.connector.venue_questions import KeyPermissions

_logger = get_logger(__name__)
_ATTEMPTS: Final = 4
_FIRST_WAIT_SECONDS: Final = 0.2


async def check_withdrawal(
    account: AccountReader, clock: Clock, *, allowed: bool, is_paper: bool = False
) -> None:
    """Raise FatalError (WITHDRAWAL_KEY) for a key that may withdraw, unless that is `allowed`.

    NO_PAPER_VENUE where the key of paper is refused: whatever answers there is another venue. A
    venue that does not tell, or does not answer after some tries, stops nothing: it is logged,
    and the doctor says so too. Trading needs no such permission, a stolen key does.
    """
    permissions = await _read(account, clock, is_paper=is_paper)
    if permissions is None:
        return
    if permissions.can_withdraw is None:
        _logger.warning("withdrawal_permission_not_told", hint="check the key on the venue's page")
    elif permissions.can_withdraw and not allowed:
        raise FatalError(
            "the API key may withdraw; make one that may not,"
            " or set allow_withdrawal_key = true under [connector]",
            reason="WITHDRAWAL_KEY",
        )
    elif permissions.can_withdraw:
        _logger.warning("withdrawal_key_allowed")


async def _read(account: AccountReader, clock: Clock, *, is_paper: bool) -> KeyPermissions | None:
    wait = _FIRST_WAIT_SECONDS
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await account.key_permissions()
        except RetryableError as error:
            reason = error.reason
            # Not for ever: a venue whose wallet pages are down for maintenance still trades.
            if attempt < _ATTEMPTS:
                await clock.sleep(wait)
                wait *= 2
        except OpensqtError as error:
            reason = error.reason
            if is_paper and isinstance(error, AuthError):
                raise FatalError(
                    "what answers at paper_url is no paper venue: it refuses the key of paper;"
                    " name a simulator with [mirror]",
                    reason="NO_PAPER_VENUE",
                ) from error
            break
    _logger.warning("key_permissions_unread", reason=reason)
    return None
