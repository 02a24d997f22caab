"""What a venue tells of an account's settings, by ccxt class: key, mode, leverage, totals.

ccxt has no unified call for most of it. Sources: OKX "Get account configuration", Bybit "Get API
Key Information" and "Get Account Info", Gate "Get account detail" and "Query futures account",
Bitget "Get Account Information" and "Get Single Account", Hyperliquid "Nonces and API wallets".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from services.connector.account_mapping import SymbolConfig, margin_type_of
from services.connector.row_numbers import number
from services.connector.venue_questions import KeyPermissions

if TYPE_CHECKING:
    from decimal import Decimal

    from services.connector.instruments import Instrument


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """Figures of the account as a whole; None where the venue has no such figure."""

    wallet: Decimal | None = None
    equity: Decimal | None = None
    available: Decimal | None = None
    maintenance: Decimal | None = None
    adjusted: Decimal | None = None
    is_unified: bool = False


class VenueSettings(Protocol):
    """Settings of one family; `exchange` is its ccxt instance, errors are left as they come."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return what the key may do, None for what the venue does not tell."""
        ...

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return whether a symbol can have a long and a short at once; None: not told."""
        ...

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return leverage and margin type of one perpetual."""
        ...

    def totals(self, info: Any) -> AccountTotals:
        """Read the account's figures from the raw answer behind a balance."""
        ...


class OkxSettings:
    """OKX: one answer tells key and mode; margin is cross because our orders say so."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return the key's permissions: `perm` is a list of words, `ip` the addresses bound."""
        del perpetual
        row = await self._config(exchange)
        words = str(row["perm"]).split(",")
        return KeyPermissions(
            can_read=True,
            can_trade="trade" in words,
            can_withdraw="withdraw" in words,
            ip_restricted=bool(row.get("ip")),
        )

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return whether `posMode` is long_short_mode."""
        del instrument
        return str((await self._config(exchange))["posMode"]) == "long_short_mode"

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return the leverage of cross margin, which is how our orders are placed."""
        rows = (
            await exchange.privateGetAccountLeverageInfo(
                {"instId": instrument.exchange_symbol, "mgnMode": "cross"}
            )
        )["data"]
        return SymbolConfig(_whole(rows[0], "lever"), "cross")

    def totals(self, info: Any) -> AccountTotals:
        """Read equity and margins, in USD as OKX values them."""
        row = info["data"][0]
        return AccountTotals(
            equity=number(row, "totalEq"),
            available=number(row, "availEq"),
            maintenance=number(row, "mmr"),
            adjusted=number(row, "adjEq"),
            is_unified=True,
        )

    async def _config(self, exchange: Any) -> dict[str, Any]:
        row: dict[str, Any] = (await exchange.privateGetAccountConfig())["data"][0]
        return row


class BybitSettings:
    """Bybit's unified trading account."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return the key's permissions; `ips` is `*` for a key that works from anywhere."""
        row = (await exchange.privateGetV5UserQueryApi())["result"]
        held = row["permissions"]
        trade = held.get("ContractTrade") if perpetual else held.get("Spot")
        return KeyPermissions(
            can_read=True,
            # 1 is a key for reading only, whatever its permissions say.
            can_trade=bool(trade) and str(row.get("readOnly")) == "0",
            can_withdraw="Withdraw" in (held.get("Wallet") or ()),
            ip_restricted=bool(row.get("ips")) and "*" not in row["ips"],
        )

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return whether the symbol's rows have sides: positionIdx 0 is one-way."""
        if instrument is None:
            return None
        rows = await self._rows(exchange, instrument)
        return any(str(row["positionIdx"]) != "0" for row in rows) if rows else None

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return the symbol's leverage and the account's margin mode."""
        rows = await self._rows(exchange, instrument)
        account = (await exchange.privateGetV5AccountInfo())["result"]
        mode = str(account.get("marginMode", ""))
        margin = "isolated" if mode == "ISOLATED_MARGIN" else "cross" if mode else ""
        return SymbolConfig(_whole(rows[0], "leverage") if rows else 0, margin)

    def totals(self, info: Any) -> AccountTotals:
        """Read equity and margins, in USD as Bybit values them."""
        row = info["result"]["list"][0]
        return AccountTotals(
            wallet=number(row, "totalWalletBalance"),
            equity=number(row, "totalMarginBalance") or number(row, "totalEquity"),
            available=number(row, "totalAvailableBalance"),
            maintenance=number(row, "totalMaintenanceMargin"),
            is_unified=True,
        )

    async def _rows(self, exchange: Any, instrument: Instrument) -> list[dict[str, Any]]:
        # A symbol by name has a row also while it is flat.
        reply = await exchange.privateGetV5PositionList(
            {"category": "linear", "symbol": instrument.exchange_symbol}
        )
        rows: list[dict[str, Any]] = reply["result"]["list"]
        return rows


class GateSettings:
    """Gate; its futures account in USDT."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return the address binding; of permissions the venue tells nothing."""
        del perpetual
        row = await exchange.privateAccountGetDetail()
        return KeyPermissions(can_read=True, ip_restricted=bool(row.get("ip_whitelist")))

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return whether the futures account is in dual mode."""
        del instrument
        row = await exchange.privateFuturesGetSettleAccounts({"settle": "usdt"})
        return _truth(row["in_dual_mode"])

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return the symbol's leverage; Gate writes 0 for cross and its limit beside."""
        row = await exchange.privateFuturesGetSettlePositionsContract(
            {"settle": "usdt", "contract": instrument.exchange_symbol}
        )
        isolated = _whole(row, "leverage")
        if isolated:
            return SymbolConfig(isolated, "isolated")
        return SymbolConfig(_whole(row, "cross_leverage_limit"), "cross")

    def totals(self, info: Any) -> AccountTotals:
        """Read the futures account; `total` is without unrealized profit."""
        row = info[0] if isinstance(info, list) else info
        wallet, profit = number(row, "total"), number(row, "unrealised_pnl")
        return AccountTotals(
            wallet=wallet,
            equity=None if wallet is None or profit is None else wallet + profit,
            available=number(row, "available"),
            maintenance=number(row, "maintenance_margin")
            or number(row, "cross_maintenance_margin"),
        )


class BitgetSettings:
    """Bitget's classic account."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return the key's permissions: `wwow` withdraws, `coow` and `stow` trade."""
        row = (await exchange.privateSpotGetV2SpotAccountInfo())["data"]
        words = row["authorities"]
        trade = "coow" if perpetual else "stow"
        return KeyPermissions(
            can_read=True,
            # Older keys have long words for the same.
            can_trade=trade in words or "trade" in words,
            can_withdraw="wwow" in words or "withdraw" in words,
            ip_restricted=bool(row.get("ips")),
        )

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return whether `posMode` is hedge_mode."""
        if instrument is None:
            return None
        return str((await self._account(exchange, instrument))["posMode"]) == "hedge_mode"

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return the symbol's margin type and its leverage under it."""
        row = await self._account(exchange, instrument)
        margin = margin_type_of(row.get("marginMode"))
        key = "isolatedLongLever" if margin == "isolated" else "crossedMarginLeverage"
        return SymbolConfig(_whole(row, key), margin)

    def totals(self, info: Any) -> AccountTotals:
        """Read the USDT futures account."""
        rows = info["data"] if isinstance(info, dict) else info
        row = next(one for one in rows if one.get("marginCoin") == "USDT")
        return AccountTotals(
            equity=number(row, "accountEquity"), available=number(row, "crossedMaxAvailable")
        )

    async def _account(self, exchange: Any, instrument: Instrument) -> dict[str, Any]:
        row: dict[str, Any] = (
            await exchange.privateMixGetV2MixAccountAccount(
                {
                    "symbol": instrument.exchange_symbol,
                    "productType": "USDT-FUTURES",
                    "marginCoin": "USDT",
                }
            )
        )["data"]
        return row


class HyperliquidSettings:
    """Hyperliquid: positions are one-way always, and an API wallet cannot withdraw."""

    async def key_permissions(self, exchange: Any, *, perpetual: bool) -> KeyPermissions:
        """Return whether the signing key is the account's own, which may do everything."""
        del perpetual
        signer = exchange.eth_get_address_from_private_key(exchange.privateKey)
        owner = str(signer).lower() == str(exchange.walletAddress).lower()
        return KeyPermissions(can_read=True, can_trade=True, can_withdraw=owner)

    async def hedge_mode(self, exchange: Any, instrument: Instrument | None) -> bool | None:
        """Return False: there is no other mode."""
        del exchange, instrument
        return False

    async def symbol_config(self, exchange: Any, instrument: Instrument) -> SymbolConfig:
        """Return leverage and margin type of one coin."""
        coin = exchange.market(instrument.unified)["baseName"]
        row = await exchange.publicPostInfo(
            {"type": "activeAssetData", "user": exchange.walletAddress, "coin": coin}
        )
        held = row["leverage"]
        return SymbolConfig(_whole(held, "value"), margin_type_of(held.get("type")))

    def totals(self, info: Any) -> AccountTotals:
        """Read the clearinghouse state, in USDC."""
        row = info.get("marginSummary") or info["crossMarginSummary"]
        return AccountTotals(
            equity=number(row, "accountValue"),
            available=number(info, "withdrawable"),
            maintenance=number(info, "crossMaintenanceMarginUsed"),
        )


def find_settings(ccxt_id: str) -> VenueSettings:
    """Return the settings of a family by ccxt's class; KeyError when there is none."""
    families: dict[str, VenueSettings] = {
        "okx": OkxSettings(),
        "bybit": BybitSettings(),
        "gate": GateSettings(),
        "bitget": BitgetSettings(),
        "hyperliquid": HyperliquidSettings(),
    }
    return families[ccxt_id]


def _whole(row: dict[str, Any], key: str) -> int:
    return int(number(row, key) or 0)


def _first(row: dict[str, Any], *keys: str) -> Decimal | None:
    found = (number(row, key) for key in keys)
    return next((one for one in found if one is not None), None)


def _truth(value: object) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError("no truth value")
    return str(value).lower() == "true"
