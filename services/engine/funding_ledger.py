"""What funding the perpetual legs of a position received, by the venue's own payments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from services.common.clock import Clock
from services.common.errors import OpensqtError
from services.common.logs import get_logger
from services.engine.book import PositionBook
from services.engine.events import FundingRead
from services.engine.instruments import LegSide
from services.engine.orders import AssetAmount
from services.engine.policy import EnginePolicy
from services.engine.ports import FundingPayment, VenueGateway
from services.engine.position import Position

_log = get_logger(__name__)


def holding_span(position: Position, leg: LegSide) -> tuple[datetime, datetime | None] | None:
    """Return the venue times of a leg's first fill and, once closed, of its last.

    None without a fill or without the venue's word on its time.
    """
    filled = [r.update_time for r in position.of(leg) if r.executed > 0]
    known = [at for at in filled if at is not None]
    if not known:
        return None
    return min(known), max(known) if position.status.is_final else None


def sum_payments(
    payments: Iterable[FundingPayment], span: tuple[datetime, datetime | None], quote_asset: str
) -> AssetAmount | None:
    """Return the sum of the payments within the span, each counted once; None with mixed assets.

    Without a payment it is zero in `quote_asset`.
    """
    start, end = span
    rows = {
        # Pages may overlap while rows are added at the venue: each payment counts once.
        payment.payment_id or str(payment.settle_time): payment
        for payment in payments
        if payment.settle_time >= start and (end is None or payment.settle_time <= end)
    }
    assets = {payment.asset for payment in rows.values()}
    # Coins of different worth cannot be added; no sum is better than a wrong one.
    if len(assets) > 1:
        return None
    if not assets:
        return AssetAmount(quote_asset, Decimal(0))
    return AssetAmount(assets.pop(), sum((p.amount for p in rows.values()), Decimal(0)))


def pause_between_reads(position_count: int, policy: EnginePolicy) -> timedelta:
    """Return the wait after one position is read and before the next: readings never bunch."""
    evenly = policy.funding_read_interval / max(position_count, 1)
    return max(evenly, policy.funding_read_spacing)


class FundingLedger:
    """Reads payments and books the sum when it changed."""

    def __init__(
        self, book: PositionBook, gateways: Mapping[str, VenueGateway], clock: Clock
    ) -> None:
        self._book = book
        self._gateways = gateways
        self._clock = clock

    async def read(self, position_id: str) -> bool:
        """Read both legs; false where a venue did not answer, and the sums stay as they were."""
        position = self._book.get(position_id)
        if position is None:
            return True
        complete = True
        for leg in LegSide:
            if not position.rules(leg).is_perpetual:
                continue
            try:
                complete = await self._read_leg(position, leg) and complete
            except Exception:
                # One odd answer must not end the reading of every other position.
                _log.exception("funding_unreadable", position_id=position_id, leg=leg.value)
                complete = False
        return complete

    async def _read_leg(self, position: Position, leg: LegSide) -> bool:
        span = holding_span(position, leg)
        if span is None:
            return True
        rules = position.rules(leg)
        try:
            payments = await self._gateways[rules.ref.exchange].funding_payments(
                rules.ref.symbol, span[0]
            )
        except OpensqtError:
            return False
        total = sum_payments(payments, span, rules.quote_asset)
        if total is None:
            _log.error("funding_in_several_assets", position_id=position.position_id)
            return True
        if position.funding.get(leg) != total:
            now = self._clock.now()
            self._book.record_soon(FundingRead(position.position_id, now, leg, total))
        return True
