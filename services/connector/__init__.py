"""The connector: one venue account behind `ExchangeService`, over ccxt."""

from __future__ import annotations
