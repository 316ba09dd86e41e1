"""What one client can ask for. Each call is journaled before and after, and returns what the server told."""

import collections
import html.parser
import json
import urllib.parse
import uuid

from wire import Connection, NotReached, Unknown

Told = collections.namedtuple("Told", "outcome facts")
ORDINARY_PRICE_YUAN = 10000
RECEIVER = {"name": "李先锋", "phone": "13888888888", "province": "上海", "city": "上海市", "detailAddress": "大江大厦6层"}


class Shop:
    """One client: two connections to a node, those to the other nodes, and the journal."""

    def __init__(self, servers, journal, tokens, on_accepted=lambda: None, first=0):
        self.nodes = [(Connection(server.port), Connection(server.internal_port)) for server in servers]
        self.at = first % len(self.nodes)
        self.service = {"authorization": f"Bearer {servers[0].place.service_token()}"}
        self.journal = journal
        self.tokens = tokens
        self.on_accepted = on_accepted

    @property
    def public(self):
        return self.nodes[self.at][0]

    @property
    def internal(self):
        return self.nodes[self.at][1]

    def close(self):
        for connections in self.nodes:
            for connection in connections:
                connection.close()

    def _login(self, user):
        return {"authorization": f"Bearer {self.tokens[user]}"}

    def _once(self, user):
        """Login and a key that no other request has: the checker wants to see what repeats do without it."""
        return {**self._login(user), "idempotency-key": uuid.uuid4().hex}

    def _ask(self, judge, send, op, **facts):
        """Journals the request, sends it, has the answer judged, journals that."""
        number = self.journal.invoke(op, **facts)
        try:
            answer = send()
        except NotReached:
            told = Told("unsent", {})
            self._turn_to_next_node()
        except Unknown as error:
            told = Told("unknown", {"error": str(error)})
            self._turn_to_next_node()
        else:
            told = busy(answer) or judge(answer) or odd(answer)
        if told.outcome == "ok":
            self.on_accepted()
        self.journal.answer(number, told.outcome, **told.facts)
        return told

    def _turn_to_next_node(self):
        """As a load balancer does for a node that does not answer."""
        self.at = (self.at + 1) % len(self.nodes)

    # Flash sales

    def attempt(self, user, sku):
        """Tries to win a unit on the course's path."""
        send = lambda: self.public.request("POST", f"/miaosha/{sku}", b"", self._login(user))
        return self._ask(judge_attempt, send, "attempt", user=user, sku=sku)

    def attempt_v1(self, user, sale):
        """The same on the REST path."""
        send = lambda: self.public.request("POST", f"/api/v1/flash-sales/{sale}/attempts", b"", self._once(user))
        return self._ask(judge_attempt_v1, send, "attempt", user=user, sale=sale)

    def won_page(self, user, order_sn):
        """Waits for a winner's order; facts: form, when it is to be paid."""
        send = lambda: self.public.request("GET", f"/miaosha/pay?orderSn={order_sn}", None, self._login(user))
        return self._ask(judge_won_page, send, "won_page", user=user, order_sn=order_sn)

    # Ordinary orders

    def confirm(self, user, items):
        """An order token; facts: token."""
        send = lambda: self.public.request("POST", "/order/confirm", items, self._login(user))
        return self._ask(judge_confirm, send, "confirm", user=user, items=items)

    def submit(self, user, token, items, pay_type):
        """Makes the order of the token; facts: order_sn, form."""
        body = {
            "orderToken": token,
            "totalPrice": ORDINARY_PRICE_YUAN * sum(items.values()),
            "payType": pay_type,
            "orderItems": [{"skuId": int(sku), "count": count} for sku, count in items.items()],
            **RECEIVER,
        }
        send = lambda: self.public.request("POST", "/order/submit", body, self._login(user))
        facts = {"user": user, "token": token, "items": items, "pay_type": pay_type}
        return self._ask(judge_submit, send, "submit", **facts)

    def see(self, user, order_sn):
        """Reads an order that was accepted; facts: status."""
        send = lambda: self.public.request("GET", f"/api/v1/orders/{order_sn}", None, self._login(user))
        return self._ask(judge_order, send, "see", user=user, order_sn=order_sn)

    def cancel(self, user, order_sn):
        send = lambda: self.public.request("POST", f"/api/v1/orders/{order_sn}/cancel", b"", self._login(user))
        return self._ask(judge_cancel, send, "cancel", user=user, order_sn=order_sn)

    def pay_form(self, user, order_sn):
        """Another form for an unpaid order; facts: form."""
        send = lambda: self.public.request("POST", f"/api/v1/orders/{order_sn}/payments", b"", self._once(user))
        return self._ask(judge_pay_form, send, "pay_form", user=user, order_sn=order_sn)

    # After the payment

    def receive(self, user, order_sn):
        send = lambda: self.public.request("POST", f"/api/v1/orders/{order_sn}/receive", b"", self._login(user))
        return self._ask(judge_step("completed"), send, "receive", user=user, order_sn=order_sn)

    def ask_back(self, user, order_sn, sku, quantity):
        """Asks to send units back; facts: id."""
        body = {"sku_id": str(sku), "quantity": quantity, "reason": "does not fit"}
        send = lambda: self.public.request("POST", f"/api/v1/orders/{order_sn}/returns", body, self._once(user))
        facts = {"user": user, "order_sn": order_sn, "sku": sku, "quantity": quantity}
        return self._ask(judge_return, send, "ask_back", **facts)

    def ship(self, order_sn):
        body = {"delivery_company": "SF", "delivery_sn": f"SF-{order_sn}"}
        send = lambda: self.internal.request("POST", f"/admin/v1/orders/{order_sn}/ship", body, self.service)
        return self._ask(judge_step("shipped"), send, "ship", order_sn=order_sn)

    def refund_whole(self, order_sn):
        body = {"reason": "asked for"}
        send = lambda: self.internal.request("POST", f"/admin/v1/orders/{order_sn}/refund", body, self.service)
        return self._ask(judge_step("closed"), send, "refund_whole", order_sn=order_sn)

    def refund_part(self, order_sn, reference, fen):
        body = {"amount": f"{fen // 100}.{fen % 100:02d}", "reference": reference, "reason": "scratched"}
        send = lambda: self.internal.request("POST", f"/admin/v1/orders/{order_sn}/refund", body, self.service)
        facts = {"order_sn": order_sn, "reference": reference, "fen": fen}
        return self._ask(judge_step(None), send, "refund_part", **facts)

    def handle_return(self, return_id, verb, restock):
        """approve, reject or receive."""
        body = {"restock": restock} if verb == "receive" else {"note": "seen"}
        send = lambda: self.internal.request("POST", f"/admin/v1/returns/{return_id}/{verb}", body, self.service)
        return self._ask(judge_return, send, "handle_return", id=return_id, verb=verb, restock=restock)

    # The cashier, as a browser would use it

    def open_cashier(self, order_sn, form_html):
        """Posts the pay form; facts: press, the form behind the pay button."""
        form = forms_of(form_html)[0]
        send = lambda: self._post_form(form)
        return self._ask(judge_cashier, send, "open_cashier", order_sn=order_sn)

    def press_pay(self, order_sn, press):
        form = Form(press["action"], press["fields"])
        return self._ask(judge_press, lambda: self._post_form(form), "pay", order_sn=order_sn)

    def _post_form(self, form):
        target = urllib.parse.urlsplit(urllib.parse.urljoin("/sandbox/gateway.do", form.action))
        path = target.path + ("?" + target.query if target.query else "")
        body = urllib.parse.urlencode(form.fields).encode()
        return self.public.request("POST", path, body, {"content-type": "application/x-www-form-urlencoded"})

    # Other systems and staff

    def lock(self, token, items):
        """Asks for units as another system does."""
        body = [{"skuId": int(sku), "num": num, "orderToken": token} for sku, num in items.items()]
        send = lambda: self.internal.request("POST", "/wms/waresku/check/lock", body, self.service)
        return self._ask(judge_lock, send, "lock", token=token, items=items)

    def adjust(self, sku, ware, delta, reason):
        """Adds or takes units; the reason is unique and never sent twice."""
        body = {"ware_id": str(ware), "delta": delta, "reason": reason}
        send = lambda: self.internal.request("POST", f"/admin/v1/stock/{sku}/adjustments", body, self.service)
        return self._ask(judge_admin, send, "adjust", sku=sku, ware=ware, delta=delta, reason=reason)

    def stock(self, sku):
        """Facts: stock, locked, available."""
        send = lambda: self.internal.request("GET", f"/admin/v1/stock/{sku}", None, self.service)
        return self._ask(judge_admin, send, "stock", sku=sku)

    def sales(self):
        """Facts: data, the sales."""
        send = lambda: self.internal.request("GET", "/admin/v1/flash-sales", None, self.service)
        return self._ask(judge_admin, send, "sales")

    def create_sale(self, body):
        send = lambda: self.internal.request("POST", "/admin/v1/flash-sales", body, self.service)
        return self._ask(judge_admin, send, "create_sale", body=body)

    def change_sale(self, sale, verb):
        """arm, pause, resume or end."""
        send = lambda: self.internal.request("POST", f"/admin/v1/flash-sales/{sale}/{verb}", {}, self.service)
        return self._ask(judge_admin, send, "change_sale", sale=sale, verb=verb)


def log_in(connection, user):
    """A login token of a demo member."""
    answer = connection.request("POST", "/demo/login", {"userId": user})
    if answer.status != 200:
        raise Unknown(f"login {answer.status} {answer.text()[:200]}")
    return answer.headers["set-cookie"].split(";")[0].split("=", 1)[1]


# What answers mean. Each takes an answer and returns what was told, or None when nobody should get such an answer.


def busy(answer):
    return Told("busy", {"status": answer.status}) if answer.status in (429, 503) else None


def odd(answer):
    return Told("odd", {"status": answer.status, "body": answer.text()[:500]})


def judge_attempt(answer):
    if answer.status == 404:
        return Told("refused", {"reason": "no sale"})
    said = answer.json()
    if answer.status != 200 or not isinstance(said, dict):
        return None
    data = said.get("data") or {}
    if said["code"] == 0 and data.get("orderSn"):
        return Told("ok", {"order_sn": data["orderSn"]})
    if said["code"] == 1 and data.get("orderSn"):
        return Told("repeated", {"order_sn": data["orderSn"]})
    known = {"秒杀尚未开始！": "not started", "秒杀结束！": "ended", "秒杀失败，欢迎再次秒杀！": "sold out"}
    reason = known.get(said["msg"])
    return Told("refused", {"reason": reason}) if said["code"] == 1 and reason else None


def judge_attempt_v1(answer):
    said = answer.json()
    if not isinstance(said, dict):
        return None
    if answer.status == 202:
        return Told("ok", {"order_sn": said["order_sn"]})
    code = said.get("code")
    if code == "limit-reached":
        return Told("repeated", {"order_sn": said["order_sn"]})
    known = {"sold-out": "sold out", "not-started": "not started", "ended": "ended", "not-found": "no sale"}
    return Told("refused", {"reason": known[code]}) if code in known else None


def submit_data(answer):
    """(msg, data) of an answer of the course's paths with code 0."""
    said = answer.json()
    if answer.status != 200 or not isinstance(said, dict) or said.get("code") != 0:
        return None, None
    return said.get("msg"), said.get("data")


def judge_won_page(answer):
    msg, data = submit_data(answer)
    if not isinstance(data, dict):
        return None
    if data["code"] == 6:
        return Told("busy", {"pending": True})
    if data["code"] == 4:
        return Told("refused", {"reason": f"failed: {msg}"})
    entity = data.get("orderEntity")
    if data["code"] is not None or not entity:
        return None
    return Told("ok", {"order_sn": entity["orderSn"], "status": entity["status"], "form": data.get("payForm")})


def judge_confirm(answer):
    _, data = submit_data(answer)
    return Told("ok", {"token": data["orderToken"]}) if isinstance(data, dict) and data.get("orderToken") else None


def judge_submit(answer):
    msg, data = submit_data(answer)
    if isinstance(data, str):
        form = forms_of(data)
        content = json.loads(form[0].fields["biz_content"]) if form else {}
        return Told("ok", {"order_sn": content["out_trade_no"], "form": data}) if content else None
    if not isinstance(data, dict):
        return None
    code, entity = data.get("code"), data.get("orderEntity")
    if code is None and entity:
        return Told("ok", {"order_sn": entity["orderSn"], "form": None})
    if code == 1 and data.get("orderId"):
        return Told("repeated", {"order_sn": data["orderId"], "form": None})
    if code == 5:
        return Told("busy", {"status": 5})
    reasons = {1: "stale page", 3: f"price changed: {msg}", 4: "stock short"}
    # Prices never change here and no page is stale: only short stock may refuse.
    return Told("refused", {"reason": reasons[code]}) if code == 4 else None


def judge_order(answer):
    said = answer.json()
    return Told("ok", {"status": said["status"]}) if answer.status == 200 and isinstance(said, dict) else None


def judge_cancel(answer):
    said = answer.json()
    if not isinstance(said, dict):
        return None
    if answer.status == 200:
        return Told("ok", {"status": said["status"]}) if said["status"] == "closed" else None
    return Told("refused", {"reason": said.get("current_status")}) if said.get("code") == "wrong-state" else None


def judge_step(reached):
    """A step that leaves the order in this status, when it says one."""

    def judge(answer):
        said = answer.json()
        if not isinstance(said, dict):
            return None
        if answer.status == 200:
            return Told("ok", {"status": said["status"]}) if reached in (None, said["status"]) else None
        known = ("wrong-state", "refund-too-large")
        return Told("refused", {"reason": said["code"]}) if said.get("code") in known else None

    return judge


def judge_return(answer):
    said = answer.json()
    if not isinstance(said, dict):
        return None
    if answer.status in (200, 201):
        return Told("ok", {"return_id": said["id"], "status": said["status"]})
    known = ("wrong-state", "conflict", "too-many-returned")
    is_elsewhere = said.get("code") == "validation" and said.get("field") == "sku_id"
    return Told("refused", {"reason": said["code"]}) if said.get("code") in known or is_elsewhere else None


def judge_pay_form(answer):
    said = answer.json()
    if not isinstance(said, dict):
        return None
    if answer.status == 201:
        return Told("ok", {"form": said["pay_form"]})
    refusals = ("wrong-state", "payment-lapsed")
    return Told("refused", {"reason": said["code"]}) if said.get("code") in refusals else None


def judge_cashier(answer):
    if answer.status == 409:
        return Told("refused", {"reason": "trade is over"})
    if answer.status != 200:
        return None
    pay = [form for form in forms_of(answer.text()) if form.action == "pay"]
    return Told("ok", {"press": {"action": pay[0].action, "fields": pay[0].fields}}) if pay else None


def judge_press(answer):
    if answer.status == 303:
        return Told("ok", {})
    return Told("refused", {"reason": "trade is over or page is old"}) if answer.status == 409 else None


def judge_lock(answer):
    said = answer.json()
    if answer.status != 200 or not isinstance(said, dict):
        return None
    if said["code"] == 0:
        return Told("ok", {})
    return Told("refused", {"reason": said["msg"]}) if said["code"] == 1 and "库存不足" in said["msg"] else None


def judge_admin(answer):
    said = answer.json()
    if not isinstance(said, dict):
        return None
    if answer.status in (200, 201):
        return Told("ok", said)
    return Told("refused", {"reason": said.get("code")}) if answer.status in (404, 409) else None


class Form:
    def __init__(self, action, fields=None):
        self.action = action
        self.fields = fields or {}


class FormReader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "form":
            self.forms.append(Form(attributes["action"]))
        elif tag == "input" and self.forms and attributes.get("name"):
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")


def forms_of(text):
    """The forms of a page with the fields they would send."""
    reader = FormReader()
    reader.feed(text)
    return reader.forms
