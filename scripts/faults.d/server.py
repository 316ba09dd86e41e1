"""The real binary on a data directory of its own: start, wait, kill, stop, audit."""

import json
import os
import random
import signal
import socket
import subprocess
import time

from wire import Connection, Unknown

READY_SECONDS = 60
STOP_SECONDS = 25
AUDIT_SECONDS = 120

# Times so short that closes, lapses and repeats happen within a round, and no limit that would turn the load away.
SETTINGS = {
    "order.payment_timeout": "4s",
    "flash_sale.payment_timeout": "4s",
    "order.close_grace": "1s",
    "order.sweep_interval": "1s",
    "stock.foreign_lease": "4s",
    "sandbox.notify_retry": "500ms",
    "limits.per_ip": "off",
    "limits.per_user": "off",
    "limits.seckill_per_user": "off",
    "limits.attempts_per_sale": "0",
    "demo.enabled": "true",
    "log.filter": "info",
}
FOREIGN_LEASE_SECONDS = 4


class Server:
    """One node. Its ports stay the same over restarts, as clients need."""

    def __init__(self, directory, place, number=1, rng=random):
        self.binary = os.environ["SECKILL_BIN"]
        self.place = place
        self.log_path = os.path.join(directory, f"server-{number}.log")
        self.port = free_port(rng)
        self.internal_port = free_port(rng)
        self.process = None
        self.starts = 0

    def spawn(self):
        """Starts it and does not wait."""
        listen = {"server.listen": f"127.0.0.1:{self.port}", "server.internal_listen": f"127.0.0.1:{self.internal_port}"}
        self.starts += 1
        with open(self.log_path, "ab") as log:
            log.write(f"\n== start {self.starts}\n".encode())
            log.flush()
            command = [self.binary, "serve", *self._options(self.place.data, listen)]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())

    def start(self):
        """Starts it and waits for /readyz; the seconds that took."""
        began = time.monotonic()
        self.spawn()
        self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self):
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Broken(f"the server ended by itself with status {self.process.returncode}")
            connection = Connection(self.port, 5)
            try:
                if connection.request("GET", "/readyz").status == 200:
                    return
            except Unknown:
                pass
            finally:
                connection.close()
            time.sleep(0.02)
        raise Broken(f"the server was not ready within {READY_SECONDS} s")

    def pause(self):
        """SIGSTOP: it lives, holds what it holds, and answers nobody."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        """SIGKILL, and waits until it is gone."""
        if self.process.poll() is not None:
            raise Broken(f"the server ended by itself with status {self.process.returncode}")
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; (exit status, seconds). The status is None when it did not end in time."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return None, time.monotonic() - began
        return status, time.monotonic() - began

    def destroy(self):
        """Whatever happened: afterwards it does not run."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def audit(self, data=None):
        """(exit status, report) of `seckill audit` on its data or a copy of it."""
        command = [self.binary, "audit", "--json", *self._options(data or self.place.data, {})]
        run = subprocess.run(command, capture_output=True, timeout=AUDIT_SECONDS, env=environment(), check=False)
        try:
            report = json.loads(run.stdout)
        except ValueError:
            report = {"ok": False, "invariants": [], "error": (run.stdout + run.stderr).decode("utf-8", "replace")}
        return run.returncode, report

    def panics(self):
        """Lines of its log that tell of a panic."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return [line.strip() for line in log if "panicked at" in line]

    def last_words(self):
        """What it said when it ended by itself, and its panics."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return [line.strip() for line in log if line.startswith("seckill: ") or "panicked at" in line]

    def log_errors(self):
        """How many ERROR lines its log has."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return sum(" ERROR " in line for line in log)

    def _options(self, data, more):
        options = ["--data-dir", data]
        for key, value in {**SETTINGS, **self.place.settings(), **more}.items():
            options += ["--set", f"{key}={value}"]
        return options


class Broken(Exception):
    """The server did what it must not do."""


def environment():
    """Ours without settings of the server, which would change what is tested."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SECKILL_")}


def free_port(rng):
    """A port outside of the range from which outgoing connections take theirs: a client that tries to connect while
    the server is down could otherwise be given the server's own port."""
    for _ in range(200):
        port = rng.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Broken("no free port")
