"""Settings: where a value may come from, which of them wins, and one clear line for each that is wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lunchong.settings import SettingsError, read


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for variable in [variable for variable in os.environ if variable.startswith("LUNCHONG_")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def refused(**arguments) -> str:
    with pytest.raises(SettingsError) as error:
        read(**arguments)
    said = str(error.value)
    assert "\n" not in said
    return said


def test_without_any_setting_everything_stays_on_this_machine():
    settings = read()
    assert settings.data_dir == Path("data")
    assert settings.inventory == Path("data/inventory.toml")
    assert settings.mqtt_url == "embedded"
    assert settings.mqtt_listen == ("127.0.0.1", 1883)
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8080)
    assert settings.retention_days == 90


def test_an_option_beats_the_environment_which_beats_the_file_which_beats_the_default(monkeypatch, tmp_path):
    (tmp_path / "lunchong.toml").write_text("http_port = 1001\nretention_days = 7\nhttp_host = '::1'\n")
    monkeypatch.setenv("LUNCHONG_HTTP_PORT", "1002")
    monkeypatch.setenv("LUNCHONG_RETENTION_DAYS", "8")
    settings = read(
        data_dir=tmp_path, options={"http_port": 1003}, defaults={"http_host": "0.0.0.0", "timezone": "UTC"}
    )
    assert (settings.http_port, settings.retention_days) == (1003, 8)
    assert (settings.http_host, settings.timezone) == ("::1", "UTC")


def test_the_file_beside_the_data_is_read_also_when_the_environment_names_the_folder(monkeypatch, tmp_path):
    (tmp_path / "lunchong.toml").write_text("influx_org = 'quarter'\n")
    monkeypatch.setenv("LUNCHONG_DATA_DIR", str(tmp_path))
    assert read().influx_org == "quarter"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "LUNCHONG_STORE is influxdb: set LUNCHONG_INFLUX_URL and LUNCHONG_INFLUX_TOKEN too"),
        ({"influx_url": "http://localhost:8086"}, "LUNCHONG_STORE is influxdb: set LUNCHONG_INFLUX_TOKEN too"),
        ({"influx_url": "localhost:8086"}, "must be http://HOST[:PORT] or https://HOST[:PORT], not 'localhost:8086'"),
    ],
)
def test_influxdb_needs_an_address_and_a_token(given, said):
    assert said in refused(options={"store": "influxdb", **given})


def test_influxdb_is_three_settings():
    settings = read(options={"store": "influxdb", "influx_url": "http://localhost:8086/", "influx_token": "t"})
    assert (settings.influx_url, settings.influx_token) == ("http://localhost:8086", "t")
    assert (settings.influx_org, settings.influx_bucket) == ("lunchong", "lunchong")


@pytest.mark.parametrize("token", ["mit Leerzeichen", "schlüssel", "two\nlines", "密钥", "\ttab"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(monkeypatch, token):
    monkeypatch.setenv("LUNCHONG_INFLUX_TOKEN", token)
    assert refused() == "LUNCHONG_INFLUX_TOKEN must be printable ASCII without spaces"


@pytest.mark.parametrize("url", ["https://flux", "http://[::1]:8086", "http://10.0.0.1:80", "http://proxy/influx"])
def test_influxdb_is_at_a_host_with_or_without_a_port_or_behind_a_proxy(url):
    assert read(options={"influx_url": url}).influx_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:notaport",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://:8086",
        "http://h/ui?x=1",
        "http://h#x",
        "http://h:8086 ",
        "ftp://h",
    ],
)
def test_an_address_at_which_no_influxdb_can_be_is_refused(url):
    said = f"--influx-url must be http://HOST[:PORT] or https://HOST[:PORT], not {url!r}"
    assert refused(options={"influx_url": url}) == said


@pytest.mark.parametrize("url", ["http://ann:se/cr@et@h:8086", "ann:secret@h", "http://ann:sec\nret@h"])
def test_a_password_in_an_address_is_refused_and_not_repeated(url):
    said = refused(options={"influx_url": url, "mqtt_url": url})
    assert said.count("…@h") == 2
    assert "ret" not in said
    assert "ann" not in said


@pytest.mark.parametrize("bucket", ["_system", "a'b", 'a"b', "a b", "a/b", "a\nb", ""])
def test_a_name_that_no_bucket_may_have_is_refused(bucket):
    assert refused(options={"influx_bucket": bucket}).startswith("--influx-bucket must be letters, digits")


def test_proxies_and_listen_addresses_are_taken_apart(monkeypatch):
    monkeypatch.setenv("LUNCHONG_TRUSTED_PROXIES", "10.0.0.1, 192.168.0.0/24")
    monkeypatch.setenv("LUNCHONG_MQTT_LISTEN", "[::1]:0")
    settings = read()
    assert settings.trusted_proxies == ("10.0.0.1", "192.168.0.0/24")
    assert settings.mqtt_listen == ("::1", 0)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("LUNCHONG_FOO", "1", "unknown setting LUNCHONG_FOO"),
        ("LUNCHONG_HTP_PORT", "1", "unknown setting LUNCHONG_HTP_PORT, did you mean LUNCHONG_HTTP_PORT?"),
        ("LUNCHONG_HTTP_PORT", "web", "LUNCHONG_HTTP_PORT must be a valid integer"),
        ("LUNCHONG_HTTP_PORT", "65536", "LUNCHONG_HTTP_PORT must be less than or equal to 65535, not '65536'"),
        ("LUNCHONG_STORE", "csv", "LUNCHONG_STORE must be 'duckdb' or 'influxdb', not 'csv'"),
        ("LUNCHONG_MQTT_URL", "http://x", "LUNCHONG_MQTT_URL must be `embedded`, mqtt://HOST[:PORT]"),
        ("LUNCHONG_MQTT_URL", "mqtt://x:0", "LUNCHONG_MQTT_URL must be `embedded`, mqtt://HOST[:PORT]"),
        ("LUNCHONG_MQTT_URL", "mqtt://127.0.0.1:99999", "LUNCHONG_MQTT_URL must be `embedded`, mqtt://HOST[:PORT]"),
        ("LUNCHONG_MQTT_URL", "mqtt://x:", "LUNCHONG_MQTT_URL must be `embedded`, mqtt://HOST[:PORT]"),
        ("LUNCHONG_MQTT_LISTEN", "1883", "LUNCHONG_MQTT_LISTEN must be HOST:PORT, not '1883'"),
        ("LUNCHONG_MQTT_LISTEN", "0.0.0.0:1883", "LUNCHONG_MQTT_LISTEN 0.0.0.0:1883 is beyond loopback"),
        ("LUNCHONG_MQTT_TLS_KEY", "/key", "LUNCHONG_MQTT_TLS_CERT and LUNCHONG_MQTT_TLS_KEY go together"),
        ("LUNCHONG_TIMEZONE", "Mars/Base", "LUNCHONG_TIMEZONE must be a time zone"),
        ("LUNCHONG_TIMEZONE", "/etc/passwd", "LUNCHONG_TIMEZONE must be a time zone"),
        ("LUNCHONG_RETENTION_DAYS", "-1", "LUNCHONG_RETENTION_DAYS must be greater than or equal to 0"),
        ("LUNCHONG_RETENTION_DAYS", "", "LUNCHONG_RETENTION_DAYS must be a number, not '': give it one, or unset it"),
        ("LUNCHONG_TRUSTED_PROXIES", "proxy", "LUNCHONG_TRUSTED_PROXIES must be addresses or networks"),
    ],
)
def test_a_bad_variable_is_named_with_what_would_be_right(monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    assert refused().startswith(said)


@pytest.mark.parametrize(
    "url", ["mqtt://broker", "mqtts://10.0.0.1:8883", "mqtt://[::1]:1883", "mqtt://my_host.local:1"]
)
def test_a_broker_is_at_a_host_with_or_without_a_port(url):
    assert read(options={"mqtt_url": url}).mqtt_url == url


def test_an_empty_variable_that_is_no_number_is_not_set(monkeypatch):
    monkeypatch.setenv("LUNCHONG_MQTT_URL", "")
    assert read().mqtt_url == "embedded"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nhttp_prot = 1\n", "line 2: unknown setting 'http_prot', did you mean 'http_port'?"),
        ("# a\n\nhttp_port = 'x'\n", "line 3: http_port must be a valid integer"),
        ("http_port = \n", "not TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path, text, said):
    file = tmp_path / "lunchong.toml"
    file.write_text(text)
    message = refused(data_dir=tmp_path)
    assert message.startswith(str(file))
    assert said in message


def test_an_option_is_named_as_it_was_typed():
    assert refused(options={"http_port": 70_000}).startswith("--http-port must be less than")


def test_a_named_file_that_is_not_there_is_no_silent_default(tmp_path):
    assert refused(config=tmp_path / "absent.toml") == f"there is no settings file {tmp_path / 'absent.toml'}"


def test_a_value_beyond_loopback_is_taken_with_a_certificate(monkeypatch):
    monkeypatch.setenv("LUNCHONG_MQTT_LISTEN", "0.0.0.0:8883")
    monkeypatch.setenv("LUNCHONG_MQTT_TLS_CERT", "cert.pem")
    monkeypatch.setenv("LUNCHONG_MQTT_TLS_KEY", "key.pem")
    assert read().mqtt_listen == ("0.0.0.0", 8883)


@pytest.mark.parametrize("url", ["example.org/hook", "ftp://example.org", "https://a b"])
def test_a_webhook_is_an_address_of_http(url):
    said = refused(options={"webhook_url": url})
    assert said.startswith("--webhook-url")
    assert "must be http://… or https://…, without spaces" in said
    assert read(options={"webhook_url": "https://example.org/hook?token=x"}).webhook_url.endswith("token=x")
