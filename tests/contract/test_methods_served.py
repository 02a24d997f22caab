"""No service leaves a method of its contract to the generated base class."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

from services import connector, engine, scanner

_CONTRACT = "opensqt.market_maker.v1."


def _generated_bases(found: type) -> list[type]:
    return [base for base in inspect.getmro(found)[1:] if base.__module__.startswith(_CONTRACT)]


def _servicers() -> Iterator[type]:
    for package in (connector, engine, scanner):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name.endswith("__main__"):
                continue
            module = importlib.import_module(info.name)
            for _name, found in inspect.getmembers(module, inspect.isclass):
                # Made by a call here, or written here; not what a module only imports.
                if found.__module__.startswith("services.") and _generated_bases(found):
                    yield found


SERVICERS = sorted(set(_servicers()), key=lambda found: found.__qualname__)


def test_every_service_of_the_trio_is_found() -> None:
    """The exchange's, the scanner's, the engine's and the refused ones: the search sees them."""
    served = {base.__name__ for found in SERVICERS for base in _generated_bases(found)}
    assert {"ExchangeServiceServicer", "ScannerServiceServicer", "RiskServiceServicer"} <= served


@pytest.mark.parametrize("servicer", SERVICERS, ids=lambda found: found.__qualname__)
def test_every_method_has_a_handler_of_ours(servicer: type) -> None:
    """The generated base raises a bare exception, which a caller would read as a bug here."""
    left_out = [
        name
        for base in _generated_bases(servicer)
        for name, method in vars(base).items()
        if not name.startswith("_") and getattr(servicer, name) is method
    ]
    assert left_out == []
