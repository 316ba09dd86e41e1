"""Rounds of load with a fault in them, and the comparison after each."""

import contextlib
import os
import random
import time

import check
import journal as journals
import outages
import store
from server import FOREIGN_LEASE_SECONDS, Server
from shop import Shop, log_in
from wire import Connection
from workload import PLAIN_SKU, SALE_SKU, Load, log_everyone_in

SETTLE_SECONDS = 45
# `seckill audit` leaves out orders younger than this (DESIGN rule 16).
AUDIT_EXEMPT_SECONDS = 30
STOP_LIMIT_SECONDS = 20
# Longer than the permits of a node that was killed stay taken (5 s, HOLD_LIFE of the actors).
PROBE_SECONDS = 8
# Buyers of the probes, who take no part in the load: each asks until one of its attempts was answered.
PROBERS = range(900, 1000)
PROBER = PROBERS[-1]


class Run:
    """The nodes of one place, one journal, many rounds."""

    def __init__(self, directory, options, place):
        self.directory, self.options, self.place = directory, options, place
        self.rng = random.Random(options.seed)
        self.servers = [Server(directory, place, number + 1, self.rng) for number in range(place.nodes)]
        self.journal_path = os.path.join(directory, "journal.jsonl")
        self.journal = journals.Journal(self.journal_path)
        self.tokens = {}
        self.kills = 0
        self.recoveries = []
        self.sampled = self.journal.counts.copy()

    def open(self):
        for server in self.servers:
            server.start()
        self.tokens = log_everyone_in(self.servers[0])
        with contextlib.closing(Connection(self.servers[0].port)) as connection:
            for prober in PROBERS:
                self.tokens[prober] = log_in(connection, prober)

    def close(self):
        for server in self.servers:
            server.destroy()
        self.journal.close()

    # One round of each kind

    def kill_round(self, number):
        """Load; kills of a node at random moments, each followed by a start; then everything is compared."""
        load = self.load(number)
        load.start()
        stops, recoveries, began, before = self.rng.randint(1, 3), [], time.monotonic(), self.kills
        for _ in range(stops):
            server = self.rng.choice(self.servers)
            self._wait_for_a_bad_moment(load, self.options.seconds / stops)
            self._kill(server)
            if self.rng.random() < 0.25:
                # Once more while it is still getting up.
                server.spawn()
                time.sleep(self.rng.uniform(0.0, 0.5))
                self._kill(server)
            recoveries.append(server.start())
            self.journal.note("ready", seconds=round(recoveries[-1], 3))
        time.sleep(max(0.5, self.options.seconds - (time.monotonic() - began)))
        self.recoveries += recoveries
        fields = [f"kills {self.kills - before}", f"ready after {seconds(recoveries)}"]
        return self.finish_round(number, load, fields)

    def term_round(self, number):
        """Load; SIGTERM for one node after the other in the middle of it, each started again before the next is stopped.
        A lone node's store is compared as it was left, and again after the next start."""
        load = self.load(number)
        load.start()
        differences, fields = [], []
        for server in self.servers:
            self._wait_for_a_bad_moment(load, self.options.seconds)
            status, took = server.stop()
            self.journal.note("stopped", status=status, seconds=round(took, 3))
            differences += wrong_stop(status, took)
            # What the clients still ask finds nobody, or another node, and is asked again.
            if len(self.servers) == 1:
                self.journal.sync()
                left = store.Snapshot(self.place.books())
                told = check.accepted(journals.read(self.journal_path), left)
                differences += [f"after SIGTERM: {each}" for each in told]
            recovery = server.start()
            self.recoveries.append(recovery)
            fields += [f"exit {status} after {took:.1f} s", f"ready after {recovery:.2f} s"]
        time.sleep(0.5)
        return differences + self.finish_round(number, load, fields)

    def last_word(self):
        """An audit that leaves nothing out, SIGTERM, and the store as it was left."""
        time.sleep(AUDIT_EXEMPT_SECONDS + 1)
        differences = self._audit()
        for server in self.servers:
            status, took = server.stop()
            differences += wrong_stop(status, took)
        differences += self._compare(check.at_rest)
        print(f"end: audit with nothing left out {verdict(differences)}, SIGTERM exit {status} after {took:.1f} s", flush=True)
        return differences

    # Their parts

    def load(self, number):
        self.journal.note("round", number=number)
        name = f"{self.options.seed}-{number}"
        return Load(self.servers, self.journal, self.tokens, name, self.options.clients)

    def _wait_for_a_bad_moment(self, load, within_seconds):
        """A random moment, or the one at which somebody was just told that something was accepted."""
        time.sleep(self.rng.uniform(0.1, max(0.2, within_seconds)))
        if self.rng.random() < 0.4:
            load.trigger.wait_next(1.0)

    def shop(self):
        """A client of the run's own."""
        return contextlib.closing(Shop(self.servers, self.journal, self.tokens))

    def _kill(self, server):
        server.kill()
        self.kills += 1
        self.journal.note("killed")

    def finish_round(self, number, load, fields):
        """Ends the load, waits until nothing is on its way, compares everything, and sees whether all that is left can be
        bought; the differences."""
        differences = list(load.stop())
        unsettled, settle_seconds, longest = store.settle(self.place.books(), SETTLE_SECONDS)
        differences += unsettled + self._compare(check.at_rest) + self._audit()
        differences += [panic for server in self.servers for panic in server.panics()]
        if not differences:
            differences += self._probe(number)
        outcomes = self.journal.counts - self.sampled
        self.sampled = self.journal.counts.copy()
        counts = " ".join(f"{outcome} {outcomes[outcome]}" for outcome in journals.OUTCOMES)
        fields += [f"requests: {counts}", f"at rest after {settle_seconds:.1f} s ({longest})", f"audit {verdict(differences)}"]
        print(f"round {number}: {'; '.join(fields)}", flush=True)
        return differences

    def _compare(self, checks):
        self.journal.sync()
        return checks(journals.read(self.journal_path), store.Snapshot(self.place.books()))

    def _audit(self):
        status, report = self.servers[0].audit()
        broken = [f"audit {i['id']}: {each}" for i in report["invariants"] for each in i["broken"]]
        if status != 0 and not broken:
            broken = [f"audit: exit {status}, {report.get('error', report)}"]
        return broken

    def _probe(self, number):
        """What is left can be bought: no unit and no permit is lost in memory."""
        with self.shop() as shop:
            return self._probe_sale(shop) + self._probe_stock(shop, number)

    def _probe_sale(self, shop):
        is_live = lambda sale: sale["sku_id"] == str(SALE_SKU) and sale["state"] == "live" and sale["remaining"] > 0
        live = [sale for sale in shop.sales().facts["data"] if is_live(sale)]
        if not live:
            return []
        told = until(PROBE_SECONDS, lambda: shop.attempt(PROBER, SALE_SKU), lambda told: told.outcome in ("ok", "repeated"))
        if told.outcome in ("ok", "repeated"):
            return []
        return [f"sale {live[0]['id']} has {live[0]['remaining']} units left, but an attempt is answered {told}"]

    def _probe_stock(self, shop, number):
        """Another system can lock exactly what is available, and then nothing more."""
        differences = []
        for sku in (PLAIN_SKU, SALE_SKU):
            available = shop.stock(sku).facts["available"]
            name = f"probe-{self.options.seed}-{number}-{sku}"
            if available > 0:
                told = until(PROBE_SECONDS, lambda: shop.lock(name, {str(sku): available}), answered)
                if told.outcome != "ok":
                    differences.append(f"SKU {sku} has {available} units available, but locking them is answered {told}")
                    continue
            told = until(PROBE_SECONDS, lambda: shop.lock(name + "-more", {str(sku): 1}), answered)
            if told.outcome != "refused" and is_locked(self.place.books(), name):
                differences.append(f"SKU {sku} has nothing available, but locking one more is answered {told}")
        time.sleep(FOREIGN_LEASE_SECONDS)
        unsettled, _, _ = store.settle(self.place.books(), SETTLE_SECONDS)
        return differences + unsettled


def is_locked(books, owner):
    """Whether the lock of this owner still stands."""
    query = f"SELECT order_sn FROM wms_stock_lock WHERE order_sn = '{owner}' AND state = 0"
    return bool(books.read({"locks": query})["locks"])


def answered(told):
    return told.outcome in ("ok", "repeated", "refused")


def until(limit_seconds, call, is_good):
    deadline = time.monotonic() + limit_seconds
    while True:
        told = call()
        if is_good(told) or time.monotonic() > deadline:
            return told
        time.sleep(0.1)


def wrong_stop(status, took):
    if status is None:
        return [f"the server did not end within {took:.0f} s of SIGTERM"]
    differences = [] if status == 0 else [f"the server ended with status {status} after SIGTERM"]
    if took > STOP_LIMIT_SECONDS:
        differences.append(f"the server took {took:.1f} s to end after SIGTERM")
    return differences


def verdict(differences):
    return "ok" if not differences else f"BROKEN ({len(differences)})"


def seconds(values):
    return ", ".join(f"{value:.2f}" for value in values) + " s"


def play(run, kinds):
    """All rounds of each kind; stops at the first that is broken. The differences."""
    run.open()
    rounds = [kind for kind in kinds for _ in range(run.options.rounds)]
    # Every round has a number of its own: tokens and reasons of the load are made of it.
    for number, kind in enumerate(rounds, 1):
        print(f"{kind}, ", end="")
        differences = KINDS[kind](run, number)
        if differences:
            return differences
    return run.last_word()


def summary(run, what):
    counts, recoveries = run.journal.counts, run.recoveries or [0]
    requests = sum(counts.values())
    told = counts["ok"] + counts["repeated"]
    return (
        f"{what}: {run.place.mode}, {len(run.servers)} nodes, {run.options.rounds} rounds, {run.kills} kills, "
        f"{requests} requests, {told} accepted, {counts['refused']} refused, "
        f"{counts['unknown'] + counts['unsent']} unanswered, {counts['odd']} odd; "
        f"ready after {min(recoveries):.2f}–{max(recoveries):.2f} s; "
        f"{sum(server.log_errors() for server in run.servers)} errors logged"
    )


KINDS = {"kill": Run.kill_round, "term": Run.term_round, **outages.KINDS}
