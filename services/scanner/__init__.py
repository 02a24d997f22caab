"""The scanner: reads funding histories through connectors, ranks pairs of legs, publishes them."""

from __future__ import annotations
