"""Settings: precedence, all problems at once, secrets unseen, refusal off loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from services.common.settings import (
    ClientTlsSettings,
    SecretFile,
    ServerSettings,
    ServiceSettings,
    SettingsPart,
    TlsSettings,
    VenueSettings,
    is_loopback,
    load_settings,
    read_secret,
)
from services.common.settings_loader import SettingsProblemsError, read_settings

SECRET = "canary-5f2c9e81"


class Limits(SettingsPart):
    """A nested table."""

    max_orders: int = 3
    depth: int = 5


class DemoSettings(ServiceSettings):
    """A service's settings as a service writes them."""

    service: ClassVar[str] = "demo"

    limits: Limits = Limits()
    venues: tuple[VenueSettings, ...] = ()
    key_file: SecretFile | None = None
    account: str


class TradingSettings(DemoSettings):
    """Those of a service that is nothing without a venue."""

    venues: tuple[VenueSettings, ...] = Field(min_length=1)


Read = Callable[..., DemoSettings]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a reader of settings from a TOML text and an environment."""

    def call(text: str, environ: Mapping[str, str] | None = None) -> DemoSettings:
        config = tmp_path / "demo.toml"
        config.write_text(text)
        return read_settings(DemoSettings, config, environ or {})

    return call


def problems_of(call: Callable[[], object]) -> dict[str, str]:
    """Return the problems of settings that must be refused, by path."""
    with pytest.raises(SettingsProblemsError) as caught:
        call()
    return {problem.path: problem.text for problem in caught.value.problems}


def test_environment_wins_over_file_and_file_over_defaults(read: Read) -> None:
    """Key by key, in nested tables too."""
    settings = read(
        'account = "file"\n[limits]\nmax_orders = 7\n',
        {"OPENSQT_DEMO__ACCOUNT": "env", "OPENSQT_DEMO__GRPC__PORT": "5001"},
    )
    assert (settings.account, settings.grpc.port) == ("env", 5001)
    assert (settings.limits.max_orders, settings.limits.depth) == (7, 5)
    mixed = read('account = "a"\n[limits]\nmax_orders = 7\n', {"OPENSQT_DEMO__LIMITS__DEPTH": "9"})
    assert (mixed.limits.max_orders, mixed.limits.depth) == (7, 9)


def test_lists_come_from_the_environment_as_json(read: Read) -> None:
    """A list of tables in one variable replaces the file's."""
    venues = '[{"name": "b", "kind": "spot", "address": "127.0.0.1:5001"}]'
    settings = read('account = "a"', {"OPENSQT_DEMO__VENUES": venues})
    assert [venue.name for venue in settings.venues] == ["b"]


def test_other_services_variables_are_not_ours(read: Read) -> None:
    """A prefix of another service, or none, changes nothing."""
    settings = read('account = "a"', {"OPENSQT_OTHER__ACCOUNT": "x", "ACCOUNT": "y", "GRPC": "z"})
    assert settings.account == "a"


def test_constructing_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests build settings by keyword; the machine's environment has no say."""
    monkeypatch.setenv("OPENSQT_DEMO__GRPC__PORT", "5001")
    monkeypatch.setenv("GRPC__PORT", "5001")
    assert DemoSettings(account="a").grpc.port == 0


def test_all_problems_are_told_at_once(read: Read) -> None:
    """File, environment, types, unknown and missing keys in one go, each with its path."""
    text = (
        '[grpc]\nport = 70000\nprot = 1\n[limits]\nmax_orders = "many"\n'
        '[[venues]]\nname = "a"\nkind = "spt"\naddress = "127.0.0.1:1"\n'
    )
    environ = {"OPENSQT_DEMO__ACOUNT": "x", "OPENSQT_DEMO__LIMITS__DEEP": "1"}
    problems = problems_of(lambda: read(text, environ))
    assert set(problems) == {
        "OPENSQT_DEMO__ACOUNT",
        "grpc.port",
        "grpc.prot",
        "limits.max_orders",
        "limits.deep",
        "venues[0].kind",
        "account",
    }
    assert problems["grpc.prot"] == "unknown key; did you mean port?"
    assert problems["OPENSQT_DEMO__ACOUNT"] == "unknown key; did you mean account?"
    assert "OPENSQT_DEMO__ACCOUNT" in problems["account"]


def test_a_list_whose_entries_are_wrong_is_not_told_to_be_short(tmp_path: Path) -> None:
    """Of an empty one it is said in words; with an entry that is wrong the entry alone is told."""
    config = tmp_path / "demo.toml"
    config.write_text('account = "a"\nvenues = []\n')
    problems = problems_of(lambda: read_settings(TradingSettings, config, {}))
    assert problems == {"venues": "needs one entry or more"}
    far = '[[venues]]\nname = "a"\nkind = "spot"\naddress = "10.1.1.1:1"\n'
    config.write_text(f'account = "a"\n{far}')
    problems = problems_of(lambda: read_settings(TradingSettings, config, {}))
    assert list(problems) == ["venues[0]"]


def test_values_never_show_in_problems(read: Read, tmp_path: Path) -> None:
    """A secret in the wrong place is not repeated: unknown key, wrong type, broken TOML or JSON."""
    twice = tmp_path / "secret"
    twice.write_text(f"{SECRET}\n{SECRET}\n")
    texts = [
        f'account = "a"\napi_key = "{SECRET}"',
        f'account = "a"\nlimits = "{SECRET}"',
        f'account = "a"\n[limits]\nmax_orders = "{SECRET}"',
        f'account = "a"\nkey_file = "{twice}"',
        f'account = "a"\n{SECRET} {SECRET}',
        f'account = "a"\nx = "{SECRET}',
    ]
    for text in texts:
        assert SECRET not in str(problems_of(lambda text=text: read(text)))  # type: ignore[misc]  # default binds the loop value
    for name in ("VENUES", "LIMITS__MAX_ORDERS", "GRPC", "NOPE"):
        environ = {f"OPENSQT_DEMO__{name}": f"[{SECRET}"}
        bad = problems_of(lambda environ=environ: read('account = "a"', environ))  # type: ignore[misc]  # default binds the loop value
        assert SECRET not in str(bad)


def test_a_missing_file_is_the_only_problem_told(tmp_path: Path) -> None:
    """Keys that seem missing because the file is are not listed beside it."""
    problems = problems_of(lambda: read_settings(DemoSettings, tmp_path / "none.toml", {}))
    assert list(problems) == ["--config"]


def test_load_settings_prints_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every problem on its own line on stderr, nothing on stdout, no traceback."""
    config = tmp_path / "demo.toml"
    config.write_text(f'api_key = "{SECRET}"\n')
    with pytest.raises(SystemExit) as caught:
        load_settings(DemoSettings, ["--config", str(config)])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.splitlines()[0].startswith("demo: 2 problems in the settings")
    assert SECRET not in err


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The other flag of every service."""
    with pytest.raises(SystemExit) as caught:
        load_settings(DemoSettings, ["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.strip()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Return readable files for certificate, key and token."""
    made = {name: tmp_path / name for name in ("certificate", "key", "token")}
    for path in made.values():
        path.write_text("sixteen-characters-and-more\n")
    return made


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "connector", "localhost.x.org"])  # noqa: S104 - refused here
@pytest.mark.parametrize("given", ["nothing", "token", "tls"])
def test_off_loopback_needs_token_and_tls(files: dict[str, Path], host: str, given: str) -> None:
    """Each alone is refused; both are taken."""
    tls = TlsSettings(certificate_file=files["certificate"], key_file=files["key"])
    parts: dict[str, dict[str, Any]] = {
        "nothing": {},
        "token": {"token_file": files["token"]},
        "tls": {"tls": tls},
    }
    with pytest.raises(ValidationError, match="needs token_file and tls"):
        ServerSettings(host=host, **parts[given])
    assert ServerSettings(host=host, tls=tls, token_file=files["token"]).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """The default way to run."""
    assert is_loopback(host)
    assert ServerSettings(host=host).token_file is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a-token-of-16-chars\n" * 3, "more than 2"),
        ("short\n", "at least 16"),
        ("t\u00f6ken-with-more-than-16\n", "ASCII"),
    ],
)
def test_an_unsound_token_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """At load, not at the first call."""
    path = tmp_path / "tokens"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValidationError, match=why) as caught:
        ServerSettings(token_file=path)
    assert not text.strip() or text.split()[0] not in str(caught.value)


def test_a_secret_file_is_read_without_its_newline(tmp_path: Path) -> None:
    """The value is exact, its repr shows nothing."""
    path = tmp_path / "key"
    path.write_text(f"{SECRET}\n")
    settings = DemoSettings(account="a", key_file=path)
    assert settings.key_file is not None
    secret = read_secret(settings.key_file)
    assert secret.get_secret_value() == SECRET
    assert SECRET not in repr(secret) + repr(settings)
    with pytest.raises(ValidationError, match="No such file"):
        DemoSettings(account="a", key_file=tmp_path / "none")


def test_an_empty_secret_file_is_named(tmp_path: Path) -> None:
    """Whoever starts a container with no key in place sees where it belongs."""
    path = tmp_path / "key"
    path.touch()
    with pytest.raises(ValidationError, match=f"{path} is empty"):
        DemoSettings(account="a", key_file=path)


def test_a_secret_in_the_place_of_its_file_is_not_told() -> None:
    """What stands there may be the key itself."""
    with pytest.raises(ValidationError, match="cannot read the secret file: No such") as caught:
        DemoSettings(account="a", key_file=Path(SECRET))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "http://127.0.0.1:1", "", ":5001", "a b:1"])
def test_a_venue_address_is_host_and_port(address: str) -> None:
    """Anything else is refused at load."""
    with pytest.raises(ValidationError, match="host:port"):
        VenueSettings(name="a", kind="spot", address=address)


def test_a_venue_off_loopback_needs_tls() -> None:
    """A token never travels in the clear."""
    with pytest.raises(ValidationError, match="needs tls"):
        VenueSettings(name="a", kind="spot", address="connector:5001")
    venue = VenueSettings(name="a", kind="spot", address="connector:5001", tls=ClientTlsSettings())
    assert venue.tls is not None


def test_half_a_client_certificate_is_refused(files: dict[str, Path]) -> None:
    """A key without its certificate would connect without either."""
    with pytest.raises(ValidationError, match="set both"):
        ClientTlsSettings(key_file=files["key"])
