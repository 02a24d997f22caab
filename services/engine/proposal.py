"""From two legs' facts and a wanted size to a sized entry and its journaled intent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.engine.depth import bearable, size_by_depth, thinner_leg
from services.engine.events import EntryIntended, OrderAllowance
from services.engine.instruments import LegSide
from services.engine.orders import OrderSide
from services.engine.policy import EnginePolicy
from services.engine.pretrade import LegFacts, Proposal
from services.engine.pricing import best_price, touch, worst_price
from services.engine.sizing import common_lot, entry_quantity, floor_to_lot, gross_up


@dataclass(frozen=True, slots=True)
class EntryWish:
    """What the caller asked: `notional` of one leg or `quantity`, a bound, perhaps a lead."""

    notional: Decimal | None
    quantity: Decimal | None
    bound_ratio: Decimal | None
    lead_leg: LegSide | None


def propose(long: LegFacts, short: LegFacts, wish: EntryWish, policy: EnginePolicy) -> Proposal:
    """Return the sized entry: what both books bear, in common lots; the thinner book leads.

    Raises ValueError where a book has no touch; `pretrade.check_pair` comes before.
    """
    facts = {LegSide.LONG: long, LegSide.SHORT: short}
    references: dict[LegSide, Decimal] = {}
    worst: dict[LegSide, Decimal] = {}
    bound = wish.bound_ratio if wish.bound_ratio is not None else policy.lead_bound_ratio
    for leg, fact in facts.items():
        price = touch(fact.book, fact.side)
        if price is None:
            raise ValueError(f"no touch on the {leg.value} leg")
        references[leg] = price
        worst[leg] = worst_price(fact.side, price, bound, fact.rules.tick_size)
    wanted = wish.quantity
    if wanted is None:
        # By the dearer leg: neither leg's notional may exceed what was asked.
        wanted = (wish.notional or Decimal(0)) / max(references.values())
    borne = {leg: bearable(fact, worst[leg]) for leg, fact in facts.items()}
    wanted = size_by_depth(wanted, borne, policy.min_size_ratio)
    quantity = entry_quantity(wanted, long.rules, short.rules)
    lead = wish.lead_leg or thinner_leg(borne)
    if policy.passive_entry and (best := best_price(facts[lead].book, facts[lead].side)):
        # It joins the queue on its own side, so that is where it is priced from.
        references[lead] = best
    return Proposal(
        lead, quantity, _slice(quantity, long, short, references, policy), references, worst
    )


def intent_of(
    position_id: str,
    at: datetime,
    long: LegFacts,
    short: LegFacts,
    proposal: Proposal,
    policy: EnginePolicy,
    opportunity_id: str,
) -> EntryIntended:
    """Return the intent of a proposal; it bounds the hedge series by its widest price."""
    lead = proposal.lead_leg
    hedge = short if lead is LegSide.LONG else long
    reference = proposal.references[hedge.leg]
    widest = worst_price(
        hedge.side, reference, max(policy.hedge_bound_ratios), hedge.rules.tick_size
    )
    # Of the gross, not the net, and of all hedges together: a venue's largest order bounds each
    # one, and slices have several.
    fee = hedge.rules.base_fee_ratio if hedge.side is OrderSide.BUY else Decimal(0)
    largest = floor_to_lot(gross_up(proposal.quantity, fee), hedge.rules.lot_size)
    return EntryIntended(
        position_id=position_id,
        at=at,
        long_rules=long.rules,
        short_rules=short.rules,
        lead_leg=lead,
        quantity=proposal.quantity,
        slice_quantity=proposal.slice_quantity,
        lead_reference=proposal.references[lead],
        lead_worst_price=proposal.worst_prices[lead],
        hedge_reference=reference,
        hedge=OrderAllowance(hedge.leg, hedge.side, largest, widest),
        opportunity_id=opportunity_id,
        passive=policy.passive_entry,
    )


def _slice(
    quantity: Decimal,
    long: LegFacts,
    short: LegFacts,
    references: dict[LegSide, Decimal],
    policy: EnginePolicy,
) -> Decimal:
    lot = common_lot(long.rules.lot_size, short.rules.lot_size)
    bounds = [quantity]
    if policy.max_slice_notional is not None:
        bounds.append(policy.max_slice_notional / max(references.values()))
    if policy.unhedged_notional_budget is not None:
        # A slice may fill whole before its hedge leaves: it is the most that can ever be naked.
        bounds.append(policy.unhedged_notional_budget / max(references.values()))
    bounds += [r.max_quantity for r in (long.rules, short.rules) if r.max_quantity is not None]
    return max(floor_to_lot(min(bounds), lot), min(lot, quantity))
