"""Grafana's dashboards as code: plans of rows and panels, drawn with Grafana's own SDK."""

from __future__ import annotations
