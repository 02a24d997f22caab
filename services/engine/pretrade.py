"""Every check on both legs before anything is sent; all failures are told together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from services.engine.claimed_funds import funds_needed
from services.engine.instruments import Book, InstrumentRules, LegSide
from services.engine.margin_room import MarginRoom
from services.engine.neutrality import is_neutral
from services.engine.orders import OrderSide
from services.engine.policy import EngineLimits
from services.engine.position import opening_side
from services.engine.pricing import depth_within, is_crossed
from services.engine.risk_failure import CheckFailure
from services.engine.sizing import meets_minimum, order_quantity

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class LegFacts:
    """What was read of one leg just before the decision.

    `held` is the account's signed position in the perpetual, 0 for spot; `own` is what positions
    of this engine hold of it. `free_quote` is what is free of the quote asset, `claimed_quote` what
    other entries under way will still take of it. `one_way` is false for an account that books both
    directions apart.
    """

    leg: LegSide
    rules: InstrumentRules
    book: Book
    book_age: timedelta
    free_quote: Decimal
    held: Decimal = _ZERO
    own: Decimal = _ZERO
    claimed_quote: Decimal = _ZERO
    one_way: bool = True
    # Of a perpetual's account, where its venue tells of it.
    room: MarginRoom | None = None

    @property
    def side(self) -> OrderSide:
        """Side of the entry order."""
        return opening_side(self.leg)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A sized entry: quantity on the common lot, references at the touch, bounds as prices."""

    lead_leg: LegSide
    quantity: Decimal
    slice_quantity: Decimal
    references: dict[LegSide, Decimal]
    worst_prices: dict[LegSide, Decimal]


@dataclass(frozen=True, slots=True)
class Exposures:
    """What is on already, worst case: notional asked by positions that are not closed."""

    symbol_notional: Decimal
    total_notional: Decimal
    open_count: int


def check_pair(long: LegFacts, short: LegFacts) -> tuple[CheckFailure, ...]:
    """Check what must hold before a size can be computed at all."""
    failures: list[CheckFailure] = []
    if long.rules.ref == short.rules.ref:
        failures.append(CheckFailure("LEGS_SAME_INSTRUMENT", None, "both legs are the same"))
    assets = {(f.rules.base_asset, f.rules.quote_asset) for f in (long, short)}
    if len(assets) > 1:
        failures.append(CheckFailure("LEGS_ASSETS_DIFFER", None, "base or quote asset differ"))
    failures += [
        CheckFailure("BOOK_UNUSABLE", facts.leg, "the book is empty or crossed")
        for facts in (long, short)
        if not facts.book.bids or not facts.book.asks or is_crossed(facts.book)
    ]
    return tuple(failures)


def check_entry(
    long: LegFacts,
    short: LegFacts,
    proposal: Proposal,
    limits: EngineLimits,
    exposures: Exposures,
) -> tuple[CheckFailure, ...]:
    """Check a sized entry on both legs and against the limits; empty when nothing is against it."""
    failures: list[CheckFailure] = []
    for facts in (long, short):
        failures += _check_trading(facts, limits)
        failures += _check_size(facts, proposal)
        failures += _check_funds(facts, proposal)
    failures += _check_hedge_of_net(long, short, proposal)
    # The dearer leg is the one that would break a limit.
    notional = proposal.quantity * max(proposal.references.values())
    failures += check_limits(notional, limits, exposures)
    return tuple(failures)


def _check_trading(facts: LegFacts, limits: EngineLimits) -> list[CheckFailure]:
    failures = []
    if not facts.rules.trading:
        failures.append(CheckFailure("NOT_TRADING", facts.leg, "the venue does not trade it now"))
    if facts.book_age > limits.max_book_age:
        failures.append(CheckFailure("BOOK_STALE", facts.leg, "the book took too long to read"))
    if facts.rules.use_margin and not facts.rules.margin_allowed:
        failures.append(
            CheckFailure("MARGIN_NOT_ALLOWED", facts.leg, "a short spot leg needs margin")
        )
    if not facts.one_way:
        failures.append(
            CheckFailure("POSITION_MODE", facts.leg, "the account must be in one-way mode")
        )
    # In one-way mode a venue nets both: our exit would close the user's position.
    if facts.rules.is_perpetual and facts.held != facts.own:
        failures.append(
            CheckFailure(
                "FOREIGN_POSITION",
                facts.leg,
                f"the account holds {facts.held - facts.own} that are not ours",
            )
        )
    return failures


def _check_size(facts: LegFacts, proposal: Proposal) -> list[CheckFailure]:
    failures = []
    rules, quantity = facts.rules, proposal.quantity
    worst = proposal.worst_prices[facts.leg]
    # The lower of the two: the venue may judge the notional by either.
    price = min(worst, proposal.references[facts.leg])
    if quantity <= 0 or quantity < rules.min_quantity:
        failures.append(CheckFailure("QUANTITY_TOO_SMALL", facts.leg, "below the minimum lot"))
    elif not meets_minimum(min(quantity, proposal.slice_quantity), price, rules):
        failures.append(
            CheckFailure("NOTIONAL_TOO_SMALL", facts.leg, f"below {rules.min_notional} in quote")
        )
    if rules.max_quantity is not None and proposal.slice_quantity > rules.max_quantity:
        failures.append(
            CheckFailure("QUANTITY_TOO_LARGE", facts.leg, f"above {rules.max_quantity}")
        )
    if depth_within(facts.book, facts.side, worst) < quantity:
        failures.append(
            CheckFailure("DEPTH_INSUFFICIENT", facts.leg, "the book is too thin within the bound")
        )
    return failures


def _check_funds(facts: LegFacts, proposal: Proposal) -> list[CheckFailure]:
    rules, free = facts.rules, facts.free_quote - facts.claimed_quote
    # The dearer of the two: funds that only just suffice fail in the middle of a pair.
    price = max(proposal.worst_prices[facts.leg], proposal.references[facts.leg])
    needed = funds_needed(rules, proposal.quantity, price)
    if free >= needed:
        return []
    text = f"{free} {rules.quote_asset} free, about {needed:.2f} needed"
    if facts.claimed_quote:
        text += f"; other entries under way take {facts.claimed_quote:.2f}"
    return [CheckFailure("BALANCE_INSUFFICIENT", facts.leg, text)]


def _check_hedge_of_net(long: LegFacts, short: LegFacts, proposal: Proposal) -> list[CheckFailure]:
    """Check that a full lead, less its fee in base, leaves a hedge the venue takes and matches."""
    lead, hedge = (long, short) if proposal.lead_leg is LegSide.LONG else (short, long)
    fee = lead.rules.base_fee_ratio if lead.side is OrderSide.BUY else _ZERO
    # The smallest slice decides: each is hedged on its own.
    net = min(proposal.quantity, proposal.slice_quantity) * (1 - fee)
    quantity = order_quantity(net, hedge.side, hedge.rules)
    larger_lot = max(lead.rules.lot_size, hedge.rules.lot_size)
    price = min(proposal.references[hedge.leg], proposal.worst_prices[hedge.leg])
    covers = quantity * (1 - (hedge.rules.base_fee_ratio if hedge.side is OrderSide.BUY else 0))
    if meets_minimum(quantity, price, hedge.rules) and is_neutral(net - covers, larger_lot):
        return []
    return [CheckFailure("HEDGE_TOO_SMALL", hedge.leg, "the lead's net fill could not be hedged")]


def check_limits(
    notional: Decimal, limits: EngineLimits, exposures: Exposures
) -> list[CheckFailure]:
    """Check the bounds of a leg, a symbol, of all and of their number for one more entry."""
    bounds = (
        ("LEG_NOTIONAL_LIMIT", "leg", notional, limits.max_leg_notional),
        (
            "SYMBOL_NOTIONAL_LIMIT",
            "symbol",
            exposures.symbol_notional + notional,
            limits.max_symbol_notional,
        ),
        (
            "TOTAL_NOTIONAL_LIMIT",
            "total",
            exposures.total_notional + notional,
            limits.max_total_notional,
        ),
    )
    failures = [
        CheckFailure(reason, None, f"{value:.2f} is above max_{name}_notional, {bound}")
        for reason, name, value, bound in bounds
        if bound is not None and value > bound
    ]
    if exposures.open_count >= limits.max_open_positions:
        failures.append(CheckFailure("POSITION_COUNT_LIMIT", None, "too many open positions"))
    return failures
