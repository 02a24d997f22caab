"""Market data of the simulated exchange: one Protocol, a seeded generator and recordings."""

from __future__ import annotations
