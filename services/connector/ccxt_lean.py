"""Import ccxt without its hundred other exchanges: 0.2 s and 50 MB less, and only one venue's code.

Nor is `requests` imported (0.1 s and 7 MB more), which only ccxt's synchronous classes call.

`ccxt`, `ccxt.pro` and `ccxt.async_support` import every exchange in their `__init__`. Here they
are replaced by packages that find the same names on demand; where ccxt is imported already, nothing
is done.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_ERRORS = "ccxt.base.errors"
_SOURCES = (_ERRORS, "ccxt.base.exchange", "ccxt.base.decimal_to_precision")


class _LeanPackage(ModuleType):
    """A package whose exchange submodules stand for their classes, as ccxt's own packages do."""

    def __setattr__(self, name: str, value: Any) -> None:
        # Importing a submodule binds it here; ccxt's code expects the class under that name.
        if isinstance(value, ModuleType) and isinstance(getattr(value, name, None), type):
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        # Import machinery and pickling probe dunders; a lookup by import would recurse.
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ == "ccxt":
            for source in _SOURCES:
                module = importlib.import_module(source)
                if hasattr(module, name):
                    return getattr(module, name)
        try:
            module = importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(name) from error
        return getattr(module, name, module)


def _install() -> None:
    # Replacing a package that others hold would give two copies of each error class.
    if "ccxt" in sys.modules:
        return
    spec = importlib.util.find_spec("ccxt")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("ccxt is not installed; install the extra `connector`")
    root = Path(spec.origin).parent
    for name, folder in (
        ("ccxt", root),
        ("ccxt.pro", root / "pro"),
        ("ccxt.async_support", root / "async_support"),
    ):
        package = _LeanPackage(name)
        package.__path__ = [str(folder)]
        package.__package__ = name
        sys.modules[name] = package
    sys.modules["ccxt"].__version__ = "lean"  # type: ignore[attr-defined]  # a name of ccxt's own


@contextmanager
def _without_requests() -> Iterator[None]:
    # ccxt's base module takes these names from it and, asynchronous, never calls one.
    if "requests" in sys.modules:
        yield
        return
    names = {
        "requests": ("Session",),
        "requests.utils": (),
        "requests.exceptions": (
            "HTTPError", "Timeout", "TooManyRedirects", "RequestException", "ConnectionError",
        ),
    }  # fmt: skip
    for module, members in names.items():
        stand_in = ModuleType(module)
        for member in members:
            setattr(stand_in, member, type(member, (Exception,), {}))
        sys.modules[module] = stand_in
    # The one that is called, once an instance: without a name of ccxt's, aiohttp tells its own.
    sys.modules["requests.utils"].default_user_agent = str  # type: ignore[attr-defined]  # made here
    try:
        yield
    finally:
        # Whoever imports it later gets the real one.
        for module in names:
            del sys.modules[module]


_install()
with _without_requests():
    importlib.import_module("ccxt.base.exchange")

errors: Any = importlib.import_module(_ERRORS)
"""ccxt's exception classes."""


def import_venue_class(code: str) -> type:
    """Return the class of `ccxt.pro` for the venue `code`, importing nothing of other venues.

    Raises ValueError when ccxt has no such venue.
    """
    # The id becomes part of a module path: nothing but a plain name may get there.
    if not (code.isidentifier() and code.islower()):
        raise ValueError(f"{code!r} is not a ccxt id")
    try:
        # The pro class inherits from this one and finds it through the stand-in package.
        importlib.import_module(f"ccxt.async_support.{code}")
        module = importlib.import_module(f"ccxt.pro.{code}")
    except ModuleNotFoundError as error:
        raise ValueError(f"ccxt knows no venue {code!r}") from error
    found: type = getattr(module, code)
    return found
