"""The venue core: sync, deterministic, given its clocks; it knows nothing of HTTP or of asyncio."""

from __future__ import annotations
