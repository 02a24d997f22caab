"""What each method needs: its scope, its lane, the size of its request; and what roles may do.

One table for all services. A method that is not in it is refused to everybody (default deny), and
a test holds the table to the descriptors of the contract: a new method fails it until it stands
here. Names are matched whole, so that look-alikes stay closed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Role(StrEnum):
    """What a principal is; it may have several."""

    READER = "reader"
    SCANNER = "scanner"
    ENGINE = "engine"
    OPERATOR = "operator"


class Scope(StrEnum):
    """What a method asks of its caller."""

    OPEN = "open"
    """Nothing, not even a name: health."""
    MARKET = "market"
    """Public market data, and what trading costs the account: fees and borrow rates."""
    ACCOUNT = "account"
    """What an account has and did: balances, positions, orders, fills."""
    ORDERS = "orders"
    """Place orders at a venue."""
    CANCEL = "cancel"
    """Take orders back from a venue."""
    OPPORTUNITIES = "opportunities"
    """What the scanner found."""
    SCANS = "scans"
    """Start and stop a scan."""
    POSITIONS = "positions"
    """See hedged positions, risk and the engine's state."""
    ENTRIES = "entries"
    """Open hedged positions."""
    EXITS = "exits"
    """Close or reduce hedged positions."""
    HALT = "halt"
    """Stop entries."""
    CONTROL = "control"
    """Let entries run again, change limits, start a reconciliation."""
    REFLECTION = "reflection"
    """Read the descriptors of the services."""


class Lane(StrEnum):
    """Which room a call may use when its principal has used up the common one."""

    COMMON = "common"
    EXIT = "exit"
    """It reduces exposure: the exits' own room stands open to it."""
    BY_REQUEST = "by_request"
    """The request tells: see `lane_of_request`."""


@dataclass(frozen=True, slots=True)
class MethodRule:
    """What one method needs. `has_list`: its request may be as large as the server takes any."""

    scope: Scope
    lane: Lane = Lane.COMMON
    has_list: bool = False


_READS: Final = frozenset(
    {Scope.MARKET, Scope.ACCOUNT, Scope.OPPORTUNITIES, Scope.POSITIONS, Scope.REFLECTION}
)
ROLE_SCOPES: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {
        Role.READER: _READS,
        Role.SCANNER: frozenset({Scope.MARKET, Scope.REFLECTION}),
        Role.ENGINE: frozenset(
            {
                Scope.MARKET,
                Scope.ACCOUNT,
                Scope.ORDERS,
                Scope.CANCEL,
                Scope.OPPORTUNITIES,
                Scope.REFLECTION,
            }
        ),
        Role.OPERATOR: frozenset(Scope) - {Scope.OPEN},
    }
)

_PACKAGE = "opensqt.market_maker.v1"
_COMMON, _EXIT, _BY_REQUEST = Lane.COMMON, Lane.EXIT, Lane.BY_REQUEST

# Each row: scope, lane, whether the request holds a list, and the methods, by service.
_TABLE: Final[Mapping[str, tuple[tuple[Scope, Lane, bool, str], ...]]] = MappingProxyType(
    {
        f"{_PACKAGE}.ExchangeService": (
            (
                Scope.MARKET,
                _COMMON,
                False,
                "GetName GetType GetLatestPrice GetOpenInterest GetHistoricalKlines"
                " FetchExchangeInfo GetSymbolInfo GetSymbols GetFundingRate"
                " GetHistoricalFundingRates SubscribeFundingRate GetOrderBook GetTradingFees"
                " GetTickers GetFundingRates",
            ),
            (Scope.MARKET, _COMMON, True, "SubscribePrice SubscribeKlines GetBorrowRates"),
            (
                Scope.ACCOUNT,
                _COMMON,
                False,
                "GetOrder GetOpenOrders GetAccount GetPositions GetBalance SubscribeOrders"
                " SubscribeAccount SubscribePositions GetFundingPayments GetAccountConfiguration"
                " GetTrades GetTradingState",
            ),
            (Scope.ORDERS, _BY_REQUEST, False, "PlaceOrder EnterOrders"),
            (Scope.ORDERS, _BY_REQUEST, True, "BatchPlaceOrders"),
            (Scope.CANCEL, _EXIT, False, "CancelOrder CancelAllOrders"),
            (Scope.CANCEL, _EXIT, True, "BatchCancelOrders"),
            (Scope.HALT, _EXIT, False, "HaltTrading"),
            (Scope.CONTROL, _COMMON, False, "ResumeTrading"),
        ),
        f"{_PACKAGE}.ScannerService": (
            (Scope.OPPORTUNITIES, _COMMON, True, "ListOpportunities WatchOpportunities"),
            (Scope.OPPORTUNITIES, _COMMON, False, "GetScanStatus"),
            (Scope.SCANS, _COMMON, False, "StartScan CancelScan ResizePool"),
        ),
        f"{_PACKAGE}.EngineService": (
            (Scope.POSITIONS, _COMMON, True, "ListHedgedPositions WatchHedgedPositions"),
            (Scope.POSITIONS, _COMMON, False, "GetHedgedPosition GetStatus"),
            (Scope.ENTRIES, _COMMON, False, "OpenHedgedPosition"),
            (
                Scope.EXITS,
                _EXIT,
                False,
                "CloseHedgedPosition ReduceHedgedPosition CloseAllHedgedPositions",
            ),
            (Scope.HALT, _EXIT, False, "Halt"),
            (Scope.CONTROL, _COMMON, False, "Resume SetStrategyMode"),
            (Scope.POSITIONS, _COMMON, True, "ListDecisions"),
        ),
        f"{_PACKAGE}.PortfolioService": (
            (
                Scope.POSITIONS,
                _COMMON,
                False,
                "GetRiskProfile GetTargetPositions GetMarketScores",
            ),
            (Scope.POSITIONS, _COMMON, True, "SimulateMargin"),
        ),
        f"{_PACKAGE}.PositionService": (
            (
                Scope.POSITIONS,
                _COMMON,
                True,
                "GetPositions SubscribePositions GetOpenOrders GetOrderHistory GetFills"
                " GetRealizedPnL GetUnrealizedPnL",
            ),
            (Scope.POSITIONS, _COMMON, False, "GetPosition GetOrder GetPositionHistory"),
        ),
        f"{_PACKAGE}.RiskService": (
            (
                Scope.POSITIONS,
                _COMMON,
                False,
                "GetPositionLimits GetExposure SubscribeRiskAlerts GetReconciliationStatus"
                " GetCircuitBreakerStatus",
            ),
            (Scope.POSITIONS, _COMMON, True, "GetRiskMetrics"),
            (
                Scope.CONTROL,
                _COMMON,
                False,
                "UpdatePositionLimits TriggerReconciliation CloseCircuitBreaker",
            ),
            (Scope.HALT, _EXIT, False, "OpenCircuitBreaker"),
        ),
        "grpc.health.v1.Health": ((Scope.OPEN, _COMMON, False, "Check Watch List"),),
        "grpc.reflection.v1alpha.ServerReflection": (
            (Scope.REFLECTION, _COMMON, False, "ServerReflectionInfo"),
        ),
    }
)


def _rows() -> Iterator[tuple[str, MethodRule]]:
    for service, rows in _TABLE.items():
        for scope, lane, has_list, names in rows:
            rule = MethodRule(scope, lane, has_list)
            for name in names.split():
                yield f"/{service}/{name}", rule


METHOD_RULES: Final[Mapping[str, MethodRule]] = MappingProxyType(dict(_rows()))
"""Full method name (`/package.Service/Method`) to what it needs."""


def scopes_of(roles: tuple[Role, ...]) -> frozenset[Scope]:
    """Return all scopes of some roles."""
    return frozenset(scope for role in roles for scope in ROLE_SCOPES[role])


_REDUCING_CLASSES: Final = frozenset({2, 3, 4})
"""OrderClass HEDGE, UNWIND and EXIT; a test holds the numbers to the contract's names."""


def lane_of_request(rule: MethodRule, request: Any) -> Lane:
    """Return the lane of a decoded request: an order's class or `reduce_only` may make it an exit.

    Of a batch every order must be one. The class is the caller's word: it opens room in that
    caller's own reserve, and nothing else.
    """
    if rule.lane is not Lane.BY_REQUEST:
        return rule.lane
    orders = getattr(request, "orders", None)
    if orders is None:
        return lane_of_order(request)
    return Lane.EXIT if orders and all(_reduces(order) for order in orders) else Lane.COMMON


def lane_of_order(order: Any) -> Lane:
    """Return the lane of one order of a request: its class or `reduce_only` makes it an exit."""
    return Lane.EXIT if _reduces(order) else Lane.COMMON


def _reduces(order: Any) -> bool:
    return order.reduce_only or order.order_class in _REDUCING_CLASSES
