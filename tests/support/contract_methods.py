"""Every method of the contract, from its descriptors."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from google.protobuf import message_factory

import opensqt.market_maker.v1 as contract


def contract_methods() -> dict[str, Any]:
    """Return the descriptor of every method by its full name (`/package.Service/Method`)."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(contract.__path__):
        if module.name.endswith("_pb2"):
            loaded = importlib.import_module(f"{contract.__name__}.{module.name}")
            for service in loaded.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    found[f"/{service.full_name}/{method.name}"] = method
    return found


def request_classes() -> dict[str, Any]:
    """Return the message class of every method's request by the method's full name."""
    return {
        name: message_factory.GetMessageClass(method.input_type)
        for name, method in contract_methods().items()
    }
