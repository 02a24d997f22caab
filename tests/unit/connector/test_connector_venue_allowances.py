"""What each venue's profile counts, by endpoint and by the venue's word; refusals of reads."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.common.clock import SystemClock
from services.common.errors import Code, RetryableError
from services.connector.profile import EndpointClass, Priority
from services.connector.rate_budget import RateBudget
from services.connector.venue_errors import VenueAnswerError, to_read_error
from services.connector.venues import KNOWN_VENUES, find_profile


@pytest.mark.parametrize("code", KNOWN_VENUES)
def test_each_endpoint_that_is_counted_apart_has_an_allowance(code: str) -> None:
    """A name without one would be sent without any bound."""
    profile = find_profile(code)
    assert set(profile.endpoints.values()) <= set(profile.allowances)
    apart = {name for name in profile.allowances if not isinstance(name, EndpointClass)}
    assert apart == set(profile.endpoints.values())


@pytest.mark.parametrize("code", ["okx-spot", "okx-swap"])
async def test_what_a_start_and_an_entry_read_fits_into_okxs_allowances_at_once(code: str) -> None:
    """Key and mode at the start, then all that an entry asks of a leg: nothing waits a window."""
    profile = find_profile(code)
    budget = RateBudget(profile.allowances, SystemClock())
    start = ("exchange_info", "time", "klines", "key_permissions", "position_mode")
    entry = ("trading_fee", "key_permissions", "position_mode", "time", "symbol_config")
    for name in (*start, *entry, "account", "positions", "order_book", "order_book"):
        endpoint, weight = profile.endpoint(name), profile.weight(name)
        assert budget.wait_seconds(endpoint, weight, Priority.DATA) == 0, name
        async with budget.take(endpoint, weight, Priority.DATA):
            pass


@pytest.mark.parametrize("code", ["bybit-spot", "bybit-linear"])
def test_bybit_counts_down_by_endpoint_and_bans_by_403(code: str) -> None:
    """Orders, cancels and reads are each told what is left of them."""
    profile = find_profile(code)
    for name in (EndpointClass.ORDER, "cancel", "orders", "executions"):
        assert profile.allowances[name][0].remaining_header == "x-bapi-limit-status"
    assert profile.bans[403] == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("code", "answer", "reason", "grpc_code"),
    [
        ("bybit-linear", "10002", "VENUE_REFUSED_FOR_NOW", Code.UNAVAILABLE),
        ("bybit-linear", "10006", "VENUE_RATE_LIMITED", Code.RESOURCE_EXHAUSTED),
        ("binance", "-1021", "VENUE_REFUSED_FOR_NOW", Code.UNAVAILABLE),
        ("binance", "-1003", "VENUE_RATE_LIMITED", Code.RESOURCE_EXHAUSTED),
    ],
)
def test_a_stale_stamp_of_a_read_is_no_rate_limit(
    code: str, answer: str, reason: str, grpc_code: Code
) -> None:
    """Who waits for an allowance that is not short would wait in vain."""
    error = to_read_error(VenueAnswerError(200, answer, "told"), find_profile(code))
    assert isinstance(error, RetryableError)
    assert (error.reason, error.code) == (reason, grpc_code)
