"""What each venue's profile counts, by endpoint and by the venue's word; refusals of reads."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from services.common.errors import Code, RetryableError
from services.connector.profile import EndpointClass
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
def test_what_an_entry_reads_first_fits_into_okxs_allowances_at_once(code: str) -> None:
    """Each of its endpoints has room for three reads within its share: no entry waits a window."""
    profile = find_profile(code)
    for name in ("trading_fee", "position_mode", "symbol_config", "account", "order_book"):
        allowance = profile.allowances[profile.endpoint(name)][0]
        assert Decimal(allowance.limit) * 70 / 100 >= 3 * profile.weight(name), name


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
