"""Settings: read once from the environment and one TOML file, checked, and passed on as a plain frozen value."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from ingest.toml_lines import lines_of
from lunchong.errors import UsageError

PREFIX = "LUNCHONG_"
EMBEDDED = "embedded"


class SettingsError(UsageError):
    """A setting is unknown or bad. The text is one line: where it stands, and what would be right."""


def _mqtt_url(value: str) -> str:
    match = re.fullmatch(r"mqtts?://(?:[^/\s@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?", value, re.ASCII)
    if value != EMBEDDED and (not match or (match[1] and not 0 < int(match[1]) <= 65_535)):
        raise ValueError("must be `embedded`, mqtt://HOST[:PORT] or mqtts://HOST[:PORT]")
    return value


def _listen(value: str) -> str:
    match = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):(\d{1,5})", value)
    if not match or int(match[2]) > 65_535:
        raise ValueError("must be HOST:PORT")
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError("must be a time zone such as Asia/Shanghai") from None
    return value


def _influx_url(value: str) -> str:
    match = re.fullmatch(
        r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?(?:/[\w.~/-]*)?", value, re.ASCII
    )
    if not match or (match[1] and not 0 < int(match[1]) <= 65_535):
        raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT]")
    return value.rstrip("/")


def _webhook_url(value: str) -> str:
    if not re.fullmatch(r"https?://[\x21-\x7e]+", value):
        raise ValueError("must be http://… or https://…, without spaces")
    return value


def _mail_url(value: str) -> str:
    from scheduler.mail import mail_server

    mail_server(value)
    return value


def _influx_token(value: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("must be printable ASCII without spaces")
    return value


def _influx_bucket(value: str) -> str:
    if not re.fullmatch(r"[^\W_][\w.-]*", value):
        raise ValueError("must be letters, digits, `.`, `-` and `_`, which cannot be its first")
    return value


def _networks(value: str) -> str:
    for one in filter(None, value.split(",")):
        try:
            ipaddress.ip_network(one.strip(), strict=False)
        except ValueError:
            raise ValueError("must be addresses or networks, separated by commas") from None
    return value


class Said(BaseSettings):
    """What may be set: by option, by environment, by file, else the default. `docs/settings.md` lists the same."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", env_ignore_empty=True)

    data_dir: Path = Field(Path("data"), description="Everything that is kept. The demo's is `data/demo`.")
    inventory: Path | None = Field(None, description="The inventory; `DATA_DIR/inventory.toml` when not set.")
    mqtt_url: Annotated[str, AfterValidator(_mqtt_url)] = Field(
        EMBEDDED, description="`embedded` starts a broker of our own; else `mqtt[s]://HOST[:PORT]`."
    )
    mqtt_listen: Annotated[str, AfterValidator(_listen)] = Field(
        "127.0.0.1:1883", description="Where the embedded broker serves; port 0 takes a free one."
    )
    mqtt_tls_cert: Path | None = Field(
        None,
        description="Certificate of the embedded broker, which beyond loopback needs one; or the CA of `mqtts://`.",
    )
    mqtt_tls_key: Path | None = Field(None, description="Key of the embedded broker's certificate.")
    mqtt_acl_dir: Path | None = Field(None, description="Folder for passwords and ACL as mosquitto reads them.")
    store: Literal["duckdb", "influxdb"] = Field(
        "duckdb", description="Where facts are kept. DuckDB is for the all-in-one process alone."
    )
    influx_url: Annotated[str, AfterValidator(_influx_url)] | None = Field(None, description="InfluxDB's address.")
    influx_token: Annotated[str, AfterValidator(_influx_token)] | None = Field(None, description="InfluxDB's token.")
    influx_org: str = Field("lunchong", min_length=1, description="InfluxDB's organisation.")
    influx_bucket: Annotated[str, AfterValidator(_influx_bucket)] = Field(
        "lunchong", description="Prefix of InfluxDB's three buckets."
    )
    ledger_url: str | None = Field(
        None, description="SQLAlchemy address of the ledger; SQLite in `DATA_DIR` if not set."
    )
    webhook_url: Annotated[str, AfterValidator(_webhook_url)] | None = Field(
        None, description="Each notice to a household is also posted here, as JSON."
    )
    mail_url: Annotated[str, AfterValidator(_mail_url)] | None = Field(
        None, description="Mail server: notices also go to residents who gave an address."
    )
    http_host: str = Field("127.0.0.1", min_length=1, description="Address that HTTP listens on.")
    http_port: int = Field(8080, ge=0, le=65_535, description="Port of HTTP; 0 takes a free one.")
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "", description="Addresses whose X-Forwarded-For is believed, separated by commas."
    )
    secret_file: Path | None = Field(None, description="The server's own secret; `DATA_DIR/secret` when not set.")
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "Asia/Shanghai", description="The place's own time: opening hours and days go by it."
    )
    retention_days: int = Field(
        90, ge=0, le=36_500, description="Days of service time that raw facts are kept; 0 is for ever."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


@dataclass(frozen=True)
class Settings:
    """All settings, with every default filled in."""

    data_dir: Path
    inventory: Path
    mqtt_url: str
    mqtt_listen: tuple[str, int]
    mqtt_tls_cert: Path | None
    mqtt_tls_key: Path | None
    mqtt_acl_dir: Path | None
    store: Literal["duckdb", "influxdb"]
    influx_url: str | None
    influx_token: str | None
    influx_org: str
    influx_bucket: str
    ledger_url: str
    webhook_url: str | None
    mail_url: str | None
    http_host: str
    http_port: int
    trusted_proxies: tuple[str, ...]
    secret_file: Path
    timezone: str
    retention_days: int


def read(
    *,
    data_dir: Path | None = None,
    config: Path | None = None,
    options: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Settings:
    """Settings from `options` (a command's own), the environment, the file, then `defaults` over the built-in ones.

    The file is `config`, else `lunchong.toml` in the data folder where there is one. Raises SettingsError.
    """
    given = {key: value for key, value in {"data_dir": data_dir, **(options or {})}.items() if value is not None}
    defaults = defaults or {}
    folder = Path(str(given.get("data_dir") or os.environ.get(f"{PREFIX}DATA_DIR") or defaults.get("data_dir", "data")))
    file = config or folder / "lunchong.toml"
    text = _text_of(file, needed=config is not None)
    mistakes = [*_wrong_variables(), *_unknown_keys(file, text)]
    if mistakes:
        raise SettingsError("; ".join(mistakes))

    class Here(Said):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        said = Here(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("; ".join(_explained(error, given, file, text))) from None
    left = {key: value for key, value in defaults.items() if key not in said.model_fields_set}
    return _settled(said.model_copy(update=left))


def apart(name: str, settings: Settings) -> Settings:
    """The same, for a process of its own: it needs a store and a broker that others reach too. Raises SettingsError."""
    if settings.store == "duckdb":
        raise SettingsError(f"DuckDB is for the all-in-one process alone: use `lunchong serve` instead of `{name}`")
    if settings.mqtt_url == EMBEDDED:
        raise SettingsError(f"`{name}` on its own needs a broker that others reach too: set {PREFIX}MQTT_URL")
    return settings


def _settled(said: Said) -> Settings:
    """The last defaults, which depend on the data folder, and the checks that look at more than one setting."""
    host, _, port = said.mqtt_listen.rpartition(":")
    host = host.strip("[]")
    if (said.mqtt_tls_cert is None) != (said.mqtt_tls_key is None) and said.mqtt_url == EMBEDDED:
        raise SettingsError(f"{PREFIX}MQTT_TLS_CERT and {PREFIX}MQTT_TLS_KEY go together: set both or none")
    if said.mqtt_url == EMBEDDED and said.mqtt_tls_cert is None and not _is_loopback(host):
        raise SettingsError(
            f"{PREFIX}MQTT_LISTEN {said.mqtt_listen} is beyond loopback:"
            f" set {PREFIX}MQTT_TLS_CERT and {PREFIX}MQTT_TLS_KEY"
        )
    if said.store == "influxdb" and (lacking := [n for n in ("influx_url", "influx_token") if not getattr(said, n)]):
        names = " and ".join(f"{PREFIX}{name.upper()}" for name in lacking)
        raise SettingsError(f"{PREFIX}STORE is influxdb: set {names} too")
    values = said.model_dump()
    values["mqtt_listen"] = (host, int(port))
    values["trusted_proxies"] = tuple(one.strip() for one in said.trusted_proxies.split(",") if one.strip())
    values["inventory"] = said.inventory or said.data_dir / "inventory.toml"
    values["secret_file"] = said.secret_file or said.data_dir / "secret"
    values["ledger_url"] = said.ledger_url or f"sqlite:///{said.data_dir / 'ledger.db'}"
    return Settings(**values)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text_of(file: Path, *, needed: bool) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if needed:
            raise SettingsError(f"there is no settings file {file}") from None
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings file {file}: {error}") from None


def _wrong_variables() -> Iterable[str]:
    for variable in os.environ:
        name = variable.upper().removeprefix(PREFIX)
        if not variable.upper().startswith(PREFIX):
            continue
        if name.lower() not in Said.model_fields:
            yield f"unknown setting {variable}{_hint(name.lower(), lambda near: PREFIX + near.upper())}"
        elif Said.model_fields[name.lower()].annotation is int and not os.environ[variable]:
            yield f"{variable} must be a number, not '': give it one, or unset it"


def _unknown_keys(file: Path, text: str) -> Iterable[str]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None
    for key in table:
        if key not in Said.model_fields:
            yield f"{file} line {lines_of(text)[key,]}: unknown setting {key!r}{_hint(key, repr)}"


def _hint(said: str, shown: Callable[[str], str]) -> str:
    near = difflib.get_close_matches(said, Said.model_fields, 1)
    return f", did you mean {shown(near[0])}?" if near else ""


def _explained(error: ValidationError, given: Mapping[str, object], file: Path, text: str) -> Iterable[str]:
    for wrong in error.errors():
        key = str(wrong["loc"][0])
        what = wrong["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        what = what if what.startswith("must") else f"must be {what}"
        if key in given:
            where = f"--{key.replace('_', '-')}"
        elif any(variable.upper() == PREFIX + key.upper() for variable in os.environ):
            where = PREFIX + key.upper()
        else:
            where = f"{file} line {lines_of(text)[key,]}: {key}"
        yield f"{where} {what}{_shown(key, wrong['input'])}"


def _shown(key: str, value: object) -> str:
    """What was said instead, without its secrets: the line may end in a log."""
    if key == "influx_token":
        return ""
    if key.endswith("_url") and isinstance(value, str):
        value = re.sub(r"^([a-z+]+://)?.*@", r"\1…@", value, flags=re.DOTALL | re.IGNORECASE)
    return f", not {value!r}"
