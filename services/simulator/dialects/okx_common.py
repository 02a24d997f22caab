"""What all of OKX v5 shares: names, contracts, envelope, refusals in the venue's own codes.

The core refuses with Binance's codes; here they become OKX's, of orders in `sCode` with HTTP 200.
Sources: OKX API v5 "Overview", "Error Code", "Get instruments". Swaps count contracts: one is ten
of the core's lots (0.01 BTC, 10 coins), and where a lot is less than a coin a tenth of a contract
may be traded; DOGE has the venue's own contract, a thousand coins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeVar

from services.simulator.core.errors import VenueError
from services.simulator.core.money import plain
from services.simulator.core.orders import Product
from services.simulator.dialects.context import Context
from services.simulator.market.source import InstrumentSpec, Kind

Row = dict[str, object]
_Item = TypeVar("_Item")
VENUES: Final = {
    Product.SPOT: "okx-spot",
    Product.MARGIN: "okx-spot",
    Product.PERPETUAL: "okx-swap",
}
TYPES: Final = {Kind.SPOT: "SPOT", Kind.PERPETUAL: "SWAP"}
KINDS: Final = {"SPOT": Kind.SPOT, "SWAP": Kind.PERPETUAL}
_SWAP: Final = "-SWAP"
_LOTS_A_CONTRACT: Final = Decimal(10)
_ONE: Final = Decimal(1)
_TENTH: Final = Decimal("0.1")
FIRST_ORDER_CODE: Final = 51000
"""Codes from here on are about orders, and are told in the row of the order."""

_Words = tuple[int, str] | tuple[int, str, int]
_GONE: Final = (
    51400,
    "Order cancellation failed as the order has been filled, canceled or does not exist.",
)
_TOO_SMALL: Final = (51020, "Your order should meet or exceed the minimum order amount.")
_OFF_LOT: Final = (51121, "Order quantity must be a multiple of the lot size.")
_OUT_OF_BAND: Final = (51006, "Order price is not within the price limit.")
_NO_FUNDS: Final = (51008, "Order failed. Insufficient USDT balance in account.")
_DUPLICATE: Final = (51016, "Client order ID already exists.")
_SUSPENDED: Final = (51022, "Contract suspended.")
_TOO_LARGE: Final = (51202, "Market order amount exceeds the maximum amount.")
_CODES: Final[dict[int, _Words]] = {
    -1007: (
        50004,
        "API endpoint request timeout. (does not mean that the request was successful or failed, "
        "please check the request result).",
        400,
    ),
    -1111: (51000, "Parameter px error"),
    -1121: (51001, "Instrument ID doesn't exist."),
    -2010: _NO_FUNDS,
    -2011: _GONE,
    -2013: (51603, "Order does not exist."),
    -2019: _NO_FUNDS,
    -2022: (
        51169,
        "Order failed because you don't have any positions in this direction for this contract to "
        "reduce or close.",
    ),
    -4003: _TOO_SMALL,
    -4004: _TOO_SMALL,
    -4005: _TOO_LARGE,
    -4014: (51000, "Parameter px error"),
    -4016: _OUT_OF_BAND,
    -4023: _OFF_LOT,
    -4024: _OUT_OF_BAND,
    -4061: (51000, "Parameter posSide error"),
    -4108: _SUSPENDED,
    -4116: _DUPLICATE,
    -4164: _TOO_SMALL,
}
_MESSAGES: Final[dict[str, _Words]] = {
    "Duplicate order sent.": _DUPLICATE,
    "Market is closed.": _SUSPENDED,
    "Filter failure: NOTIONAL": _TOO_SMALL,
    "Filter failure: LOT_SIZE": _OFF_LOT,
    "Filter failure: PRICE_FILTER": (51000, "Parameter px error"),
    "Filter failure: PERCENT_PRICE_BY_SIDE": _OUT_OF_BAND,
    "Filter failure: MARKET_LOT_SIZE": _TOO_LARGE,
}
# Refusals of the core that OKX tells only after the acknowledgement, by cancelling the order.
CANCEL_CODES: Final = frozenset({-5021, -5022})
POST_ONLY_WORDS: Final = "Order would immediately match and take."


@dataclass(frozen=True, slots=True)
class Contract:
    """How the venue measures an instrument: `size` base units in one of its units, and its lot."""

    size: Decimal
    lot: Decimal

    def to_venue(self, quantity: Decimal) -> str:
        """Return base units in the venue's own, as text."""
        return plain(quantity / self.size)


# As OKX lists it (GET /api/v5/public/instruments): a lot of ten coins where others trade one.
_LARGE_CONTRACTS: Final = {"DOGE": Contract(Decimal(1000), Decimal("0.01"))}


def contract_of(spec: InstrumentSpec) -> Contract:
    """Return the contract of a perpetual; spot is traded in the base itself."""
    if spec.kind is Kind.SPOT:
        return Contract(_ONE, spec.lot_size)
    if spec.base_asset in _LARGE_CONTRACTS:
        return _LARGE_CONTRACTS[spec.base_asset]
    return Contract(spec.lot_size * _LOTS_A_CONTRACT, _ONE if spec.lot_size >= _ONE else _TENTH)


def name_of(spec: InstrumentSpec) -> str:
    """Return the venue's name of an instrument."""
    name = f"{spec.base_asset}-{spec.quote_asset}"
    return name if spec.kind is Kind.SPOT else name + _SWAP


def symbol_of(name: str) -> str:
    """Return the core's symbol of an instrument's name, whatever the kind."""
    return name.removesuffix(_SWAP).replace("-", "")


def product_of_name(name: str) -> Product:
    """Return the product that an instrument's name stands for."""
    return Product.PERPETUAL if name.endswith(_SWAP) else Product.SPOT


def spec_of(context: Context) -> InstrumentSpec:
    """Return the instrument asked for; raises VenueError 51001 when there is none."""
    return find_spec(context, required(context, "instId"))


def find_spec(context: Context, name: str) -> InstrumentSpec:
    """Return an instrument by the venue's name; raises VenueError 51001 when there is none."""
    kind = product_of_name(name).kind
    spec = context.simulation.market.instruments(kind).get(symbol_of(name))
    # The name itself must fit: BTCUSDT is no name here.
    if spec is None or name_of(spec) != name:
        raise VenueError(51001, f"Instrument ID {name[:40]} doesn't exist.", 200)
    return spec


def kind_of(context: Context) -> Kind | None:
    """Return the kind that instType asks for, None when it is not sent or ANY."""
    word = context.params.text("instType")
    if word in (None, "ANY"):
        return None
    kind = KINDS.get(word or "")
    if kind is None:
        raise parameter_error("instType")
    return kind


def specs_of(context: Context) -> Sequence[InstrumentSpec]:
    """Return the instruments of the kind asked for."""
    kind = KINDS.get(required(context, "instType"))
    if kind is None:
        return ()
    return list(context.simulation.market.instruments(kind).values())


def required(context: Context, name: str) -> str:
    """Return a parameter; raises VenueError 50014 when it was not sent."""
    value = context.params.text(name)
    if value is None:
        raise VenueError(50014, f"Parameter {name} can not be empty.", 400)
    return value


def parameter_error(name: str) -> VenueError:
    """Return the refusal of a parameter that is none of the venue's."""
    return VenueError(51000, f"Parameter {name} error", 400)


def done(rows: object) -> Row:
    """Return a success as every v5 answer looks."""
    return {"code": "0", "data": rows, "msg": ""}


def refusal(code: int, message: str) -> Row:
    """Return a refusal of a whole request."""
    return {"code": str(code), "data": [], "msg": message}


def translate(error: VenueError) -> VenueError:
    """Return a refusal of the core in OKX's words; one that is OKX's already stays."""
    found = _MESSAGES.get(error.message) or _CODES.get(error.code)
    if found is not None:
        code, words = found[0], found[1]
        return VenueError(code, words, found[2] if len(found) == 3 else 200)
    if error.code < 0:
        return VenueError(51000, f"Parameter error: {error.message}", 400)
    return error


def page(context: Context, rows: Sequence[_Item], id_of: Callable[[_Item], int]) -> list[_Item]:
    """Return a page of rows that are newest first: older than `after`, newer than `before`."""
    params = context.params
    after, before = params.integer("after"), params.integer("before")
    kept = [
        row
        for row in rows
        if (after is None or id_of(row) < after) and (before is None or id_of(row) > before)
    ]
    return kept[: params.limit(100, 100)]


def in_time(
    context: Context, rows: Sequence[_Item], time_of: Callable[[_Item], int]
) -> list[_Item]:
    """Return the rows from `begin` to `end`, both included."""
    begin, end = context.params.integer("begin"), context.params.integer("end")
    return [
        row
        for row in rows
        if (begin is None or time_of(row) >= begin) and (end is None or time_of(row) <= end)
    ]
