"""Instruction counts of requests, by callgrind.

Each kind is driven twice with different numbers of requests; the difference of the totals is what the requests cost,
whatever starting the server costs. What starting differs by, some ten million instructions, is little beside so many.
"""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

RECORD = pathlib.Path("benches/instructions.json")
# More than this is a regression.
TOLERANCE = 1.10
# The others are there to compare with.
WATCHED = ("refused", "won")
# Few and many requests of each kind. Winners come in waves of 256, as batches need company.
KINDS = {"bare": (1000, 16000), "login": (1000, 16000), "refused": (1000, 16000), "won": (256, 1792)}
# Batches of winners form a little differently each time: the median of so many counts.
TIMES = {"won": 3}
SETTINGS = {
    "server.listen": "127.0.0.1:0",
    "server.internal_listen": "127.0.0.1:0",
    "server.workers": "1",
    "demo.enabled": "true",
    # On, and never reached.
    "limits.per_ip": "1000000/s",
    "limits.per_user": "1000000/s",
    "limits.seckill_per_user": "1000000/s",
    "limits.attempts_per_sale": "1000000",
    # Nothing but the requests.
    "order.sweep_interval": "1h",
    "flash_sale.refresh_interval": "3s",
    "flash_sale.reconcile_interval": "60s",
    # Under valgrind a commit may wait longer than any buyer would.
    "writer.max_wait": "60s",
}


def command(program, data, *arguments):
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return [program, "--data-dir", str(data), *settings, *arguments]


def total(program, prepared, kind, requests):
    """Instructions of one whole run."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = pathlib.Path(folder, "data"), pathlib.Path(folder, "out")
        shutil.copytree(prepared, data)
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        run = subprocess.run(
            valgrind + command(program, data, "drive", kind, str(requests)), capture_output=True, text=True, timeout=900
        )
        if run.returncode != 0:
            sys.exit(f"scripts/instructions: {kind} failed:\n{run.stderr[-3000:]}")
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE).group(1))


def start_once(program, data):
    """Makes keys, database and demo data: making a key costs another number of instructions each time."""
    server = subprocess.Popen(command(program, data, "beside", "--bare", "127.0.0.1:0"), stdout=subprocess.PIPE, text=True)
    ready = any("is ready" in line for line in server.stdout)
    server.terminate()
    if not ready or server.wait(timeout=60) != 0:
        sys.exit("scripts/instructions: the server does not start and stop")


def count(program, kinds):
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder, "data")
        subprocess.run(command(program, prepared, "prepare"), check=True)
        start_once(program, prepared)
        counts = {}
        for kind in kinds:
            few, many = KINDS[kind]
            differences = [
                total(program, prepared, kind, many) - total(program, prepared, kind, few)
                for _ in range(TIMES.get(kind, 1))
            ]
            counts[kind] = round(statistics.median(differences) / (many - few))
            print(f"{kind}: {counts[kind]} instructions a request", flush=True)
        return counts


def main():
    program, record = sys.argv[1], "--record" in sys.argv[2:]
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    records = record or known.get("rustc") != rustc
    counts = count(program, KINDS if records else WATCHED)
    if records:
        RECORD.write_text(json.dumps({"rustc": rustc, "instructions": counts}, indent=2) + "\n")
        print(f"recorded for {rustc}")
        return
    grown = [
        f"{kind}: {counts[kind]}, recorded {before}"
        for kind, before in known["instructions"].items()
        if kind in counts and counts[kind] > before * TOLERANCE
    ]
    if grown:
        sys.exit("scripts/instructions: more than 10 % more than recorded:\n" + "\n".join(grown))
    print(f"{' and '.join(WATCHED)}: not grown by more than 10 %")


main()
