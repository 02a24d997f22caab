"""Settings of the engine: what they become for the core, and what is refused at the start."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from services.engine.policy import EngineLimits, EnginePolicy
from services.engine.settings import EngineSettings, LimitSettings, PolicySettings

VENUES = (
    {"name": "binance", "kind": "spot", "address": "127.0.0.1:5001"},
    {"name": "binanceusdm", "kind": "perpetual", "address": "127.0.0.1:5002"},
)


def settings(**changes: Any) -> EngineSettings:
    """Read settings as a file would give them."""
    return EngineSettings.model_validate({"venues": VENUES, **changes})


def refused(**changes: Any) -> str:
    """Return why settings are refused."""
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    return str(caught.value)


def test_an_engine_needs_nothing_but_its_venues() -> None:
    """Everything else has a default, and the limits are on."""
    read = settings()
    assert read.scanner is None
    limits = read.limits.limits()
    assert None not in (
        limits.max_leg_notional,
        limits.max_symbol_notional,
        limits.max_total_notional,
    )
    assert read.policy.policy() == EnginePolicy()


@pytest.mark.parametrize(
    ("part", "core"), [(LimitSettings, EngineLimits), (PolicySettings, EnginePolicy)]
)
def test_every_setting_is_one_the_core_takes(part: Any, core: Any) -> None:
    """One of another name would stop the start; one that is missing could not be set."""
    assert set(part.model_fields) == {field.name for field in dataclasses.fields(core)}


def test_figures_of_a_file_arrive_exactly() -> None:
    """A float of TOML means the figure that was written."""
    read = settings(
        limits={"max_leg_notional": 2500.1, "max_open_positions": 3},
        policy={
            "hedge_bound_ratios": [0.001, "0.02"],
            "place_timeout": 2.5,
            "exit_backoff_last": 0.25,
            "book_depth": 20,
        },
    )
    assert read.limits.limits().max_leg_notional == Decimal("2500.1")
    assert read.limits.limits().max_open_positions == 3
    assert read.policy.policy().hedge_bound_ratios == (Decimal("0.001"), Decimal("0.02"))
    assert read.policy.policy().place_timeout.total_seconds() == 2.5
    assert read.policy.policy().exit_backoff_last.total_seconds() == 0.25
    assert read.policy.policy().book_depth == 20


def test_two_venues_of_one_name_are_refused() -> None:
    """An order must know where it goes."""
    twin = {**VENUES[1], "name": "binance"}
    assert "two venues are named binance" in refused(venues=(VENUES[0], twin))


def test_an_engine_without_venues_is_refused() -> None:
    """It could do nothing."""
    assert "venues" in refused(venues=())


@pytest.mark.parametrize("series", ["exit_backoff", "resolve_interval"])
def test_waits_that_would_shrink_are_refused(series: str) -> None:
    """The first of a growing series cannot be longer than its last."""
    policy = {f"{series}_first": 2, f"{series}_last": 1}
    assert f"{series}_first is longer than {series}_last" in refused(policy=policy)


@pytest.mark.parametrize("series", ["hedge_bound_ratios", "exit_bound_ratios"])
@pytest.mark.parametrize(
    "ratios",
    [[], [0], [-0.01], [1], ["NaN"], ["Infinity"], [0.01, 0.005], [0.001] * 36],
    ids=str,
)
def test_bounds_that_could_sell_for_nothing_are_refused(series: str, ratios: list[Any]) -> None:
    """A bound of 1 sells at zero; one that narrows gives up while it tries harder."""
    assert series in refused(policy={series: ratios})


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("limits", "max_leg_notional", 0),
        ("limits", "max_leg_notional", "NaN"),
        ("limits", "max_total_notional", "Infinity"),
        ("limits", "max_open_positions", 0),
        ("limits", "max_slippage_bound_ratio", 1),
        ("limits", "max_book_age", 0),
        ("limits", "max_leg_notinal", 5),
        ("policy", "lead_bound_ratio", 0),
        ("policy", "unhedged_time_budget", 0),
        ("policy", "hedge_attempts", 36),
        ("policy", "place_timeout", -1),
        ("policy", "max_slice_notional", 0),
        ("policy", "exit_backoff_first", 0),
        ("policy", "exit_backoff_last", 61),
        ("policy", "resolve_interval_first", -1),
        ("policy", "resolve_interval_last", 3600),
        ("policy", "touch_timeout", 0),
        ("policy", "touch_timeout", 11),
        ("policy", "book_depth", 0),
        ("policy", "book_depth", 1001),
    ],
)
def test_a_setting_out_of_its_bounds_is_named(table: str, name: str, value: Any) -> None:
    """A slip in the file is found at the start, not in a trade."""
    assert f"{table}.{name}" in refused(**{table: {name: value}})
