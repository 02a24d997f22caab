"""Settings of what keeps the best opportunities fresh between scans."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from pydantic import Field

from services.common.settings_part import SettingsPart
from services.scanner.live_rules import LiveRules


class LiveSettings(SettingsPart):
    """Streams behind the best opportunities; with `count` 0 there are none."""

    count: int = Field(default=20, ge=0, le=500)
    """Opportunities, best first, whose rates and prices are followed between scans."""
    refresh_seconds: float = Field(default=1.0, gt=0)
    """How often they are reckoned anew from what came."""
    book_seconds: float = Field(default=30.0, gt=0)
    """How often their order books are read; no venue's stream brings more than the best prices."""
    silence_seconds: float = Field(default=30.0, gt=0)
    """How long a leg may bring nothing before it is marked STREAM_STALE and asked for again."""
    max_backoff_seconds: float = Field(default=30.0, gt=0)
    """Longest wait before a stream that broke is opened again."""
    min_change: Decimal = Field(default=Decimal("0.001"), ge=0)
    """Least move of an APR, the basis or the score that is published between scans."""
    max_scan_age_seconds: float = Field(default=3600.0, gt=0)
    """How long streams may keep an opportunity standing without a scan that finds it again."""

    def rules(self, max_rate: float) -> LiveRules:
        """Return the bounds as the decision modules take them; `max_rate` is that of histories."""
        return LiveRules(
            silence=timedelta(seconds=self.silence_seconds),
            max_scan_age=timedelta(seconds=self.max_scan_age_seconds),
            max_backoff_seconds=self.max_backoff_seconds,
            max_rate=max_rate,
        )
