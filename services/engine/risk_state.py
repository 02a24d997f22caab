"""What may be sent in which state: no state ever blocks an order that reduces exposure."""

from __future__ import annotations

from collections.abc import Mapping

from services.engine.orders import OrderClass
from services.engine.views import EngineMode

_RANK = {EngineMode.ACTIVE: 0, EngineMode.REDUCING: 1, EngineMode.HALTED: 2}


def may_send(mode: EngineMode, order_class: OrderClass) -> bool:
    """Tell whether an order of this class may leave in this state.

    A hedge reduces the exposure of a lead that has filled already; only leads open something.
    """
    return order_class is not OrderClass.ENTRY or mode is EngineMode.ACTIVE


def state_of(symbol: str, mode: EngineMode, breakers: Mapping[str, str]) -> EngineMode:
    """Return the state of one symbol: the worse of the engine's and of its own breaker's."""
    own = EngineMode.REDUCING if symbol in breakers else EngineMode.ACTIVE
    return max(mode, own, key=_RANK.__getitem__)
