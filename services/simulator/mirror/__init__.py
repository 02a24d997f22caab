"""A market that follows the public data of a real venue, for trading on paper."""

from __future__ import annotations
