"""The scanner's statistics under the column names of the reference table."""

from __future__ import annotations

from services.scanner.analytics import FundingStatistics

_COLUMNS = {
    "n": "settlement_count",
    "interval_h": "interval_hours",
    "interval_changes": "interval_change_count",
    "mean": "mean_rate",
    "std_pop": "deviation",
    "std_smp": "sample_deviation",
    "min": "min_rate",
    "max": "max_rate",
    "positive_ratio": "positive_ratio",
    "n_zero": "zero_count",
    "sign_flips": "sign_flip_count",
    "sign_flips_strict": "strict_sign_flip_count",
    "regime_sign": "regime_sign",
    "regime_len": "regime_count",
    "regime_h": "regime_hours",
    "slope10": "slope",
    "slope10_t": "slope_per_hour",
    "apr_mean": "annualized_mean_rate",
    "apr_true": "annualized_rate",
    "apr_naive_8h": "naive_annualized_rate",
}
# Figures that the reference table does not have.
_OTHERS = {
    "first_minute": "first_minute",
    "last_minute": "last_minute",
    "missing_rows": "missing_row_count",
    "negative_ratio": "negative_ratio",
    "longest_zero_run": "longest_zero_run",
    "covered_h": "covered_hours",
    "last_h": "last_covered_hours",
    "stability": "stability_score",
    "deviation_year": "annualized_deviation",
}


def figures(statistics: FundingStatistics) -> dict[str, float | None]:
    """Return every figure of the statistics by a short name, those of the reference table by its
    column; None where the statistics do not know it.
    """
    found: dict[str, float | None] = {
        column: getattr(statistics, name) for column, name in (_COLUMNS | _OTHERS).items()
    }
    for window in statistics.windows:
        found |= {
            f"avg_{window.days}d": window.mean_rate,
            f"n_{window.days}d": window.settlement_count,
            f"cov_{window.days}d": window.coverage_ratio,
            f"apr_{window.days}d": window.annualized_rate,
        }
    return found
