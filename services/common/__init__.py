"""What every service shares: settings, gRPC server and channels, errors, codecs, logging, clock."""

from __future__ import annotations
