"""Floor 1 · Who may say and hear what on the bus, and that table in the words of each broker.

A user name is `SITE/DEVICE`, `SITE/+` for a gateway that speaks for each device of its site, a reader's own name, or
`service/NAME` for a process of ours (no site is called `service`). What is not in the table is refused.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Iterable
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Literal

import bcrypt
from msgspec import Struct

from ingest.assets import Inventory
from ingest.topics import DEVICE_READS, DEVICE_WRITES, READER_READS, ROOT, SERVICE

Kind = Literal["device", "gateway", "reader", "service"]

MAX_PACKET_BYTES = 1024 * 1024 + 64 * 1024
"""A payload of 1 MiB, with its topic and what a broker adds."""
ACK_WAIT_S = 10.0
MAX_ACK_PENDING = 8_000
"""QoS 1 messages of one subscription that may be out and not acknowledged. NATS takes at most 65 535 for all
subscriptions of one client, so a client has room for eight at QoS 1: a gateway subscribes with a wildcard."""

_BCRYPT_ROUNDS = 4  # secrets are 128 random bits: nothing to guess, and a thousand devices reconnect at once
_PBKDF2_ROUNDS = 101  # mosquitto's own number


class Credential(Struct, frozen=True):
    """One user of the bus: its secret is kept only as the hash that each broker can check."""

    username: str
    kind: Kind
    bcrypt: str
    pbkdf2: str


class Access(Struct, frozen=True):
    """Topic filters below the root that a user may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


SERVICE_ACCESS = {
    "ingest": Access(
        ("+/+/ack", "+/+/state", "+/+/session", "+/+/status", "+/+/turns", "+/+/token", "service/ingest"),
        ("+/+/telemetry", "+/+/status", "+/+/cmd/result", "+/+/state", "+/+/turns", "service/+"),
    ),
    "api": Access(("+/+/cmd", "service/api"), (*READER_READS, "+/+/cmd/result", "+/+/turns")),
    "scheduler": Access(
        ("+/+/cmd", "+/+/turns", "service/scheduler"), (*READER_READS, "+/+/cmd/result", "+/+/turns", "+/+/token")
    ),
}
"""Ingest may publish `status` and `turns` only to clear them when a device leaves the inventory."""


def new_secret() -> str:
    """128 random bits as text without characters that a shell or a URL would change."""
    return secrets.token_urlsafe(16)


def credential(username: str, kind: Kind, secret: str) -> Credential:
    return Credential(username, kind, hash_secret(secret), mosquitto_hash(secret))


def hash_secret(secret: str) -> str:
    """bcrypt at its lowest cost, as NATS checks it."""
    return bcrypt.hashpw(secret.encode(), bcrypt.gensalt(_BCRYPT_ROUNDS)).decode()


def mosquitto_hash(secret: str) -> str:
    """`$7$rounds$salt$key`: PBKDF2 with SHA-512, as mosquitto's password file has it."""
    salt = secrets.token_bytes(12)
    key = pbkdf2_hmac("sha512", secret.encode(), salt, _PBKDF2_ROUNDS)
    return f"$7${_PBKDF2_ROUNDS}${b64encode(salt).decode()}${b64encode(key).decode()}"


def access(user: Credential) -> Access:
    """The row of the table for this user."""
    if user.kind == "service":
        return SERVICE_ACCESS[user.username.removeprefix(f"{SERVICE}/")]
    if user.kind == "reader":
        return Access((), READER_READS)
    return Access(
        tuple(f"{user.username}/{leaf}" for leaf in DEVICE_WRITES),
        (*(f"{user.username}/{leaf}" for leaf in DEVICE_READS), "service/ingest"),
    )


def admitted(users: Iterable[Credential], inventory: Inventory) -> list[Credential]:
    """Those that still have a place: a device that left the inventory, or a gateway whose site did, is out."""
    return [
        user
        for user in sorted(users, key=lambda user: user.username)
        if not (user.kind == "device" and user.username not in inventory.devices)
        and not (user.kind == "gateway" and user.username.removesuffix("/+") not in inventory.sites)
    ]


def nats_config(
    users: Iterable[Credential],
    inventory: Inventory,
    *,
    listen: tuple[str, int],
    store_dir: Path,
    log_file: Path,
    tls: tuple[Path, Path] | None = None,
    ack_wait_s: float = ACK_WAIT_S,
) -> str:
    """Configuration of a NATS server that serves MQTT on `listen`; `tls` is (certificate, key).

    A QoS 1 message that was not acknowledged is delivered again after `ack_wait_s`, on this connection or the next.
    NATS' own protocol cannot be turned off: it gets a free port on loopback, and no user of ours may use it.
    """
    host, port = listen
    secure = f"tls {{ cert_file: {_quoted(tls[0])}, key_file: {_quoted(tls[1])} }}\n  " if tls else ""
    return f"""server_name: lunchong
listen: "127.0.0.1:-1"
log_file: {_quoted(log_file)}
logfile_size_limit: 16MB
logfile_max_num: 3
max_payload: {MAX_PACKET_BYTES}
jetstream {{ store_dir: {_quoted(store_dir)} }}
mqtt {{
  host: {_quoted(host)}
  port: {port}
  {secure}ack_wait: "{round(ack_wait_s * 1000)}ms"
  max_ack_pending: {MAX_ACK_PENDING}
}}
authorization {{
  users: [
{"".join(_nats_user(user) for user in admitted(users, inventory))}  ]
}}
"""


def _nats_user(user: Credential) -> str:
    may = access(user)
    # An empty allow list means "everything" to NATS. `$MQTT.sub` carries what is delivered at QoS 1.
    publish = f"allow: {_subjects(may.publish)}" if may.publish else 'deny: [">"]'
    subscribe = _subjects(may.subscribe, "$MQTT.sub.>")
    return (
        f"    {{ user: {_quoted(user.username)}, password: {_quoted(user.bcrypt)}, "
        f'allowed_connection_types: ["MQTT"],\n'
        f"      permissions: {{ publish: {{ {publish} }}, subscribe: {{ allow: {subscribe} }} }} }}\n"
    )


def _subjects(filters: Iterable[str], *more: str) -> str:
    return json.dumps([f"{ROOT}/{topic}".replace("/", ".").replace("+", "*") for topic in filters] + list(more))


def _quoted(value: str | Path) -> str:
    return json.dumps(str(value))


def mosquitto_files(users: Iterable[Credential], inventory: Inventory, folder: Path) -> dict[str, str]:
    """`passwd`, `acl`, and `lunchong.conf` to include from mosquitto's own configuration; they will lie in `folder`.

    Mosquitto answers a publish or subscription that is not allowed as if it were, and passes nothing on.
    """
    known = admitted(users, inventory)
    return {
        "passwd": "".join(f"{user.username}:{user.pbkdf2}\n" for user in known),
        "acl": "\n".join(_mosquitto_user(user) for user in known),
        "lunchong.conf": f"""allow_anonymous false
password_file {folder / "passwd"}
acl_file {folder / "acl"}
max_packet_size {MAX_PACKET_BYTES}
max_inflight_messages {MAX_ACK_PENDING}
max_queued_messages 0
max_queued_bytes 1073741824
set_tcp_nodelay true
""",
    }


def _mosquitto_user(user: Credential) -> str:
    may = access(user)
    lines = [f"user {user.username}"]
    lines += [f"topic write {ROOT}/{topic}" for topic in may.publish]
    lines += [f"topic read {ROOT}/{topic}" for topic in may.subscribe]
    return "\n".join(lines) + "\n"
