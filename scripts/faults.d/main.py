"""Command line of the fault tests; see scripts/faults."""

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile

import rounds
import selftest
from place import Cluster, Embedded
from server import Broken

SHOWN = 30
EMBEDDED = ("kill", "term")
CLUSTER = tuple(rounds.KINDS)


def options():
    parser = argparse.ArgumentParser(prog="scripts/faults", description="The server under load, killed or stopped.")
    parser.add_argument("what", choices=[*CLUSTER, "all", "selftest"])
    parser.add_argument("--mode", choices=["embedded", "cluster"], help="what the servers stand on (embedded)")
    parser.add_argument("--nodes", type=int, default=2, help="nodes in cluster mode (2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of load (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of load in a round, of an outage (3)")
    parser.add_argument("--pause", type=float, default=8.0, help="how long a paused node stands still (8)")
    parser.add_argument("--clients", type=int, default=16, help="clients at the same time (16)")
    parser.add_argument("--seed", default=os.environ.get("SEED"), help="repeats the moments and the load of a run")
    parser.add_argument("--keep", action="store_true", help="keep the data directory in any case")
    chosen = parser.parse_args()
    if not (1 <= chosen.rounds <= 1000 and 0.5 <= chosen.seconds <= 900 and 1 <= chosen.clients <= 64):
        parser.error("rounds 1–1000, seconds 0.5–900, clients 1–64")
    if not (1 <= chosen.nodes <= 8 and 1 <= chosen.pause <= 900):
        parser.error("nodes 1–8, pause 1–900")
    in_cluster_only = chosen.what not in (*EMBEDDED, "all", "selftest")
    chosen.mode = chosen.mode or ("cluster" if in_cluster_only else "embedded")
    if chosen.mode == "embedded" and in_cluster_only:
        parser.error(f"{chosen.what} needs --mode cluster")
    if chosen.mode == "cluster" and chosen.what == "selftest":
        parser.error("selftest is for --mode embedded")
    chosen.seed = chosen.seed or secrets.token_hex(4)
    return chosen


def kinds(chosen):
    if chosen.what != "all":
        return [chosen.what]
    return list(CLUSTER if chosen.mode == "cluster" else EMBEDDED)


def stop(number, _frame):
    raise SystemExit(128 + number)


def place_of(chosen, directory):
    if chosen.mode == "cluster":
        return Cluster(directory, chosen.nodes)
    return Embedded(directory)


def main():
    chosen = options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    if "SECKILL_BIN" not in os.environ:
        sys.exit("scripts/faults.d/main.py: SECKILL_BIN is not set; run scripts/faults")
    print(f"{chosen.what}: seed {chosen.seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="seckill-faults-")
    place = place_of(chosen, directory)
    run, differences = rounds.Run(directory, chosen, place), ["interrupted"]
    try:
        if chosen.what == "selftest":
            differences = selftest.play(run)
        else:
            differences = rounds.play(run, kinds(chosen))
            print(rounds.summary(run, chosen.what), flush=True)
    except Broken as error:
        differences = [str(error), *(words for server in run.servers for words in server.last_words())]
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        run.close()
        place.close()
        keep = chosen.keep or (differences and differences != ["interrupted"])
        if keep:
            print(f"kept: {directory} (data, journal.jsonl, server-1.log)", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    for sentence in differences[:SHOWN]:
        print(f"  {sentence}")
    if len(differences) > SHOWN:
        print(f"  … and {len(differences) - SHOWN} more")
    print(f"{chosen.what}: {'BROKEN, ' + str(len(differences)) + ' differences' if differences else 'ok'}", flush=True)
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
