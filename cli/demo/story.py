"""What the demo does, step by step, on a running stack: scan, enter, hold, leave."""

from __future__ import annotations

import asyncio
import math
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING

from cli.clients import connector_client, engine_client, scanner_client
from cli.demo.books import Books, read_books
from cli.demo.processes import StackError
from cli.demo.result import Evidence
from cli.demo.stack import ACCOUNT
from cli.progress import scan_progress
from cli.scan_words import scan_summary
from cli.scanning import OpportunityFilter, list_opportunities, run_scan
from cli.tables import figure, instrument, opportunity_table, order_table, percent
from cli.trading import ENDED_STATES, SETTLED_STATES, EntryOrder, entry_request, wait_settled
from opensqt.market_maker.v1 import (
    engine_pb2,
    exchange_pb2,
    instrument_pb2,
    opportunity_pb2,
    resources_pb2,
    scanner_pb2,
)
from services.common.codec import decimal_from_proto

if TYPE_CHECKING:
    from rich.console import Console

    from cli.demo.stack import LocalStack

TABLE_ROWS = 10
NOTIONAL = Decimal(2000)
# A part of the lead, so that the hedge must follow the fill and not the wish.
PARTIAL_RATIO = "0.6"
FAST_SPEED = 14_400
MIN_SETTLEMENTS = 3
MORE_SETTLEMENTS = 2
FUNDING_LINES = 10
FUNDING_BOOKED_SECONDS = 30.0
HOLD_SECONDS = 120.0
POLL_SECONDS = 0.25
OWN_COINS = {"BTC": "0.5", "ETH": "3"}
# Of the traded coin as well: an exit that sells the wallet's balance is found out.
OWN_BASE = "12.5"
_SPOT = instrument_pb2.INSTRUMENT_KIND_SPOT


class Story:
    """Plays the steps and keeps what was seen. Prints as it goes."""

    def __init__(self, stack: LocalStack, console: Console) -> None:
        self._stack = stack
        self._settings = stack.arb_settings()
        self._console = console

    async def play(self) -> Evidence:
        """Run the whole demo; raises StackError when a step does not end as it must."""
        scan, rows = await self._scan()
        opportunity = self._choose(rows)
        infos = await self._read_infos(opportunity)
        await self._seed_own_coins(infos[0].base_asset)
        before = await read_books(self._stack.control)
        opened = await self._enter(opportunity)
        await self._hold(opportunity, infos)
        closed = await self._leave(opened)
        after = await read_books(self._stack.control)
        closed = await self._wait_for_ledger(closed, _funding(after, infos))
        return Evidence(scan, opportunity, opened, closed, infos, before, after)

    def _say(self, text: str) -> None:
        # The terminal wraps what is too long, so that it can be copied whole.
        self._console.print(text, highlight=False, soft_wrap=True)

    async def _scan(self) -> tuple[scanner_pb2.Scan, list[opportunity_pb2.Opportunity]]:
        self._say(
            "\n[bold]1. Scan[/]: every symbol, its true funding interval, net of cost; "
            "more is read as symbols qualify"
        )
        async with scanner_client(self._settings.scanner) as scanner:
            with scan_progress(self._console) as follow:
                scan = await run_scan(scanner, str(uuid.uuid4()), follow)
            rows = await list_opportunities(scanner, OpportunityFilter(), 500)
        self._say(f"   {scan_summary(scan)}")
        if not rows:
            raise StackError("the scan published no opportunity")
        best = rows[:TABLE_ROWS]
        self._say("")
        self._console.print(opportunity_table(best, f"The best {len(best)}", self._console.width))
        self._say("")
        return scan, rows

    def _choose(self, rows: list[opportunity_pb2.Opportunity]) -> opportunity_pb2.Opportunity:
        """Take the best one that is long spot and short its perpetual, else simply the best."""
        cash_and_carry = [row for row in rows if row.long_leg.kind == _SPOT]
        chosen = (cash_and_carry or rows)[0]
        why = ", the best that needs no coin borrowed" if cash_and_carry else ""
        self._say(
            f"   chosen: [bold]{chosen.symbol}[/]{why}: long {instrument(chosen.long_leg)}, short "
            f"{instrument(chosen.short_leg)}, {percent(chosen.net_apr, 1)} net a year"
        )
        return chosen

    async def _read_infos(
        self, opportunity: opportunity_pb2.Opportunity
    ) -> tuple[resources_pb2.SymbolInfo, resources_pb2.SymbolInfo]:
        venues = {venue.name: venue for venue in self._settings.connectors}
        infos: list[resources_pb2.SymbolInfo] = []
        for leg in (opportunity.long_leg, opportunity.short_leg):
            async with connector_client(venues[leg.exchange]) as connector:
                request = exchange_pb2.GetSymbolInfoRequest(symbol=leg.symbol)
                infos.append(await connector.GetSymbolInfo(request))
        return infos[0], infos[1]

    async def _seed_own_coins(self, base_asset: str) -> None:
        """Put coins of the user's own into the account, the traded one among them."""
        own = {**OWN_COINS, base_asset: OWN_BASE}
        options = self._stack.options
        body = {
            "name": ACCOUNT,
            "spot": {**options.spot_balances, **own},
            "margin": options.margin_balances,
            "futures": options.futures_balances,
        }
        await self._stack.control.post("accounts", body)
        coins = ", ".join(f"{amount} {asset}" for asset, amount in own.items())
        self._say(f"   the account also holds coins of its owner's own, not to be touched: {coins}")

    async def _enter(self, opportunity: opportunity_pb2.Opportunity) -> engine_pb2.HedgedPosition:
        self._say(
            f"\n[bold]2. Enter[/] {NOTIONAL} USDT a leg; the simulator is told to fill "
            f"only {PARTIAL_RATIO} of the lead order"
        )
        partial = {
            "id": "partial-lead",
            "match": {"operation": "place_order", "times": 1},
            "action": {"type": "partial", "ratio": PARTIAL_RATIO},
        }
        await self._stack.control.post("faults", [partial])
        spot_is_long = opportunity.long_leg.kind == _SPOT
        order = EntryOrder(
            opportunity_id=opportunity.opportunity_id,
            notional=NOTIONAL,
            # Spot leads: its fee is taken in the coin, which is the harder case for the hedge.
            lead_leg=engine_pb2.LEG_SIDE_LONG if spot_is_long else engine_pb2.LEG_SIDE_SHORT,
        )
        async with engine_client(self._settings.engine) as engine:
            request = entry_request(order, str(uuid.uuid4()))
            position = (await engine.OpenHedgedPosition(request)).position
            position = await wait_settled(engine, position, SETTLED_STATES)
        await self._stack.control.delete("faults")
        self._console.print(order_table(position, self._console.width))
        if position.state != engine_pb2.HEDGED_POSITION_STATE_OPEN:
            raise StackError(f"the entry ended flat: {position.state_reason}")
        self._say(
            f"   lead asked {figure(position.lead_requested_quantity)}, executed "
            f"{figure(position.lead_executed_quantity)}, net of the fee in the coin "
            f"{figure(position.lead_net_quantity)}; hedged "
            f"{figure(position.hedge_executed_quantity)}; residual "
            f"{figure(position.residual_quantity)}; "
            f"{position.unhedged_time.ToTimedelta().total_seconds() * 1000:.1f} ms without hedge"
        )
        return position

    async def _hold(
        self,
        opportunity: opportunity_pb2.Opportunity,
        infos: tuple[resources_pb2.SymbolInfo, resources_pb2.SymbolInfo],
    ) -> None:
        """Let the market's clock run fast until the carry should have paid the round trip."""
        wanted = _settlements_to_hold(opportunity)
        self._say(
            f"\n[bold]3. Hold[/] through {wanted} fundings: the market's clock runs "
            f"{FAST_SPEED} times as fast; the scan says costs are "
            f"earned after {figure(opportunity.break_even_hours, 0)} h"
        )
        if self._stack.options.data is not None:
            self._say(
                "   the recordings end here: from now on the last twelve rates are paid again and "
                "again, which may be less than the scan's mean"
            )
        symbols = {info.exchange_symbol for info in infos if info.kind != _SPOT}
        await self._stack.control.post("clock", {"speed": FAST_SPEED})
        paid = 0
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while paid < wanted:
                    await asyncio.sleep(POLL_SECONDS)
                    paid = await self._show_funding(symbols, paid, wanted)
        except TimeoutError:
            if paid < MIN_SETTLEMENTS:
                text = f"only {paid} fundings were paid within {HOLD_SECONDS:.0f} s"
                raise StackError(text) from None
        finally:
            # Real time for the exit: at the fast speed a second's work takes hours of market.
            await self._stack.control.post("clock", {"speed": 1})

    async def _show_funding(self, symbols: set[str], shown: int, wanted: int) -> int:
        """Print the payments that are new, a few lines in all, and return how many there are."""
        rows = [
            row
            for row in await self._stack.control.get("income")
            if row["type"] == "FUNDING_FEE" and row["symbol"] in symbols
        ]
        step = math.ceil(wanted / FUNDING_LINES)
        for count in range(shown + 1, len(rows) + 1):
            if count % step == 0 or count == wanted:
                row, paid = rows[count - 1], sum(Decimal(row["amount"]) for row in rows[:count])
                self._say(
                    f"   funding {count} of {wanted} on {row['symbol']}: {row['amount']} "
                    f"{row['asset']}, {paid} in all"
                )
        return len(rows)

    async def _wait_for_ledger(
        self, closed: engine_pb2.HedgedPosition, at_venue: Decimal
    ) -> engine_pb2.HedgedPosition:
        """Read the position until the engine has booked all that the venue paid."""
        deadline = asyncio.get_running_loop().time() + FUNDING_BOOKED_SECONDS
        request = engine_pb2.GetHedgedPositionRequest(position_id=closed.position_id)
        async with engine_client(self._settings.engine) as engine:
            while decimal_from_proto(closed, "funding_received") != at_venue:
                if asyncio.get_running_loop().time() > deadline:
                    raise StackError(f"the engine never booked the funding paid, {at_venue}")
                await asyncio.sleep(POLL_SECONDS)
                # A connection that a busy machine makes late is no reason to end without a claim.
                reply = await engine.GetHedgedPosition(request, wait_for_ready=True)
                closed = reply.position
        return closed

    async def _leave(self, position: engine_pb2.HedgedPosition) -> engine_pb2.HedgedPosition:
        self._say("\n[bold]4. Leave[/]: both legs at once")
        async with engine_client(self._settings.engine) as engine:
            request = engine_pb2.CloseHedgedPositionRequest(
                request_id=str(uuid.uuid4()), position_id=position.position_id
            )
            closing = (await engine.CloseHedgedPosition(request)).position
            closed = await wait_settled(engine, closing, ENDED_STATES)
        self._console.print(order_table(closed, self._console.width))
        skew = closed.dispatch_skew.ToTimedelta().total_seconds() * 1000
        self._say(f"   both legs left the engine within {skew:.3f} ms")
        return closed


def _settlements_to_hold(opportunity: opportunity_pb2.Opportunity) -> int:
    """Enough settlements for the carry to pay its costs by the scan's own word, and a few more."""
    short = opportunity.HasField("short_funding")
    funding = opportunity.short_funding if short else opportunity.long_funding
    hours = Decimal(funding.interval.seconds) / 3600
    pays_after = decimal_from_proto(opportunity, "break_even_hours")
    if pays_after is None or not hours:
        return MIN_SETTLEMENTS
    return max(MIN_SETTLEMENTS, math.ceil(pays_after / hours) + MORE_SETTLEMENTS)


def _funding(
    books: Books, infos: tuple[resources_pb2.SymbolInfo, resources_pb2.SymbolInfo]
) -> Decimal:
    """What the venue's books say was paid on the perpetual legs."""
    symbols = [info.exchange_symbol for info in infos if info.kind != _SPOT]
    return sum((books.funding_by_symbol.get(name, Decimal(0)) for name in symbols), Decimal(0))
