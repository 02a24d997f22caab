"""The demo: the whole system as processes on loopback, with a simulated exchange and no keys."""

from __future__ import annotations
