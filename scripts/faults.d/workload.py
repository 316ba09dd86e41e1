"""Buyers, other systems and staff, all at once, who never give up on an answer: what stays unanswered is asked again."""

import collections
import datetime
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from shop import Shop, log_in
from wire import Connection

SALE_SKU = 49
PLAIN_SKU = 48
BUYERS = range(2, 202)
# A client asks again until the load is over and this much longer.
PATIENCE_SECONDS = 12
JOIN_SECONDS = 60
MOST_ERRANDS = 500
UNANSWERED = ("unknown", "unsent", "busy")


def log_everyone_in(server):
    """user → login token; they stay good over restarts."""

    def one(users):
        connection = Connection(server.port)
        try:
            return [(user, log_in(connection, user)) for user in users]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(one, [list(BUYERS)[part::8] for part in range(8)])
        return dict(pair for part in parts for pair in part)


class Trigger:
    """Lets the killer wait for the very moment at which a client is told of an accepted request."""

    def __init__(self):
        self._event = threading.Event()

    def accepted(self):
        self._event.set()

    def wait_next(self, seconds):
        self._event.clear()
        return self._event.wait(seconds)


class Load:
    """One round of load over many threads."""

    def __init__(self, servers, journal, tokens, name, clients):
        self.servers, self.journal, self.tokens, self.name = servers, journal, tokens, name
        self.trigger = Trigger()
        self.stopping = threading.Event()
        self.gives_up_at = None
        self.failures = []
        self.errands = collections.deque(maxlen=MOST_ERRANDS)
        # For staff: orders that are paid, or soon, as (user, order number), and ids of return requests.
        self.to_fulfil = collections.deque(maxlen=MOST_ERRANDS)
        self.returns = collections.deque(maxlen=MOST_ERRANDS)
        self._claimed, self._lock = set(), threading.Lock()
        runs = [(Staff, 0)] + [(Client, index) for index in range(clients)]
        self.threads = [threading.Thread(target=self._run, args=run, daemon=True) for run in runs]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Lets the clients finish what they are at."""
        self.gives_up_at = time.monotonic() + PATIENCE_SECONDS
        self.stopping.set()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self.threads:
            thread.join(max(0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self.threads):
            self.failures.append("a client is still waiting for its answer")
        return self.failures

    def given_up(self):
        return self.gives_up_at is not None and time.monotonic() > self.gives_up_at

    def claim(self, order_sn):
        """True for the first that asks: one client decides what becomes of an order."""
        with self._lock:
            is_new = order_sn not in self._claimed
            self._claimed.add(order_sn)
            return is_new

    def _run(self, kind, index):
        shop = Shop(self.servers, self.journal, self.tokens, self.trigger.accepted, index)
        actor = kind(self, shop, random.Random(f"{self.name}-{kind.__name__}-{index}"), index)
        try:
            while not self.stopping.is_set():
                actor.act()
        except Exception as error:  # a fault of the tool must not look like a quiet round
            self.failures.append(f"{kind.__name__} {index}: {type(error).__name__}: {error}")
        finally:
            shop.close()


class Client:
    """A thread that is one buyer after the other, and now and then another system."""

    def __init__(self, load, shop, rng, index):
        self.load, self.shop, self.rng, self.index = load, shop, rng, index
        self.made = 0

    def act(self):
        if self.load.errands and self.rng.random() < 0.7:
            try:
                return self.load.errands.popleft()(self)
            except IndexError:
                pass
        act = self.rng.choices([self.try_sale, self.order, self.lock], [48, 42, 10])[0]
        return act()

    def until_answered(self, call):
        while True:
            told = call()
            if told.outcome not in UNANSWERED or self.load.given_up():
                return told
            time.sleep(self.rng.uniform(0.01, 0.06))

    # Flash sales

    def try_sale(self):
        user = self.rng.choice(BUYERS)
        told = self.until_answered(lambda: self.shop.attempt(user, SALE_SKU))
        if told.outcome == "refused":
            time.sleep(self.rng.uniform(0, 0.02))
        if told.outcome not in ("ok", "repeated") or not self.load.claim(told.facts["order_sn"]):
            return
        order_sn = told.facts["order_sn"]
        if self.rng.random() < 0.2:
            self.load.errands.append(lambda client: client.shop.attempt(user, SALE_SKU))
        page = self.until_answered(lambda: self.shop.won_page(user, order_sn))
        if page.outcome == "ok":
            self.decide(user, order_sn, page.facts["form"])

    # Ordinary orders

    def order(self):
        user = self.rng.choice(BUYERS)
        items = {str(PLAIN_SKU): self.rng.randint(1, 3)}
        if self.rng.random() < 0.3:
            items[str(SALE_SKU)] = self.rng.randint(1, 2)
        confirmed = self.until_answered(lambda: self.shop.confirm(user, items))
        if confirmed.outcome != "ok" or self.rng.random() < 0.03:
            return
        token, pay_type = confirmed.facts["token"], self.rng.choices([0, 1], [85, 15])[0]
        if self.rng.random() < 0.2:
            self.load.errands.append(lambda client: client.shop.submit(user, token, items, pay_type))
        told = self.until_answered(lambda: self.shop.submit(user, token, items, pay_type))
        if told.outcome not in ("ok", "repeated"):
            return
        order_sn = told.facts["order_sn"]
        if self.rng.random() < 0.15:
            self.shop.submit(user, token, items, pay_type)
        if self.rng.random() < 0.1:
            self.shop.see(user, order_sn)
        if pay_type == 1 and self.load.claim(order_sn):
            self.load.to_fulfil.append((user, order_sn))
        if pay_type == 0 and self.load.claim(order_sn):
            self.decide(user, order_sn, told.facts["form"])

    def decide(self, user, order_sn, form):
        """What the buyer does with the unpaid order."""
        fate = self.rng.choices(
            ["leave", "pay", "cancel", "cancel, then pay", "pay and cancel", "open only", "pay at the last moment"],
            [20, 40, 12, 8, 8, 5, 7],
        )[0]
        if fate == "pay":
            self.pay(user, order_sn, form)
        elif fate == "cancel":
            self.cancel(user, order_sn)
        elif fate == "cancel, then pay":
            self.cancel(user, order_sn)
            self.pay(user, order_sn, form)
        elif fate == "pay and cancel":
            self.load.errands.append(lambda client: client.cancel(user, order_sn))
            self.pay(user, order_sn, form)
        elif fate == "open only" and form:
            self.until_answered(lambda: self.shop.open_cashier(order_sn, form))
        elif fate == "pay at the last moment" and form:
            due = time.monotonic() + self.rng.uniform(2, 5)
            self.load.errands.append(lambda client: client.pay_at(due, user, order_sn, form))

    def pay_at(self, due, user, order_sn, form):
        if time.monotonic() < due and not self.load.stopping.is_set():
            self.load.errands.append(lambda client: client.pay_at(due, user, order_sn, form))
            time.sleep(0.005)
            return
        self.pay(user, order_sn, form)

    def cancel(self, user, order_sn):
        self.until_answered(lambda: self.shop.cancel(user, order_sn))

    def pay(self, user, order_sn, form):
        """Through the cashier; an unanswered press is followed by opening it again."""
        if not form:
            told = self.until_answered(lambda: self.shop.pay_form(user, order_sn))
            if told.outcome != "ok":
                return
            form = told.facts["form"]
        while not self.load.given_up():
            opened = self.until_answered(lambda: self.shop.open_cashier(order_sn, form))
            if opened.outcome != "ok":
                return
            pressed = self.shop.press_pay(order_sn, opened.facts["press"])
            if pressed.outcome not in UNANSWERED:
                if pressed.outcome == "ok":
                    self.load.to_fulfil.append((user, order_sn))
                return

    # After the payment

    def receive(self, user, order_sn):
        """Takes the parcel, and may send some of it back."""
        told = self.until_answered(lambda: self.shop.receive(user, order_sn))
        if told.outcome == "ok" and self.rng.random() < 0.6:
            self.ask_back(user, order_sn)

    def ask_back(self, user, order_sn):
        quantity, sku = self.rng.choice([1, 1, 1, 2]), self.rng.choice([PLAIN_SKU, PLAIN_SKU, SALE_SKU])
        told = self.until_answered(lambda: self.shop.ask_back(user, order_sn, sku, quantity))
        if told.outcome == "ok":
            self.load.returns.append(told.facts["return_id"])

    # Other systems

    def lock(self):
        self.made += 1
        token = f"foreign-{self.load.name}-{self.index}-{self.made}"
        items = {str(PLAIN_SKU): self.rng.randint(1, 5)}
        if self.rng.random() < 0.3:
            items[str(SALE_SKU)] = self.rng.randint(1, 3)
        told = self.until_answered(lambda: self.shop.lock(token, items))
        if told.outcome == "ok" and self.rng.random() < 0.3:
            self.shop.lock(token, items)


class Staff:
    """Keeps a sale going, and moves stock."""

    def __init__(self, load, shop, rng, index):
        self.load, self.shop, self.rng = load, shop, rng
        self.made = 0

    def act(self):
        if self.rng.random() < 0.5:
            self.move_stock()
        else:
            self.tend_sale()
        for _ in range(6):
            self.fulfil()
            self.handle_return()
        time.sleep(self.rng.uniform(0.05, 0.4))

    def fulfil(self):
        """One step of one order; what is refused, because the payment is not there yet, comes again."""
        try:
            user, order_sn = self.load.to_fulfil.popleft()
        except IndexError:
            return
        fate = self.rng.choices(["ship", "refund whole", "refund part", "leave"], [45, 20, 15, 20])[0]
        if fate == "ship":
            told = self.shop.ship(order_sn)
            if told.outcome == "ok":
                self.load.errands.append(lambda client: client.receive(user, order_sn))
        elif fate == "refund whole":
            told = self.shop.refund_whole(order_sn)
        elif fate == "refund part":
            self.made += 1
            told = self.shop.refund_part(order_sn, f"r{self.made}", self.rng.choice([1, 50, 3333, 10000]))
        else:
            return
        # A buyer's status is behind for a moment after the payment; what is over stays over.
        if told.outcome != "ok" and self.rng.random() < 0.7:
            self.load.to_fulfil.append((user, order_sn))

    def handle_return(self):
        try:
            return_id = self.load.returns.popleft()
        except IndexError:
            return
        verb = self.rng.choices(["approve", "receive", "reject"], [50, 40, 10])[0]
        told = self.shop.handle_return(return_id, verb, self.rng.random() < 0.6)
        if told.outcome != "ok" or verb == "approve":
            self.load.returns.append(return_id)

    def move_stock(self):
        sku = self.rng.choice([PLAIN_SKU, SALE_SKU])
        seen = self.shop.stock(sku)
        if seen.outcome != "ok":
            return
        available = seen.facts["available"]
        # Around the point where stock runs short, and never dry for long.
        delta = self.rng.randint(100, 300) if available < 150 else self.rng.randint(-60, 30)
        if delta == 0:
            return
        self.made += 1
        # Sent once whatever the answer: it has no number that would make a repeat harmless.
        self.shop.adjust(sku, self.rng.choice([1, 2]), delta, f"{self.load.name}-{self.made}")

    def tend_sale(self):
        told = self.shop.sales()
        if told.outcome != "ok":
            return
        sku = str(SALE_SKU)
        is_open = lambda sale: sale["sku_id"] == sku and sale["state"] in ("armed", "live", "paused")
        running = [sale for sale in told.facts["data"] if is_open(sale)]
        if not running:
            self.open_sale()
        for sale in running:
            self.tend(sale)

    def tend(self, sale):
        if sale["state"] == "paused":
            self.shop.change_sale(sale["id"], "resume")
        elif sale["remaining"] == 0 or sale["count"] == 100 or self.rng.random() < 0.12:
            if self.shop.change_sale(sale["id"], "end").outcome == "ok":
                self.open_sale()
        elif self.rng.random() < 0.15:
            self.shop.change_sale(sale["id"], "pause")

    def open_sale(self):
        now = datetime.datetime.now(datetime.timezone.utc)
        # Some end in the middle of the round.
        seconds = self.rng.uniform(1, 4) if self.rng.random() < 0.3 else 3600
        body = {
            "sku_id": str(SALE_SKU),
            "price": self.rng.choice(["4999.00", "1.00", "0.01", "3333.33"]),
            "count": self.rng.randint(5, 60),
            "per_user_limit": self.rng.randint(1, 3),
            "starts_at": rfc3339(now - datetime.timedelta(seconds=60)),
            "ends_at": rfc3339(now + datetime.timedelta(seconds=seconds)),
        }
        told = self.shop.create_sale(body)
        if told.outcome == "ok":
            self.shop.change_sale(told.facts["id"], "arm")


def rfc3339(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
