"""Weights of the quality score as settings."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from services.scanner.rules import DEFAULT_WEIGHTS
from services.scanner.settings import ScoreSettings


def test_weight_that_is_not_named_keeps_its_default() -> None:
    """Changing one weight leaves the others alone; none leaves all."""
    weights = ScoreSettings(weights={"carry": 5.0, "basis": 0.0}).weights
    assert weights == {**DEFAULT_WEIGHTS, "carry": 5.0, "basis": 0.0}
    assert ScoreSettings().weights == DEFAULT_WEIGHTS


@pytest.mark.parametrize(
    "weights",
    [
        {"volume": 1.0},
        {"carry": -1.0},
        {"carry": math.nan},
        {"carry": math.inf},
        dict.fromkeys(DEFAULT_WEIGHTS, 0.0),
    ],
)
def test_weights_without_sense_are_refused(weights: dict[str, float]) -> None:
    """Unknown factors, negative and endless weights, and nothing to rank by."""
    with pytest.raises(ValidationError):
        ScoreSettings(weights=weights)
