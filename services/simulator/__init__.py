"""The loopback exchange: market data, venue core, REST and WebSocket surfaces, fault switches."""

from __future__ import annotations
