"""The engine: fill-scaled entry, parallel exit, journal and recovery of hedged positions."""

from __future__ import annotations
