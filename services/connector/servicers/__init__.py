"""The methods of `ExchangeService`: decode, call, encode."""

from __future__ import annotations
