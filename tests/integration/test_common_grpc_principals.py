"""Principals against a real server: every method times every role, certificates, look-alikes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.common.call_errors import from_call_error
from services.common.channels import open_channel
from services.common.errors import AuthError, Code
from services.common.metrics import ServiceMetrics
from services.common.scopes import Role
from services.common.server import GrpcServer
from services.common.settings import (
    ClientTlsSettings,
    PrincipalSettings,
    ServerSettings,
    TlsSettings,
)
from tests.support.certificates import CertificateAuthority
from tests.support.contract_methods import contract_methods, request_classes
from tests.support.echo_service import Number, echo_server, method, raw, unary

METHODS = contract_methods()
REQUESTS: dict[str, Any] = request_classes()
OWN = sorted(REQUESTS)
ORDERS = {"PlaceOrder", "BatchPlaceOrders", "EnterOrders"}
CANCELS = {"CancelOrder", "BatchCancelOrders", "CancelAllOrders"}
COMMANDS = {
    "StartScan",
    "CancelScan",
    "ResizePool",
    "OpenHedgedPosition",
    "CloseHedgedPosition",
    "ReduceHedgedPosition",
    "CloseAllHedgedPositions",
    "Halt",
    "Resume",
    "SetStrategyMode",
    "HaltTrading",
    "ResumeTrading",
    "UpdatePositionLimits",
    "TriggerReconciliation",
    "OpenCircuitBreaker",
    "CloseCircuitBreaker",
}
ACCOUNT = {
    "GetOrder",
    "GetOpenOrders",
    "GetAccount",
    "GetPositions",
    "GetBalance",
    "SubscribeOrders",
    "SubscribeAccount",
    "SubscribePositions",
    "GetFundingPayments",
    "GetAccountConfiguration",
    "GetTrades",
    "GetTradingState",
}
FINDINGS = {"ListOpportunities", "WatchOpportunities", "GetScanStatus"}
Entered = list[str]


def may(role: Role, name: str) -> bool:
    """Return, from the sets above, whether a role may call a method; not from the table."""
    service, _, short = name.rpartition("/")
    is_exchange = service.endswith("ExchangeService")
    changes = short in ORDERS | CANCELS | COMMANDS
    if role is Role.OPERATOR:
        return True
    if role is Role.READER:
        return not changes
    if role is Role.SCANNER:
        return is_exchange and not changes and short not in ACCOUNT
    return (is_exchange and short not in COMMANDS) or short in FINDINGS


@asynccontextmanager
async def blank_services(settings: ServerSettings) -> AsyncIterator[tuple[str, Entered]]:
    """Serve every method of the contract with nothing behind it; yields what was entered."""
    entered: Entered = []

    class Blank(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            name = details.method
            if name not in OWN:
                return None

            async def answer(_request: Any, _context: Any) -> bytes:
                entered.append(name)
                return b""

            make = (
                grpc.stream_unary_rpc_method_handler
                if METHODS[name].client_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            return make(answer, REQUESTS[name].FromString)

    server = GrpcServer(settings, metrics=ServiceMetrics("blank"))
    server.add(lambda _servicer, held: held.add_generic_rpc_handlers((Blank(),)), None, "blank")
    async with server:
        yield server.address, entered


def token_of(role: Role) -> str:
    """Return the token of a role's principal."""
    return f"token-of-the-{role.value}-0123456789"


@pytest.fixture
def principals(tmp_path: Path) -> tuple[PrincipalSettings, ...]:
    """Return one principal for each role, each with its token file."""
    made = []
    for role in Role:
        path = tmp_path / role.value
        path.write_text(token_of(role) + "\n")
        made.append(PrincipalSettings(name=f"the-{role.value}", roles=(role,), token_file=path))
    return tuple(made)


async def outcome(channel: grpc.aio.Channel, name: str, token: str) -> str:
    """Return OK, or the code and reason of the refusal."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    try:
        await raw(channel).unary_unary(name)(b"", metadata=metadata)
    except grpc.aio.AioRpcError as error:
        back = from_call_error(error)
        return f"{back.code.value} {back.reason}"
    return "OK"


async def test_every_method_opens_to_the_roles_of_the_table_and_no_other(
    principals: tuple[PrincipalSettings, ...],
) -> None:
    """All methods times all roles; a refused call enters no handler."""
    async with (
        blank_services(ServerSettings(principals=principals)) as (address, entered),
        open_channel(address) as channel,
    ):
        for role in Role:
            entered.clear()
            for name in OWN:
                expected = "OK" if may(role, name) else "PERMISSION_DENIED SCOPE_MISSING"
                assert await outcome(channel, name, token_of(role)) == expected, (role, name)
            assert entered == [name for name in OWN if may(role, name)]
        entered.clear()
        for name in OWN:
            assert await outcome(channel, name, "") == "UNAUTHENTICATED TOKEN_MISSING"
            assert await outcome(channel, name, "x" * 24) == "UNAUTHENTICATED TOKEN_INVALID"
        assert entered == []


@pytest.mark.parametrize(
    "suffix", ["/", "/Check", "x", " ", "\u00a0", "%2f", "/../PlaceOrder", "?grpc.health.v1.Health"]
)
async def test_a_name_that_looks_like_another_is_no_method(
    principals: tuple[PrincipalSettings, ...], suffix: str
) -> None:
    """Names are compared whole: the operator itself meets METHOD_UNKNOWN."""
    name = "/opensqt.market_maker.v1.ExchangeService/GetName" + suffix
    async with (
        blank_services(ServerSettings(principals=principals)) as (address, entered),
        open_channel(address) as channel,
    ):
        assert (await outcome(channel, name, "")).startswith("UNAUTHENTICATED")
        assert await outcome(channel, name, token_of(Role.OPERATOR)) == (
            "UNIMPLEMENTED METHOD_UNKNOWN"
        )
    assert entered == []


async def test_a_method_without_a_rule_is_refused_to_everybody(
    principals: tuple[PrincipalSettings, ...],
) -> None:
    """Default deny, on an open loopback server as on a guarded one."""
    for settings in (ServerSettings(), ServerSettings(principals=principals)):
        async with echo_server(settings) as (server, _), open_channel(server.address) as channel:
            told = await outcome(channel, method("Unruled"), token_of(Role.OPERATOR))
        assert told == "PERMISSION_DENIED SCOPE_MISSING"


async def test_two_tokens_of_different_principals_are_a_misuse(
    principals: tuple[PrincipalSettings, ...],
) -> None:
    """Each is right by itself; together they name two callers."""
    both = (("authorization", f"Bearer {token_of(Role.ENGINE)}"),)
    async with (
        echo_server(ServerSettings(principals=principals)) as (server, _),
        open_channel(server.address) as channel,
    ):
        assert await unary(channel, "One")(Number(value="1"), metadata=both)
        other = (*both, ("x-api-key", token_of(Role.READER)))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "One")(Number(value="1"), metadata=other)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_certificates_name_makes_a_caller_known(tmp_path: Path) -> None:
    """A URI of the certificate stands for a token; another's certificate is nobody."""
    authority = CertificateAuthority(tmp_path)
    files = authority.issue("server")
    reader = PrincipalSettings(
        name="reader", roles=(Role.READER,), certificate_names=("spiffe://opensqt/reader",)
    )
    settings = ServerSettings(
        principals=(reader,),
        tls=TlsSettings(
            certificate_file=files.certificate, key_file=files.key, client_ca_file=authority.file
        ),
    )
    told = {}
    async with echo_server(settings) as (server, _):
        for name in ("reader", "readers"):
            mine = authority.issue(name, uris=(f"spiffe://opensqt/{name}",))
            tls = ClientTlsSettings(
                ca_file=authority.file, certificate_file=mine.certificate, key_file=mine.key
            )
            async with open_channel(server.address, tls=tls) as channel:
                for short in ("One", "SlowExit"):
                    told[name, short] = await outcome(channel, method(short), "")
    assert told == {
        ("reader", "One"): "INVALID_ARGUMENT FIELD_INVALID",
        ("reader", "SlowExit"): "PERMISSION_DENIED SCOPE_MISSING",
        ("readers", "One"): "UNAUTHENTICATED TOKEN_MISSING",
        ("readers", "SlowExit"): "UNAUTHENTICATED TOKEN_MISSING",
    }


async def test_a_refusal_names_the_scope_and_the_caller(
    principals: tuple[PrincipalSettings, ...],
) -> None:
    """So that whoever set the roles knows which one is missing."""
    name = "/opensqt.market_maker.v1.EngineService/Halt"
    async with (
        blank_services(ServerSettings(principals=principals)) as (address, _),
        open_channel(address) as channel,
    ):
        metadata = (("x-api-key", token_of(Role.SCANNER)),)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await raw(channel).unary_unary(name)(b"", metadata=metadata)
    error = from_call_error(caught.value)
    assert isinstance(error, AuthError)
    assert error.code is Code.PERMISSION_DENIED
    assert error.metadata == {"principal": "the-scanner", "scope": "halt"}
