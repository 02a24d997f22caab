"""Opportunities, scans and requests between the wire and the scanner's values."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from opensqt.market_maker.v1 import instrument_pb2, opportunity_pb2, scanner_pb2, stream_pb2
from services.common.codec import (
    decimal_to_proto,
    format_decimal,
    from_millis,
    limit_fraction,
    optional_decimal,
    to_duration,
    to_timestamp,
)
from services.common.errors import InvalidFieldError
from services.common.watch_hub import CaughtUp, Heartbeat, Removed
from services.scanner.funding import MINUTE_MS
from services.scanner.instruments import InstrumentKind
from services.scanner.progress import ScanState
from services.scanner.venue_bounds import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp
    from google.type import decimal_pb2

    from services.scanner.analytics import FundingStatistics
    from services.scanner.instruments import Exclusion, InstrumentKey
    from services.scanner.opportunity import LegFunding, Opportunity
    from services.scanner.progress import ScanRecord
    from services.scanner.windows import WindowStatistics

MAX_SYMBOLS = 500
_STATES: Mapping[ScanState, scanner_pb2.ScanState.ValueType] = {
    ScanState.RUNNING: scanner_pb2.SCAN_STATE_RUNNING,
    ScanState.SUCCEEDED: scanner_pb2.SCAN_STATE_SUCCEEDED,
    ScanState.PARTIAL: scanner_pb2.SCAN_STATE_PARTIAL,
    ScanState.FAILED: scanner_pb2.SCAN_STATE_FAILED,
    ScanState.CANCELED: scanner_pb2.SCAN_STATE_CANCELED,
}
_KINDS: Mapping[InstrumentKind, instrument_pb2.InstrumentKind.ValueType] = {
    InstrumentKind.SPOT: instrument_pb2.INSTRUMENT_KIND_SPOT,
    InstrumentKind.PERPETUAL: instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What a caller wants to see; no symbols means all."""

    symbols: frozenset[str]
    min_net_apr: Decimal | None

    def wants(self, opportunity: Opportunity) -> bool:
        """Tell whether an opportunity passes."""
        if self.symbols and opportunity.pair.symbol not in self.symbols:
            return False
        return self.min_net_apr is None or opportunity.net_apr >= self.min_net_apr

    @property
    def text(self) -> str:
        """The filters as text, to tie page tokens to them."""
        bound = "" if self.min_net_apr is None else format_decimal(self.min_net_apr)
        return f"{','.join(sorted(self.symbols))}|{bound}"


def decode_filters(
    request: scanner_pb2.ListOpportunitiesRequest | scanner_pb2.WatchOpportunitiesRequest,
) -> Filters:
    """Return the filters of a request; raise InvalidFieldError naming the field that is wrong."""
    if len(request.symbols) > MAX_SYMBOLS:
        raise InvalidFieldError("symbols", f"has more than {MAX_SYMBOLS} entries")
    for index, symbol in enumerate(request.symbols):
        if not symbol or len(symbol) > 64 or not symbol.isprintable():
            raise InvalidFieldError(f"symbols[{index}]", "must be a canonical symbol, as BTCUSDT")
    return Filters(frozenset(request.symbols), optional_decimal(request, "min_net_apr"))


def decode_request_id(request: scanner_pb2.StartScanRequest) -> str:
    """Return the request id in one spelling; raise InvalidFieldError when it is no UUID."""
    if not request.request_id:
        raise InvalidFieldError("request_id", "is required")
    try:
        # One spelling, so that the same id in capitals or braces is the same request.
        return str(uuid.UUID(request.request_id))
    except ValueError:
        raise InvalidFieldError("request_id", "must be a UUID") from None


def decode_worker_count(request: scanner_pb2.ResizePoolRequest) -> int:
    """Return the number of workers wanted; raise InvalidFieldError when it is out of range."""
    if not 1 <= request.worker_count <= MAX_WORKERS:
        raise InvalidFieldError("worker_count", f"must be 1 to {MAX_WORKERS}")
    return request.worker_count


def encode_scan(record: ScanRecord, now: datetime) -> scanner_pb2.Scan:
    """Return a scan as it stands."""
    return scanner_pb2.Scan(
        scan_id=record.scan_id,
        state=_STATES[record.state],
        start_time=to_timestamp(record.start_time),
        end_time=None if record.end_time is None else to_timestamp(record.end_time),
        task_count=record.task_count,
        ended_task_count=record.ended_task_count,
        failed_task_count=record.failed_task_count,
        perpetual_count=record.perpetual_count,
        symbol_count=record.symbol_count,
        opportunity_count=record.opportunity_count,
        excluded_instruments=[_excluded(each) for each in record.exclusions],
        missing_parts=record.missing_parts,
        venue_call_count=record.venue_call_count,
        elapsed=to_duration(record.elapsed(now)),
    )


def encode_event(
    event: Removed | CaughtUp | Heartbeat, now: datetime
) -> scanner_pb2.WatchOpportunitiesResponse:
    """Return an event of a watch stream that carries no opportunity."""
    response = scanner_pb2.WatchOpportunitiesResponse(resume_token=event.token)
    match event:
        case Removed():
            response.removed_opportunity_id = event.key
        case CaughtUp():
            response.caught_up.CopyFrom(stream_pb2.StreamCaughtUp(resource_count=event.count))
        case Heartbeat():
            response.heartbeat.CopyFrom(stream_pb2.StreamHeartbeat(server_time=to_timestamp(now)))
    return response


def encode_opportunity(opportunity: Opportunity) -> opportunity_pb2.Opportunity:
    """Return an opportunity with every factor of its score and every cost."""
    pair = opportunity.pair
    message = opportunity_pb2.Opportunity(
        opportunity_id=opportunity.opportunity_id,
        revision=opportunity.revision,
        symbol=pair.symbol,
        long_leg=_instrument(pair.long_leg),
        short_leg=_instrument(pair.short_leg),
        gross_apr=_decimal(opportunity.gross_apr),
        net_apr=_decimal(opportunity.net_apr),
        naive_apr=_decimal(opportunity.naive_apr),
        round_trip_cost_ratio=_decimal(opportunity.round_trip_cost_ratio),
        break_even_hours=_decimal(opportunity.break_even_hours),
        basis_ratio=_decimal(opportunity.basis_ratio),
        quality_score=_decimal(opportunity.quality_score),
        quote_volume=_decimal(opportunity.quote_volume),
        observe_time=to_timestamp(opportunity.observe_time),
        expire_time=to_timestamp(opportunity.expire_time),
        expected_holding_time=to_duration(opportunity.expected_holding_time),
        borrow_apr=_decimal(opportunity.borrow_apr),
        cost_notional=_decimal(opportunity.cost_notional),
        capacity_notional=_decimal(opportunity.capacity_notional),
        current_apr=_decimal(opportunity.current_apr),
        caveats=opportunity.caveats,
        scan_id=opportunity.scan_id,
        long_funding=_funding(opportunity.long_funding),
        short_funding=_funding(opportunity.short_funding),
    )
    for name, factor in opportunity.score_factors.items():
        message.score_factors[name].CopyFrom(_decimal(factor))
    for name, cost in opportunity.costs.items():
        message.costs[name].CopyFrom(_decimal(cost))
    return message


def _funding(funding: LegFunding | None) -> opportunity_pb2.FundingStatistics | None:
    if funding is None:
        return None
    statistics = funding.statistics
    return opportunity_pb2.FundingStatistics(
        interval=_hours(statistics.interval_hours),
        predicted_rate=_decimal(funding.predicted_rate),
        next_funding_time=(
            None if funding.next_funding_time is None else to_timestamp(funding.next_funding_time)
        ),
        settlement_count=statistics.settlement_count,
        windows=[_window(window) for window in statistics.windows],
        mean_rate=_statistic(statistics.mean_rate),
        rate_standard_deviation=_statistic(statistics.deviation),
        stability_score=_statistic(statistics.stability_score),
        positive_ratio=_statistic(statistics.positive_ratio),
        sign_flip_count=statistics.sign_flip_count,
        regime_age=_hours(statistics.regime_hours),
        slope=_statistic(statistics.slope),
        annualized_rate=_statistic(statistics.annualized_rate),
        naive_annualized_rate=_statistic(statistics.naive_annualized_rate),
        interval_change_count=statistics.interval_change_count,
        last_settlement_time=_minute(statistics),
        price_volatility=_statistic(funding.price_volatility),
        open_interest_to_volume=_statistic(funding.open_interest_to_volume),
        predicted_rate_drift=_statistic(funding.predicted_rate_drift),
    )


def _window(window: WindowStatistics) -> opportunity_pb2.FundingWindow:
    return opportunity_pb2.FundingWindow(
        length=to_duration(timedelta(days=window.days)),
        mean_rate=_statistic(window.mean_rate),
        annualized_rate=_statistic(window.annualized_rate),
        settlement_count=window.settlement_count,
        coverage_ratio=_statistic(window.coverage_ratio),
    )


def _minute(statistics: FundingStatistics) -> Timestamp:
    return to_timestamp(from_millis(statistics.last_minute * MINUTE_MS))


def _hours(hours: float) -> Duration:
    return to_duration(timedelta(hours=hours))


def _decimal(value: Decimal | None) -> decimal_pb2.Decimal | None:
    return decimal_to_proto(None if value is None else limit_fraction(value))


def _statistic(value: float | None) -> decimal_pb2.Decimal | None:
    return None if value is None else _decimal(Decimal(repr(value)))


def _instrument(key: InstrumentKey) -> instrument_pb2.InstrumentRef:
    return instrument_pb2.InstrumentRef(
        exchange=key.venue, symbol=key.symbol, kind=_KINDS[key.kind]
    )


def _excluded(exclusion: Exclusion) -> opportunity_pb2.ExcludedInstrument:
    return opportunity_pb2.ExcludedInstrument(
        instrument=_instrument(exclusion.instrument),
        reason=exclusion.reason.value,
        detail=exclusion.detail,
    )
