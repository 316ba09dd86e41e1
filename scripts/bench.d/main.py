"""Command line of the benches; see scripts/bench."""

import argparse
import datetime
import os
import pathlib
import shlex
import signal
import subprocess
import sys

import table
from parts import BENCHES, PARTS, Bench
from place import MODES

OUT = pathlib.Path("target/bench")


def options():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures the speed table in both modes.")
    parser.add_argument("--rounds", type=int, default=2, help="rounds (2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (3)")
    parser.add_argument("--units", type=int, default=40_000, help="units won in each round, and as many buyers (40000)")
    parser.add_argument("--hold", type=int, default=60, help="seconds of each run under pressure (60)")
    parser.add_argument("--orders", type=int, default=1_000_000, help="orders in the filled store (1000000)")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"what to measure ({','.join(PARTS)})")
    parser.add_argument("--modes", default=",".join(MODES), help=f"in which modes ({','.join(MODES)})")
    parser.add_argument("--document", type=pathlib.Path, default=pathlib.Path("docs/performance.md"))
    chosen = parser.parse_args()
    if not (1 <= chosen.rounds <= 100 and 0.5 <= chosen.seconds <= 600 and 100 <= chosen.units <= 1_000_000):
        parser.error("rounds 1–100, seconds 0.5–600, units 100–1000000")
    # A connection that never ends its head may live for 8 seconds; less would not show whether it does.
    if not 10 <= chosen.hold <= 3600:
        parser.error("hold 10–3600")
    for name, known in (("parts", PARTS), ("modes", MODES)):
        values = getattr(chosen, name).split(",")
        if not set(values) <= set(known):
            parser.error(f"--{name}: one or more of {','.join(known)}")
        setattr(chosen, name, [value for value in known if value in values])
    if table.START not in chosen.document.read_text(encoding="utf-8"):
        parser.error(f"{chosen.document} does not have the mark {table.START}")
    return chosen


def build():
    """Answers the folder of the programs."""
    if "SECKILL_BENCH_BUILT" in os.environ:
        return pathlib.Path(os.environ["SECKILL_BENCH_BUILT"])
    # One choice of features for everything, so that nothing is built twice.
    programs = ["--example", "bench_server", "--bin", "seckill", "--bin", "loadtest"]
    subprocess.run(["cargo", "build", "--workspace", "--release", "--quiet", *programs], check=True)
    benches = [part for bench in BENCHES for part in ("--bench", bench)]
    subprocess.run(["cargo", "bench", "--workspace", "--quiet", "--no-run", *benches], check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release"


def stop(number, _frame):
    raise SystemExit(128 + number)


def main():
    chosen = options()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)
    OUT.mkdir(parents=True, exist_ok=True)
    bench = Bench(chosen, build(), OUT)
    began = datetime.datetime.now(datetime.timezone.utc)
    try:
        for part in chosen.parts:
            bench.measure(part)
    finally:
        bench.close()
    seconds = (datetime.datetime.now(datetime.timezone.utc) - began).total_seconds()
    command = shlex.join(["scripts/bench", *sys.argv[1:]])
    table.write(OUT, chosen.document, command, seconds)
    print(f"{chosen.document} is up to date; measuring took {seconds:.0f} s")
    sys.exit(1 if bench.broken else 0)


if __name__ == "__main__":
    main()
