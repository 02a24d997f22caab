"""Hosts for tests: network namespaces joined by a router whose rules drop what shall be lost.

The router is the namespace this process runs in, which must be its own (`unshare --net`): nothing
of it can meet the machine's network. A cut is a rule by which packets from one host to another
vanish without a word, as behind a broken switch; each direction is cut by itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_IP = shutil.which("ip") or "/usr/sbin/ip"
_PREFERENCE = "100"


class NetworkLab:
    """Named hosts, each with one address; made and removed by `network_lab`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(names, start=1)}

    def address(self, name: str) -> str:
        """Return the address of a host."""
        return f"10.77.{self._numbers[name]}.2"

    def command(self, name: str) -> tuple[str, ...]:
        """Return what a command line begins with that is to run on a host."""
        return (_IP, "netns", "exec", self._space(name))

    def cut(self, sender: str, receiver: str) -> None:
        """Drop from now on whatever one host sends to another."""
        _run("rule", "add", *self._rule(sender, receiver))

    def heal(self) -> None:
        """End all cuts."""
        while (
            subprocess.run(
                [_IP, "rule", "del", "pref", _PREFERENCE], check=False, capture_output=True
            ).returncode
            == 0
        ):
            pass

    def build(self) -> None:
        """Make the hosts and let this namespace forward between them."""
        _run("link", "set", "lo", "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
        for name, number in self._numbers.items():
            space, ours = self._space(name), f"lab{number}"
            _run("netns", "add", space)
            _run("link", "add", ours, "type", "veth", "peer", "name", "up0", "netns", space)
            _run("addr", "add", f"10.77.{number}.1/24", "dev", ours)
            _run("link", "set", ours, "up")
            _run("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "up0")
            for device in ("lo", "up0"):
                _run("-n", space, "link", "set", device, "up")
            _run("-n", space, "route", "add", "default", "via", f"10.77.{number}.1")

    def remove(self) -> None:
        """Remove the hosts, and with them what joined them."""
        self.heal()
        for name in self._numbers:
            subprocess.run([_IP, "netns", "del", self._space(name)], check=False)

    def _space(self, name: str) -> str:
        # Namespaces have names on the whole machine, where others may run the same tests.
        return f"opensqt-{os.getpid()}-{self._numbers[name]}"

    def _rule(self, sender: str, receiver: str) -> tuple[str, ...]:
        ends = ("iif", f"lab{self._numbers[sender]}", "to", f"{self.address(receiver)}/32")
        return ("pref", _PREFERENCE, *ends, "blackhole")


def why_no_lab() -> str:
    """Return why no hosts can be made here; empty where they can."""
    if os.geteuid() != 0 or not Path(_IP).exists():
        return "hosts can be made by root and the command ip only"
    links = subprocess.run([_IP, "-o", "link"], check=True, capture_output=True, text=True)
    if len(links.stdout.splitlines()) > 1:
        return "it needs a network of its own: make test-engine-faults"
    return ""


@contextmanager
def network_lab(names: Sequence[str]) -> Iterator[NetworkLab]:
    """Yield hosts of these names; they are gone after the block."""
    lab = NetworkLab(names)
    try:
        lab.build()
        yield lab
    finally:
        lab.remove()


def _run(*arguments: str) -> None:
    subprocess.run([_IP, *arguments], check=True, capture_output=True)
