"""The measurements. Each writes what it found to target/bench as JSON; table.py makes the document of it."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from place import Cluster
from services import running
from table import SCENARIOS, commit

PARTS = ("table", "locks", "growth", "pressure")
# Those of benches/ that are measured here.
BENCHES = ("course_way", "stock_actor", "store_writer")
# The course's way is measured with as many clients at once.
IN_FLIGHT = (1, 64, 1024)


class Bench:
    """A run: what is started for it is stopped by `close`."""

    def __init__(self, chosen, programs, out):
        self.chosen = chosen
        self.programs = programs
        self.out = out
        self.cluster = None
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="seckill-bench-"))
        self.broken = False

    def close(self):
        if self.cluster:
            self.cluster.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def measure(self, part):
        if part == "locks":
            self.locks()
            return
        for mode in self.chosen.modes:
            print(f"== {part}, {mode} mode", flush=True)
            getattr(self, part)(mode)

    def services(self):
        if not self.cluster:
            print("starting PostgreSQL, Redis and RabbitMQ", flush=True)
            self.cluster = Cluster()
        return self.cluster

    def keep(self, name, value):
        """What was found, and of which commit."""
        text = json.dumps({**value, "commit": commit()}, indent=1, ensure_ascii=False)
        (self.out / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    # The programs

    def run(self, command, environment=None, stdout=None):
        """Answers whether it ended well. It has a process group of its own, so that whatever it started ends with it."""
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
                                   stdout=stdout, start_new_session=True)
        try:
            return process.wait() == 0
        except BaseException:
            end_group(process)
            raise

    def loadtest(self, scenario, mode, arguments, store=None, server="seckill"):
        """Runs a scenario against servers that it starts and stops; answers what it wrote. One that found something
        broken has its figures all the same."""
        reports = self.scratch / f"{scenario}-{mode}"
        command = [str(self.programs / "loadtest"), scenario, "--mode", mode,
                   "--server", str(self.programs / server), "--reports", str(reports)]
        if mode == "cluster":
            for process in self.services().processes():
                command += ["--process", process]
            command += settings("--set", self.services().shared_settings())
        command += settings("--set", store or {})
        if not self.run([*command, *arguments]):
            self.broken = True
            print(f"scripts/bench: {scenario} in {mode} mode did not end well", flush=True)
        made = sorted(reports.glob("*.json"))
        return json.loads(made[-1].read_text(encoding="utf-8")) if made else None

    def effort(self):
        chosen = self.chosen
        return ["--rounds", str(chosen.rounds), "--lasts", f"{int(chosen.seconds * 1000)}ms", "--units", str(chosen.units)]

    # The parts

    def table(self, mode):
        """Won, refused and ordinary requests beside the bare route; before and after it the course's way."""
        course = self.course_way(["--only", "whole"])
        store = self.services().new_store() if mode == "cluster" else None
        rounds = self.loadtest("table", mode, self.effort(), store, "examples/bench_server")
        course += self.course_way(["--only", "whole"])
        if rounds:
            self.keep(f"table-{mode}", {"rounds": rounds, "course": course})

    def locks(self):
        """Durable locks of one SKU: the course's way, the stock actor, raw group commits."""
        if not self.has_benches():
            return
        rounds = []
        for number in range(self.chosen.rounds):
            print(f"== locks, round {number + 1} of {self.chosen.rounds}", flush=True)
            course = []
            for clients in IN_FLIGHT:
                course += self.course_way(["--only", "stock", "--sqlite", "--clients", str(clients)])
            self.criterion("stock_actor", "stock_actor", [])
            self.criterion("store_writer", "lock_stock", ["lock_stock/raw"])
            rounds.append({"course": course, **self.estimates()})
        self.keep("locks", {"rounds": rounds})

    def growth(self, mode):
        """A store with a past beside an empty one."""
        data = self.scratch / f"filled-{mode}"
        server = str(self.programs / "examples/bench_server")
        empty, filled, shared = {}, {}, {"mode": mode}
        if mode == "cluster":
            empty, filled = self.services().new_store(), self.services().new_store()
            shared.update(self.services().shared_settings())
            # Asked for in this mode; a fill does not read it.
            shared["auth.public_keys"] = '["none"]'
        fill = [server, "--data-dir", str(data), *settings("--set", {**shared, **filled}), "fill"]
        if not self.run([*fill, "--orders", str(self.chosen.orders)]):
            raise SystemExit("scripts/bench: the store cannot be filled")
        found = self.loadtest("growth", mode, [
            *self.effort(), "--filled", str(data), *settings("--filled-set", filled), *settings("--empty-set", empty),
        ])
        if found:
            self.keep(f"growth-{mode}", {**found, "orders": self.chosen.orders})

    def pressure(self, mode):
        """More than the server can do. Each scenario says itself what must hold."""
        for scenario in SCENARIOS:
            store = self.services().new_store() if mode == "cluster" else None
            report = self.loadtest(scenario, mode, ["--hold", f"{self.chosen.hold}s"], store)
            if report:
                self.keep(f"pressure-{scenario}-{mode}", {"seconds": self.chosen.hold, "checks": report["checks"]})

    # The benches in benches/

    def has_benches(self):
        return "SECKILL_BENCH_BUILT" not in os.environ

    def course_way(self, arguments):
        """Answers one object a measurement: name, in_flight, rate, client_us."""
        if not self.has_benches():
            return []
        services = self.services()
        command = ["cargo", "bench", "--workspace", "--quiet", "--bench", "course_way", "--", "--json",
                   "--seconds", str(max(1, round(self.chosen.seconds))), "--postgres", services.url("postgres"),
                   "--redis", services.url("redis"), "--rabbitmq", services.url("rabbitmq"), *arguments]
        output = self.scratch / "course"
        with output.open("w", encoding="utf-8") as file:
            if not self.run(command, stdout=file):
                raise SystemExit("scripts/bench: the course's way cannot be measured")
        found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
        for one in found:
            print(f"  {one['name']}, {one['in_flight']} in flight: {one['rate']:,.0f}/s", flush=True)
        return found

    def criterion(self, bench, group, filters):
        shutil.rmtree(self.criterion_folder() / group, ignore_errors=True)
        command = ["cargo", "bench", "--workspace", "--quiet", "--bench", bench, "--", "--noplot", "--warm-up-time", "0.5",
                   "--measurement-time", str(self.chosen.seconds), *filters]
        if not self.run(command, self.services().variables()):
            raise SystemExit(f"scripts/bench: cargo bench --bench {bench} failed")

    @staticmethod
    def criterion_folder():
        return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "criterion"

    def estimates(self):
        """Locks per second of each measured case, by what criterion calls it."""
        found = {"actor": {}, "raw": {}}
        for kind, group in (("actor", "stock_actor"), ("raw", "lock_stock/raw")):
            for path in (self.criterion_folder() / group).glob("**/new/benchmark.json"):
                case = json.loads(path.read_text(encoding="utf-8"))
                estimates = json.loads((path.parent / "estimates.json").read_text(encoding="utf-8"))
                elements = case["throughput"]["Elements"]
                name = case["function_id"] if kind == "actor" else case["value_str"]
                found[kind][name] = 1e9 * elements / estimates["median"]["point_estimate"]
        return found


def end_group(process):
    """The processes of a group are told to stop, and killed when they do not."""
    for number, patience in ((signal.SIGTERM, 40), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            process.poll()
            if all(group != process.pid for _, group in running()):
                return
            time.sleep(0.1)


def settings(flag, values):
    return [part for key, value in values.items() for part in (flag, f"{key}={value}")]
