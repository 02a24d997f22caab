"""What a connector imports."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
import services.connector.__main__
from services.connector.ccxt_lean import import_venue_class
exchange = import_venue_class("binanceusdm")
import requests
print(json.dumps([sorted(sys.modules), hasattr(requests, "get")]))
"""


def test_only_the_configured_venue_is_imported() -> None:
    """No other venue's code, none of ccxt's synchronous HTTP; whoever wants that still gets it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30
    )
    modules, is_real = json.loads(done.stdout)
    venues = {name.split(".")[2] for name in modules if name.startswith("ccxt.async_support.")}
    assert venues - {"base"} == {"binance", "binanceusdm"}
    assert "ccxt.pro.okx" not in modules
    assert is_real


def test_requests_is_not_imported_for_ccxt() -> None:
    """The stand-in leaves no trace."""
    program = "import sys, services.connector.ccxt_lean; print('requests' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "False"
