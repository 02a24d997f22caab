"""Account rows of the venue to messages of the contract. Pure.

Positions are signed: above zero is long, and the short side of hedge mode is below zero. A
malformed row raises ValueError, KeyError or TypeError: the caller quarantines it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opensqt.market_maker.v1 import resources_pb2, types_pb2
from services.common.codec import from_millis, to_timestamp
from services.connector.row_numbers import number, positive, required, stamp, text, wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from services.connector.instruments import Instrument, InstrumentBook

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class SymbolConfig:
    """Leverage and margin type set for one symbol; leverage 0 and an empty type are unknown."""

    leverage: int = 0
    margin_type: str = ""


UNKNOWN_CONFIG: Final = SymbolConfig()


@dataclass(frozen=True, slots=True)
class MarginDebt:
    """What the spot margin account owes of one asset, and what it holds of it."""

    borrowed: Decimal
    interest: Decimal
    total: Decimal


NO_DEBT: Final = MarginDebt(ZERO, ZERO, ZERO)


def to_symbol_config(row: dict[str, Any]) -> tuple[str, SymbolConfig]:
    """Return the venue's symbol and its settings of a symbolConfig row."""
    return text(row, "symbol"), SymbolConfig(
        int(number(row, "leverage") or 0), margin_type_of(row.get("marginType"))
    )


def margin_type_of(word: Any) -> str:
    """Return "cross" or "isolated" for the venue's word, empty when it did not say."""
    lower = str(word or "").lower()
    return "cross" if lower in ("cross", "crossed") else "isolated" if lower == "isolated" else ""


def signed_size(quantity: Decimal, position_side: str) -> Decimal:
    """Return the signed quantity: in hedge mode the side counts, whatever the sign of the row."""
    if position_side == "SHORT":
        return -abs(quantity)
    return abs(quantity) if position_side == "LONG" else quantity


def to_position(
    row: dict[str, Any], instrument: Instrument, config: SymbolConfig
) -> resources_pb2.Position:
    """Return the position of a positionRisk row; v3 rows have no leverage and no margin type."""
    size = signed_size(required(row, "positionAmt"), str(row.get("positionSide", "BOTH")))
    # Binance writes 0 for "none": a liquidation price of 0 would read as infinitely safe.
    prices = {
        name: None if price is None else instrument.to_base_price(price)
        for name, price in (
            ("entry", positive(row, "entryPrice")),
            ("mark", positive(row, "markPrice")),
            ("liquidation", positive(row, "liquidationPrice")),
        )
    }
    changed = stamp(row, "updateTime")
    return resources_pb2.Position(
        symbol=instrument.symbol,
        size=wire(instrument.to_base_quantity(size)),
        entry_price=wire(prices["entry"] if size else None),
        mark_price=wire(prices["mark"]),
        unrealized_pnl=wire(number(row, "unRealizedProfit")),
        # positionRisk v3 dropped leverage and margin type; symbolConfig has them.
        leverage=int(number(row, "leverage") or config.leverage),
        margin_type=margin_type_of(row.get("marginType")) or config.margin_type,
        isolated_margin=wire(positive(row, "isolatedMargin")),
        liquidation_price=wire(prices["liquidation"] if size else None),
        initial_margin=wire(number(row, "initialMargin")),
        maintenance_margin=wire(number(row, "maintMargin")),
        update_time=to_timestamp(from_millis(changed)) if changed else None,
    )


def to_positions_of_event(
    event: Mapping[str, Any], instruments: InstrumentBook, configs: Mapping[str, SymbolConfig]
) -> list[resources_pb2.Position]:
    """Return the positions that an ACCOUNT_UPDATE message names; zero size means it was closed."""
    changed = stamp(dict(event), "T") or stamp(dict(event), "E")
    found = []
    # An ACCOUNT_UPDATE names only what changed: no list of positions is no change of any.
    for row in event["a"].get("P", ()):
        instrument = instruments.find_exchange_symbol(text(row, "s"))
        if instrument is None:
            continue
        size = signed_size(required(row, "pa"), str(row.get("ps", "BOTH")))
        entry = positive(row, "ep")
        config = configs.get(instrument.exchange_symbol, UNKNOWN_CONFIG)
        found.append(
            resources_pb2.Position(
                symbol=instrument.symbol,
                size=wire(instrument.to_base_quantity(size)),
                entry_price=wire(
                    None if entry is None or not size else instrument.to_base_price(entry)
                ),
                unrealized_pnl=wire(number(row, "up")),
                leverage=config.leverage,
                margin_type=margin_type_of(row.get("mt")) or config.margin_type,
                isolated_margin=wire(positive(row, "iw")),
                update_time=to_timestamp(from_millis(changed)) if changed else None,
            )
        )
    return found


def to_spot_balance(
    row: dict[str, Any], debts: Mapping[str, MarginDebt] | None
) -> resources_pb2.AssetBalance:
    """Return one asset of the spot wallet; `debts` None means that borrowing is not known."""
    asset = text(row, "asset")
    # Required: a balance that is missing is unknown, and would be believed to be zero.
    free, locked = required(row, "free"), required(row, "locked")
    debt = None if debts is None else debts.get(asset, NO_DEBT)
    return resources_pb2.AssetBalance(
        asset=asset,
        free=wire(free),
        locked=wire(locked),
        total=wire(free + locked),
        borrowed=wire(None if debt is None else debt.borrowed),
        interest=wire(None if debt is None else debt.interest),
        margin_total=wire(None if debt is None else debt.total),
    )


def to_futures_balance(row: dict[str, Any]) -> resources_pb2.AssetBalance:
    """Return one asset of the futures wallet; `locked` is what positions and orders hold back."""
    return resources_pb2.AssetBalance(
        asset=text(row, "asset"),
        free=wire(number(row, "availableBalance")),
        locked=wire(number(row, "initialMargin")),
        total=wire(required(row, "walletBalance")),
    )


def to_margin_debt(row: dict[str, Any]) -> tuple[str, MarginDebt]:
    """Return the asset and its debt of a row of the cross margin account."""
    total = required(row, "free") + required(row, "locked")
    debt = MarginDebt(required(row, "borrowed"), required(row, "interest"), total)
    return text(row, "asset"), debt


def is_held(balance: resources_pb2.AssetBalance) -> bool:
    """Whether a balance has an amount that is not zero."""
    return any(
        balance.HasField(name) and getattr(balance, name).value != "0"
        for name in ("total", "borrowed", "interest", "margin_total")
    )


def to_futures_account(
    row: dict[str, Any],
    balances: Iterable[resources_pb2.AssetBalance],
    positions: Iterable[resources_pb2.Position],
) -> resources_pb2.Account:
    """Return the account of a futures account answer.

    Health is 1 - maintenance margin / margin balance, not below zero.
    """
    equity, maintenance = number(row, "totalMarginBalance"), number(row, "totalMaintMargin")
    health = None
    # Without equity the ratio means nothing; absent says so, 0 would say "liquidated".
    if equity is not None and maintenance is not None and equity > 0:
        health = max(ONE - maintenance / equity, ZERO)
    return resources_pb2.Account(
        total_wallet_balance=wire(number(row, "totalWalletBalance")),
        total_margin_balance=wire(equity),
        available_balance=wire(number(row, "availableBalance")),
        positions=positions,
        health_score=wire(health),
        margin_mode=types_pb2.MARGIN_MODE_REGULAR,
        total_maintenance_margin=wire(maintenance),
        balances=[balance for balance in balances if is_held(balance)],
    )


def to_funding_payment(
    row: dict[str, Any], instruments: InstrumentBook
) -> resources_pb2.FundingPayment:
    """Return a FUNDING_FEE row of the income history; above zero was received."""
    name = text(row, "symbol")
    instrument = instruments.find_exchange_symbol(name)
    return resources_pb2.FundingPayment(
        symbol=name if instrument is None else instrument.symbol,
        asset=text(row, "asset"),
        amount=wire(required(row, "income")),
        settle_time=to_timestamp(from_millis(stamp(row, "time"))),
        payment_id=str(row["tranId"]),
    )


def to_trading_fee(row: dict[str, Any], instrument: Instrument) -> resources_pb2.TradingFee:
    """Return the fees of a commissionRate (futures) or tradeFee (spot) row."""
    maker = number(row, "makerCommissionRate")
    taker = number(row, "takerCommissionRate")
    return resources_pb2.TradingFee(
        symbol=instrument.symbol,
        maker_fee_ratio=wire(number(row, "makerCommission") if maker is None else maker),
        taker_fee_ratio=wire(number(row, "takerCommission") if taker is None else taker),
    )


def to_borrow_rate(row: dict[str, Any], observed: datetime) -> resources_pb2.BorrowRate | None:
    """Return the price of borrowing of a crossMarginData row, None when it cannot be borrowed."""
    # The table lists a rate for coins that are not lent now as well.
    if row.get("borrowable") is not True:
        return None
    return resources_pb2.BorrowRate(
        asset=text(row, "coin"),
        annualized_rate=wire(required(row, "yearlyInterest")),
        observe_time=to_timestamp(observed),
    )
