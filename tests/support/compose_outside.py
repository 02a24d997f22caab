"""Stacks of the profiles that trade outside, with a venue in a container in the outside's place."""

from __future__ import annotations

import json
import os
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.support.compose_stack import ROOT, ComposeStack

VENUE: Final = "real-venue"
_URL: Final = f"http://{VENUE}:8080"
_CONNECTORS: Final = ("connector-spot-live", "connector-perp-live")
_PROGRAM: Final = "/etc/opensqt/watched_venue.py"
_SETTINGS: Final = "/etc/opensqt/settings.toml"
_VENUE: Final = """
[http]
host = "0.0.0.0"
port = 8080
public = true

[market]
seed = 7
symbol_count = 12

[[accounts]]
name = "made-up"
api_key = "{key}"
api_secret = "{secret}"
spot = {{ USDT = "5000" }}
futures = {{ USDT = "5000" }}
"""
_BOOKS: Final = """
import json, urllib.request
def read(name):
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:8080/control/{name}", timeout=10))
print(json.dumps([read("balances"), read("positions")]))
"""


def paper_stack(directory: Path) -> ComposeStack:
    """Return a stack of deploy/paper.env.example whose paper venue follows the container."""
    told = {"OPENSQT_SIMULATOR__MIRROR__BASE_URL": _URL}
    # An account that nobody has the key of.
    nobody = _venue(directory, secrets.token_hex(24), secrets.token_hex(24))
    more = {VENUE: nobody, "paper": {"environment": told}}
    env_file = ROOT / "deploy" / "paper.env.example"
    return ComposeStack(directory, "live,paper", env_file=env_file, more=more)


def live_stack(directory: Path) -> ComposeStack:
    """Return a stack of deploy/live.env.example with keys made up, which the container knows."""
    key, secret = secrets.token_hex(24), secrets.token_hex(24)
    files = {"key": directory / "api-key", "secret": directory / "api-secret"}
    for name, text in (("key", key), ("secret", secret)):
        files[name].write_text(f"{text}\n", encoding="ascii")
        files[name].chmod(0o400)
        os.chown(files[name], 10001, 10001)
    example = (ROOT / "deploy" / "live.env.example").read_text(encoding="utf-8")
    for leg in ("spot", "perp"):
        for name, file in files.items():
            example = example.replace(f"./secrets/{leg}-api-{name}", str(file))
    env_file = directory / "live.env"
    env_file.write_text(example, encoding="utf-8")
    told = {"OPENSQT_CONNECTOR__CONNECTOR__BASE_URL": _URL}
    more = {name: {"environment": told} for name in _CONNECTORS}
    more[VENUE] = _venue(directory, key, secret)
    return ComposeStack(directory, "live", env_file=env_file, more=more)


def _venue(directory: Path, key: str, secret: str) -> dict[str, Any]:
    settings = directory / "venue.toml"
    settings.write_text(_VENUE.format(key=key, secret=secret), encoding="utf-8")
    settings.chmod(0o644)
    program = ROOT / "tests" / "support" / "watched_venue.py"
    return {
        "image": "opensqt-arb-simulator",
        "entrypoint": ["/opt/opensqt/bin/python", _PROGRAM],
        "command": ["--config", _SETTINGS],
        "networks": ["outside"],
        "volumes": [f"{program}:{_PROGRAM}:ro", f"{settings}:{_SETTINGS}:ro"],
    }


def requests_of(stack: ComposeStack) -> list[dict[str, Any]]:
    """Return the requests that reached the container in the outside's place, its probe's aside."""
    lines = stack.docker("logs", stack.containers()[VENUE]["Id"]).splitlines()
    rows = [json.loads(line.removeprefix("request ")) for line in lines if line[:8] == "request "]
    return [row for row in rows if row["from"] != "127.0.0.1"]


def address_of(stack: ComposeStack, service: str) -> str:
    """Return the address of a service on the network that leads outside."""
    networks = stack.containers()[service]["NetworkSettings"]["Networks"]
    return str(networks[stack.network("outside")]["IPAddress"])


def holdings(stack: ComposeStack, service: str) -> dict[str, Decimal]:
    """Return what the account of a simulator holds besides USDT, by that simulator's own books."""
    accounts, positions = json.loads(stack.execute(service, _BOOKS))
    held = {
        name: Decimal(amount)
        for account in accounts
        for name, amount in account["spot"].items()
        if name != "USDT"
    }
    held |= {f"{row['symbol']} perpetual": Decimal(row["quantity"]) for row in positions}
    return {name: amount for name, amount in held.items() if amount}
