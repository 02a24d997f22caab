"""What the doctor says of the engine, of an account's key and of symbols that hold positions."""

from __future__ import annotations

import pytest

from cli.doctor import (
    Finding,
    account_findings,
    engine_finding,
    symbols_findings,
    trading_finding,
)
from opensqt.market_maker.v1 import engine_pb2, exchange_pb2, trading_state_pb2

FUTURES = exchange_pb2.GetTypeResponse()


def told(**fields: object) -> list[Finding]:
    """Return the findings about an account with these settings."""
    answer = exchange_pb2.GetAccountConfigurationResponse(**fields)  # type: ignore[arg-type]  # the test's own
    return account_findings("connector x", FUTURES, answer)


def test_that_nobody_told_of_withdrawal_is_said() -> None:
    """Not an alarm, but not silence either; the venue may have refused the key instead."""
    (finding,) = told()
    assert finding.ok
    assert "was not told" in finding.text
    assert "the venue does not" not in finding.text


def test_a_key_that_may_withdraw_is_a_fault_and_one_that_may_not_is_none() -> None:
    """The word of the venue decides."""
    assert [one.ok for one in told(key_can_withdraw=True)] == [False]
    assert [one.ok for one in told(key_can_withdraw=False)] == [True]


def test_a_key_bound_to_addresses_is_told() -> None:
    """A key that works from anywhere is among the problems the connector names."""
    assert any("addresses" in one.text for one in told(ip_restricted=True))
    assert not any("addresses" in one.text for one in told(ip_restricted=False))


def test_leverage_and_margin_mode_stand_beside_each_symbol() -> None:
    """Isolated margin is a fault and says what to do; what is not told is said so."""
    cross = exchange_pb2.GetAccountConfigurationResponse(leverage=5, margin_mode="cross")
    isolated = exchange_pb2.GetAccountConfigurationResponse(leverage=3, margin_mode="isolated")
    silent = exchange_pb2.GetAccountConfigurationResponse()
    rows = symbols_findings("c", {"BTCUSDT": cross, "ETHUSDT": isolated, "SOLUSDT": silent})
    assert [one.ok for one in rows] == [True, False, True]
    assert rows[0].text == "BTCUSDT: leverage 5, cross"
    assert "switch it to cross margin" in rows[1].text
    assert rows[2].text == "SOLUSDT: leverage not told, margin mode not told"


@pytest.mark.parametrize("is_halted", [False, True])
def test_a_halted_connector_is_told_with_what_ends_it(is_halted: bool) -> None:
    """Who stopped it may be gone, and the command names the venue."""
    state = trading_state_pb2.TradingState(halted=is_halted, reason="night", changed_by="anna")
    finding = trading_finding("okx-swap", state)
    assert finding.ok is not is_halted
    assert ("arb resume --venue okx-swap --reason" in finding.text) is is_halted


@pytest.mark.parametrize(
    ("reason", "is_well"),
    [
        ("", True),
        ("entries and exits wait: the disk is full", False),
        ("holdings of binance cannot be compared: TOKEN_INVALID", False),
    ],
)
def test_an_engine_that_names_trouble_is_not_well(reason: str, is_well: bool) -> None:
    """It is active all the same: nobody halted it."""
    active = engine_pb2.ENGINE_STATE_ACTIVE
    status = engine_pb2.EngineStatus(state=active, state_reason=reason, reconciled=True)
    finding = engine_finding(status)
    assert finding.ok is is_well
    assert reason in finding.text
