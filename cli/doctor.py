"""What is wrong, in words: asks every service and reads the accounts' configuration back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio

from cli.advice import with_advice
from cli.clients import connector_client, engine_client, scanner_client
from cli.scan_words import missing_lines, standing_words
from cli.tables import word
from cli.venue_halt import describe
from opensqt.market_maker.v1 import (
    engine_pb2,
    exchange_pb2,
    scanner_pb2,
    trading_state_pb2,
    types_pb2,
)
from services.common.call_errors import SERVICE_UNREACHABLE, from_call_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cli.settings import ArbSettings
    from opensqt.market_maker.v1 import exchange_pb2_grpc, scanner_pb2_grpc
    from services.common.settings import VenueSettings

MAX_SKEW_SECONDS = 1.0
"""Beyond this the engine's fences and the venue's request windows no longer hold."""

MOST_ORDERS = 5
"""Orders in doubt that are named."""

MOST_SYMBOLS = 10
"""Positions whose leverage and margin mode are looked at: each costs a call to the venue."""

_NOT_ASKED_YET = "NOT_ASKED_YET"
_TEXTS = {_NOT_ASKED_YET: "the engine has not asked it anything yet"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `ok` is false where something must be done."""

    subject: str
    ok: bool
    text: str


async def examine(settings: ArbSettings) -> list[Finding]:
    """Look at scanner, engine and every configured connector; never raises for a dead service."""
    findings = [*await _scanner(settings), *await _engine(settings)]
    for venue in settings.connectors:
        findings += await _connector(venue)
    return findings


async def _scanner(settings: ArbSettings) -> list[Finding]:
    try:
        async with scanner_client(settings.scanner) as scanner:
            answer = await scanner.ListOpportunities(
                scanner_pb2.ListOpportunitiesRequest(page_size=1)
            )
            latest = await _latest_scan(scanner)
    # Failed calls only: a bug in here must not look like a dead service.
    except grpc.aio.AioRpcError as error:
        return [_unreachable("scanner", settings.scanner.address, error)]
    published = answer.scan if answer.HasField("scan") else None
    findings = [Finding("scanner", *standing_words(latest, published))]
    if latest is not None:
        missing = missing_lines(latest.missing_parts)
        findings += [Finding("scanner", False, f"missing {part}") for part in missing]
    return findings


async def _latest_scan(
    scanner: scanner_pb2_grpc.ScannerServiceAsyncStub,
) -> scanner_pb2.Scan | None:
    """Return the scan started last, which may have published nothing; None before the first."""
    try:
        return (await scanner.GetScanStatus(scanner_pb2.GetScanStatusRequest())).scan
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None
        raise


async def _engine(settings: ArbSettings) -> list[Finding]:
    try:
        async with engine_client(settings.engine) as engine:
            status = (await engine.GetStatus(engine_pb2.GetStatusRequest())).status
    except grpc.aio.AioRpcError as error:
        return [_unreachable("engine", settings.engine.address, error)]
    findings = [engine_finding(status)]
    findings += [
        Finding(
            f"engine > {venue.exchange}",
            # Not a fault: an engine that just started asks when it has something to ask.
            venue.reachable or venue.problem == _NOT_ASKED_YET,
            "reachable"
            if venue.reachable
            else _TEXTS.get(venue.problem, venue.problem or "unreachable"),
        )
        for venue in status.venues
    ]
    return findings


def engine_finding(status: engine_pb2.EngineStatus) -> Finding:
    """Return what the engine is at; all is well only where nothing keeps it from its work."""
    active = status.state == engine_pb2.ENGINE_STATE_ACTIVE and not status.state_reason
    return Finding(
        "engine",
        active and status.reconciled and not status.unknown_client_order_ids,
        f"{word(status, 'state')}{_in_brackets(with_advice(status.state_reason))}, "
        f"{'reconciled' if status.reconciled else 'NOT reconciled yet'}, "
        f"{status.open_position_count} positions on, "
        f"{len(status.unknown_client_order_ids)} orders unknown"
        f"{_in_brackets(', '.join(status.unknown_client_order_ids[:MOST_ORDERS]))}",
    )


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


async def _connector(venue: VenueSettings) -> list[Finding]:
    subject = f"connector {venue.name}"
    try:
        async with connector_client(venue) as connector:
            name = (await connector.GetName(exchange_pb2.GetNameRequest())).name
            kind = await connector.GetType(exchange_pb2.GetTypeRequest())
            account = await connector.GetAccountConfiguration(
                exchange_pb2.GetAccountConfigurationRequest()
            )
            trading = await connector.GetTradingState(trading_state_pb2.GetTradingStateRequest())
            symbols = await _symbols(connector, kind)
    except grpc.aio.AioRpcError as error:
        return [_unreachable(subject, venue.address, error)]
    findings = [
        # Two swapped addresses both answer well, each for the other's account.
        Finding(subject, name == venue.name, f"answers as {name} ({kind.exchange_code})"),
        trading_finding(venue.name, trading.state),
        fence_finding(subject, kind),
        *account_findings(subject, kind, account),
        *symbols_findings(subject, symbols),
    ]
    findings += [Finding(subject, False, problem) for problem in account.problems]
    return findings


def trading_finding(venue: str, state: trading_state_pb2.TradingState) -> Finding:
    """Return whether a connector may open, and what ends it where somebody said that it may not."""
    stopped = state.halted or state.reduce_only or state.HasField("banned_until")
    way_out = f"; arb resume --venue {venue} --reason … ends that" if state.halted else ""
    return Finding(f"connector {venue}", not stopped, f"{describe(state)}{way_out}")


async def _symbols(
    connector: exchange_pb2_grpc.ExchangeServiceAsyncStub, kind: exchange_pb2.GetTypeResponse
) -> dict[str, exchange_pb2.GetAccountConfigurationResponse]:
    """Return what the symbols that hold a position are set to."""
    if kind.type != types_pb2.EXCHANGE_TYPE_FUTURES:
        return {}
    try:
        held = await connector.GetPositions(exchange_pb2.GetPositionsRequest())
        names = sorted({position.symbol for position in held.positions})[:MOST_SYMBOLS]
        return {
            name: await connector.GetAccountConfiguration(
                exchange_pb2.GetAccountConfigurationRequest(symbol=name)
            )
            for name in names
        }
    except grpc.aio.AioRpcError:
        # A connector without a key has none, and what is unread is among its problems.
        return {}


def symbols_findings(
    subject: str, symbols: Mapping[str, exchange_pb2.GetAccountConfigurationResponse]
) -> list[Finding]:
    """Return leverage and margin mode of each symbol; isolated margin wants doing something."""
    findings = []
    for name, told in symbols.items():
        leverage = f"leverage {told.leverage}" if told.leverage else "leverage not told"
        isolated = told.margin_mode == "isolated"
        todo = "; switch it to cross margin once it is flat" if isolated else ""
        text = f"{name}: {leverage}, {told.margin_mode or 'margin mode not told'}{todo}"
        findings.append(Finding(subject, not isolated, text))
    return findings


def fence_finding(subject: str, kind: exchange_pb2.GetTypeResponse) -> Finding:
    """Return after what time an order in doubt is proven never to have arrived; perhaps never."""
    if kind.HasField("fence"):
        seconds = kind.fence.ToTimedelta().total_seconds()
        return Finding(subject, True, f"an order in doubt is proven absent after {seconds:g} s")
    text = (
        "the venue gives requests no end of validity: an order in doubt that it does not show "
        "stays unknown, and entries in its symbol stop, until you have looked there"
    )
    return Finding(subject, True, text)


def account_findings(
    subject: str,
    kind: exchange_pb2.GetTypeResponse,
    account: exchange_pb2.GetAccountConfigurationResponse,
) -> list[Finding]:
    """Return what the account's key, clock and mode are like, and what to do about them."""
    findings: list[Finding] = []
    # Absent where the venue does not tell, which is no reason for alarm, or was not heard.
    if account.HasField("key_can_withdraw"):
        text = (
            "the API key may withdraw; make one that may not"
            if account.key_can_withdraw
            else ("the API key may not withdraw")
        )
        findings.append(Finding(subject, not account.key_can_withdraw, text))
    else:
        text = "whether the API key may withdraw was not told; look at its page at the venue"
        findings.append(Finding(subject, True, text))
    # A key that works from anywhere is among the problems already.
    if account.HasField("ip_restricted") and account.ip_restricted:
        findings.append(Finding(subject, True, "the API key works from its own addresses only"))
    if account.HasField("key_can_trade"):
        text = "the API key may trade" if account.key_can_trade else "the API key may not trade"
        findings.append(Finding(subject, account.key_can_trade, text))
    if account.HasField("clock_skew"):
        skew = account.clock_skew.ToTimedelta().total_seconds()
        findings.append(
            Finding(subject, abs(skew) <= MAX_SKEW_SECONDS, f"clock skew {skew * 1000:+.0f} ms")
        )
    if kind.position_mode != types_pb2.POSITION_MODE_UNSPECIFIED:
        findings.append(Finding(subject, True, f"position mode {word(kind, 'position_mode')}"))
    return findings


def _unreachable(subject: str, address: str, error: grpc.aio.AioRpcError) -> Finding:
    problem = from_call_error(error)
    # The transport's own words are for programmers.
    lost = problem.reason == SERVICE_UNREACHABLE
    asked = "does not answer; does it run, and are address and tls table right?"
    text = asked if lost else problem.message
    return Finding(subject, False, f"{address}: {text} ({problem.reason})")
