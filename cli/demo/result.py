"""The last line of the demo: one JSON object from the engine's word and the venue's books."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cli.demo.books import Books, changed_coins
from opensqt.market_maker.v1 import engine_pb2, instrument_pb2
from services.common.codec import decimal_from_proto, format_decimal

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from opensqt.market_maker.v1 import opportunity_pb2, resources_pb2, scanner_pb2

QUOTE_ASSETS = frozenset({"USDT", "USDC", "BUSD", "FDUSD"})
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything the demo saw: the scan, the choice, the position and the books around it.

    `infos` describe the instruments of the long and the short leg.
    """

    scan: scanner_pb2.Scan
    opportunity: opportunity_pb2.Opportunity
    opened: engine_pb2.HedgedPosition
    closed: engine_pb2.HedgedPosition
    infos: tuple[resources_pb2.SymbolInfo, resources_pb2.SymbolInfo]
    before: Books
    after: Books

    @property
    def larger_lot(self) -> Decimal:
        """The larger lot of the two legs, in base units."""
        return max(_figure(info, "step_size") or _ZERO for info in self.infos)


def _figure(message: Message, field: str) -> Decimal | None:
    return decimal_from_proto(message, field)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value)


def _leg_after(evidence: Evidence, leg: engine_pb2.HedgedLeg) -> Decimal:
    """What the venue holds for this leg after the exit: less what the user had before it."""
    # The stack has one venue of each kind, so the kind tells the legs apart.
    info = next(i for i in evidence.infos if i.kind == leg.instrument.kind)
    if info.kind == instrument_pb2.INSTRUMENT_KIND_PERPETUAL:
        return evidence.after.positions.get(info.exchange_symbol, _ZERO)
    asset = info.base_asset
    return evidence.after.coins.get(asset, _ZERO) - evidence.before.coins.get(asset, _ZERO)


def _is_foreign_balance_untouched(evidence: Evidence, dust: Decimal) -> bool:
    """Whether no coin of the user's changed but for the dust the position declares."""
    changes = changed_coins(evidence.before, evidence.after, QUOTE_ASSETS)
    base = evidence.infos[0].base_asset
    return changes.get(base, _ZERO) in (dust, _ZERO) and not (changes.keys() - {base})


def _seconds(message: Any) -> float:
    return float(message.ToTimedelta().total_seconds())


def summary(evidence: Evidence) -> dict[str, Any]:
    """Put the figures together; `flat` is true only where the venue's own books say so."""
    opened, closed = evidence.opened, evidence.closed
    dust = _figure(closed, "dust_quantity") or _ZERO
    legs = {
        f"{leg.instrument.exchange}:{leg.instrument.symbol}": _leg_after(evidence, leg)
        for leg in (closed.long_leg, closed.short_leg)
    }
    ended = closed.state == engine_pb2.HEDGED_POSITION_STATE_CLOSED
    flat = ended and all(abs(left) < evidence.larger_lot for left in legs.values())
    return {
        "symbols_scanned": evidence.scan.perpetual_count,
        "histories_analysed": evidence.scan.symbol_count,
        "scan_seconds": round(_seconds(evidence.scan.elapsed), 3),
        "opportunities": evidence.scan.opportunity_count,
        "symbol": opened.symbol,
        "position_id": opened.position_id,
        "lead_leg": engine_pb2.LegSide.Name(opened.lead_leg).removeprefix("LEG_SIDE_").lower(),
        "lead_requested": _text(_figure(opened, "lead_requested_quantity")),
        "lead_executed": _text(_figure(opened, "lead_executed_quantity")),
        "lead_net": _text(_figure(opened, "lead_net_quantity")),
        "hedge_executed": _text(_figure(opened, "hedge_executed_quantity")),
        "residual": _text(abs(_figure(opened, "residual_quantity") or _ZERO)),
        "larger_lot": _text(evidence.larger_lot),
        "unhedged_ms": round(_seconds(opened.unhedged_time) * 1000, 3),
        "dispatch_skew_ms": round(_seconds(closed.dispatch_skew) * 1000, 3),
        "funding_received": _text(_figure(closed, "funding_received")),
        "fees_paid": _text(_figure(closed, "fees_paid")),
        "trading_pnl": _text(_figure(closed, "trading_pnl")),
        "positions_after": {name: _text(left) for name, left in legs.items()},
        "dust": _text(dust),
        "foreign_balance_untouched": _is_foreign_balance_untouched(evidence, dust),
        "duplicate_orders": len(evidence.after.duplicate_ids),
        "flat": flat,
    }
