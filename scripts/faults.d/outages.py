"""Rounds in which a service goes away or forgets, or a node stands still, under load."""

import itertools
import time

import journal as journals
from workload import PLAIN_SKU, SALE_SKU

# Goals for the time from a service's return until what needs it is answered again.
# Whatever the outage lasted: a server that tries less and less often would need as long again.
RECOVERY_SECONDS = 3
SALES_RECOVERY_SECONDS = 5
# A request that the outage refuses is refused at once.
REFUSAL_SECONDS = 1.0
# What was under way when the outage began may end in any way.
GRACE_SECONDS = 0.5
PAUSE_SECONDS = 8
# Put before an outage that orders must survive: enough for its first half, so that being sold out is seen as well.
UNITS_PER_SECOND = 100
PROBE_PAUSE_SECONDS = 0.05
UNANSWERED = ("unknown", "unsent", "busy")


class Outage:
    """The time during which something was away, and what clients were told in it."""

    def __init__(self, run):
        self.run, self.began, self.ended = run, None, None

    def __enter__(self):
        self.began = journals.seconds_now()
        return self

    def __exit__(self, *_):
        self.ended = journals.seconds_now()

    def begun(self, *ops):
        """Those that began in it, whenever they were answered."""
        self.run.journal.sync()
        for request in journals.read(self.run.journal_path):
            if request["op"] in ops and self.began + GRACE_SECONDS <= request["began"] <= self.ended:
                yield request

    def requests(self, *ops):
        """Those that began and were answered in it."""
        return (request for request in self.begun(*ops) if request.get("ended", self.ended + 1) <= self.ended)


def recover(run, what, ask, goal_seconds):
    """Asks until there is an answer; (seconds since now, differences)."""
    began = time.monotonic()
    while ask().outcome in UNANSWERED:
        if time.monotonic() - began > goal_seconds:
            return time.monotonic() - began, [f"{what} were not answered within {goal_seconds} s"]
        time.sleep(PROBE_PAUSE_SECONDS)
    seconds = time.monotonic() - began
    run.journal.note("recovered", asked=what, seconds=round(seconds, 3))
    return seconds, []


def recover_sales(run):
    """An attempt of somebody who has not won yet is decided."""
    with run.shop() as shop:
        users = itertools.cycle(range(900, 999))
        return recover(run, "attempts", lambda: shop.attempt(next(users), SALE_SKU), SALES_RECOVERY_SECONDS)


def recover_orders(run):
    """An ordinary order can be made, by a buyer who cancels it."""
    with run.shop() as shop:
        user, items = 999, {str(PLAIN_SKU): 1}

        def order():
            told = shop.confirm(user, items)
            if told.outcome in UNANSWERED:
                return told
            told = shop.submit(user, told.facts["token"], items, 0)
            if told.outcome == "ok":
                shop.cancel(user, told.facts["order_sn"])
            return told

        return recover(run, "orders", order, RECOVERY_SECONDS)


def away(run, name, on_return=lambda: None):
    """Kills a service, leaves it away for a while under load, and starts it again; the outage."""
    run.journal.note("away", service=name)
    run.place.kill(name)
    with Outage(run) as outage:
        time.sleep(run.options.seconds)
    on_return()
    run.place.start(name)
    run.journal.note("back", service=name)
    return outage


def begin(run, number):
    load = run.load(number)
    load.start()
    time.sleep(min(2.0, run.options.seconds))
    return load


def outcomes(requests):
    counts = {}
    for request in requests:
        counts[request["outcome"]] = counts.get(request["outcome"], 0) + 1
    return " ".join(f"{name} {counts[name]}" for name in journals.OUTCOMES if name in counts) or "none"


def redis_away(run, number):
    """Attempts are refused for the moment, ordinary orders go on, and sales are back soon after Redis is."""
    return redis_outage(run, number, lambda: None)


def redis_old(run, number):
    """The same, but Redis comes back with what it had some seconds ago."""
    return redis_outage(run, number, run.place.put_old_redis_back, run.place.copy_redis)


def redis_outage(run, number, on_return, before=lambda: None):
    before()
    load = begin(run, number)
    refill(run, number)
    outage = away(run, "redis", on_return)
    took, differences = recover_sales(run)
    orders, attempts = list(outage.requests("submit")), list(outage.requests("attempt"))
    if not any(request["outcome"] == "ok" for request in orders):
        differences.append(f"no ordinary order was made while Redis was away: {outcomes(orders)}")
    differences += [f"attempt {request['order_sn']} was won while Redis was away"
                    for request in attempts if request["outcome"] == "ok"]
    fields = [f"away {outage.ended - outage.began:.1f} s: attempts {outcomes(attempts)}; submits {outcomes(orders)}",
              f"sales back after {took:.2f} s"]
    return differences + run.finish_round(number, load, fields)


def refill(run, number):
    """Puts ordinary stock: whether orders go on cannot be seen when everything is sold."""
    units = round(UNITS_PER_SECOND * run.options.seconds)
    with run.shop() as shop:
        shop.adjust(PLAIN_SKU, 1, units, f"refill-{number}")


def redis_flush(run, number):
    """Redis forgets everything in the middle of the load: nothing is sold twice, sales go on."""
    load = begin(run, number)
    run.place.flush_redis()
    run.journal.note("flushed")
    took, differences = recover_sales(run)
    time.sleep(run.options.seconds)
    return differences + run.finish_round(number, load, [f"sales back after {took:.2f} s"])


def rabbitmq_away(run, number):
    """No request fails because of it; what waited for messages catches up."""
    load = begin(run, number)
    outage = away(run, "rabbitmq")
    asked = list(outage.requests("attempt", "confirm", "submit", "cancel", "lock", "adjust", "pay"))
    failed = [request for request in asked if request["outcome"] in ("unknown", "unsent")]
    # A full desk refuses attempts at any time.
    failed += [request for request in asked if request["op"] != "attempt" and request["outcome"] == "busy"]
    differences = [f"{request['op']} was {request['outcome']} while RabbitMQ was away" for request in failed]
    fields = [f"away {outage.ended - outage.began:.1f} s: {outcomes(asked)}"]
    return differences + run.finish_round(number, load, fields)


def postgres_away(run, number):
    """Everything is refused at once, and works again without a restart."""
    load = begin(run, number)
    outage = away(run, "postgres")
    took, differences = recover_orders(run)
    sales_took, more = recover_sales(run)
    ops = ("attempt", "confirm", "submit", "cancel", "lock", "adjust")
    time.sleep(REFUSAL_SECONDS)
    # Towards its end the database is up already, and slow at first: who asks then waits for it, not for its absence.
    refused = [request for request in outage.begun(*ops) if request["began"] <= outage.ended - REFUSAL_SECONDS]
    waits = [request.get("ended", journals.seconds_now()) - request["began"] for request in refused]
    asked = list(outage.requests(*ops))
    differences += more
    if max(waits, default=0) > REFUSAL_SECONDS:
        differences.append(f"an answer took {max(waits):.2f} s while PostgreSQL was away")
    differences += [f"{request['op']} was accepted while PostgreSQL was away" for request in asked
                    if request["outcome"] == "ok" and request["op"] in ("submit", "cancel", "lock", "adjust", "attempt")]
    fields = [f"away {outage.ended - outage.began:.1f} s: {outcomes(asked)}, longest answer {max(waits, default=0):.2f} s",
              f"orders back after {took:.2f} s, sales after {sales_took:.2f} s"]
    return differences + run.finish_round(number, load, fields)


def pause(run, number):
    """A node stands still, holding what it holds, and goes on later with what it believed then."""
    load = begin(run, number)
    node = run.rng.choice(run.servers)
    node.pause()
    run.journal.note("paused")
    time.sleep(run.options.pause)
    node.go_on()
    run.journal.note("continued")
    time.sleep(run.options.seconds)
    return run.finish_round(number, load, [f"stood still for {run.options.pause:.0f} s"])


KINDS = {
    "redis-flush": redis_flush,
    "redis-old": redis_old,
    "redis-away": redis_away,
    "rabbitmq-away": rabbitmq_away,
    "postgres-away": postgres_away,
    "pause": pause,
}
