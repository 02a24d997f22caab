"""The services: connector, scanner, engine and simulator, and what they share."""

from __future__ import annotations

import os

# Read once, when gRPC is first imported: its core would write lines of its own form past the log.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
