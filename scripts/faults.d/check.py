"""Compares what clients were told with the store. Every check yields sentences; none means that all is well.

`accepted` holds at every moment after the answers were given, `at_rest` once nothing is on its way any more.
I-numbers are those of `seckill audit`; what is counted here is counted anew from the raw rows, and without leaving the
youngest rows out.
"""

import collections
from decimal import Decimal

from store import (
    ARMED, CASH_ON_DELIVERY, CLOSED, COMPLETED, DEDUCTED, ENDED, FAILED, GRANTED, LOCKED, ONLINE, PAID, PAUSED,
    RELEASED, RETURN_DONE, RETURN_REJECTED, RETURNED, SHIPPED, UNPAID,
)
from shop import ORDINARY_PRICE_YUAN, RECEIVER

TOLD = ("ok", "repeated")
# After these the server may have done it all the same.
OPEN = ("unknown", "busy", "odd")
PAID_STATES = (PAID, SHIPPED, COMPLETED)
CASH_TRADE = "cash-"
PAY_TYPE_COLUMN = {0: ONLINE, 1: CASH_ON_DELIVERY}
FEN = 100


def accepted(requests, store):
    """What was promised is in the store."""
    facts = Facts(requests, store)
    checks = [odd_answers, wins, tokens, seen_orders, cancels, payments_made, steps_taken, refunds_named,
              returns_asked, returns_handled, foreign_locks, adjustments, sale_changes]
    return [sentence for check in checks for sentence in check(facts)]


def at_rest(requests, store):
    """The same, and the books balance."""
    facts = Facts(requests, store)
    checks = [
        nothing_parked, no_order_from_nowhere, grants_became_orders, sales_balance, limits_kept, locks_fit_orders,
        stock_balances, money_balances, points_credited, returns_balance,
    ]
    return accepted(requests, store) + [sentence for check in checks for sentence in check(facts)]


class Facts:
    """Requests by what they asked, rows by what they are about."""

    def __init__(self, requests, store):
        self.requests, self.store = requests, store
        self.by_op = group(requests, lambda request: request["op"])
        self.orders = {row["order_sn"]: row for row in store.oms_order}
        self.by_token = group((row for row in store.oms_order if row["order_token"]), lambda row: row["order_token"])
        self.items = group(store.oms_order_item, lambda row: row["order_sn"])
        self.grants = {row["order_sn"]: row for row in store.sms_flash_sale_grant}
        self.sales = {row["id"]: row for row in store.sms_flash_sale}
        self.locks = group(store.wms_stock_lock, lambda row: row["order_sn"])
        self.payments = group(store.oms_payment_info, lambda row: row["order_sn"])
        self.refunds = group(store.oms_refund_info, lambda row: row["trade_no"])
        self.returns = {row["id"]: row for row in store.oms_order_return_apply}
        self.money = group(store.sandbox_money, lambda row: row["out_trade_no"])

    def refunded(self, order_sn):
        """What of the order's applied payment was given back or will be; None without one."""
        applied = [row for row in self.payments[order_sn] if row["payment_status"] == "APPLIED"]
        return sum(row["refund"] for row in self.refunds[applied[0]["alipay_trade_no"]]) if applied else None

    def asked(self, op, *outcomes):
        return [request for request in self.by_op[op] if not outcomes or request["outcome"] in outcomes]


def group(rows, key):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


# What was promised


def odd_answers(facts):
    """Answers that nobody should get: 500, 400 or 404 for what exists, a shape without meaning."""
    for request in facts.requests:
        if request["outcome"] == "odd":
            yield f"{describe(request)} was answered {request['status']}: {request['body']}"


def wins(facts):
    """I5: every win has its grant, of that user, and one number is told to one user only."""
    owner = {}
    for request in facts.asked("attempt", *TOLD):
        order_sn, user = request["order_sn"], request["user"]
        grant = facts.grants.get(order_sn)
        if owner.setdefault(order_sn, user) != user:
            yield f"win {order_sn} was told to user {user} and to user {owner[order_sn]}"
        if grant is None:
            yield f"user {user} was told of win {order_sn} ({request['outcome']}), which has no grant"
        elif grant["user_id"] != user:
            yield f"user {user} was told of win {order_sn}, which is user {grant['user_id']}'s"
        elif grant["state"] == FAILED:
            yield f"user {user} was told of win {order_sn}, which failed: {grant['reason']}"
    for request in facts.asked("won_page"):
        order_sn = request["order_sn"]
        if request["outcome"] in TOLD and order_sn not in facts.orders:
            yield f"user {request['user']} was shown the order of win {order_sn}, which does not exist"
        if request["outcome"] == "refused":
            yield f"the order of win {order_sn} was said to have {request['reason']}"


def tokens(facts):
    """I5, I7: one order per token, the one that was answered, with that user's items, price and way to pay."""
    for token, tries in group(facts.asked("submit"), lambda request: request["token"]).items():
        made = facts.by_token[token]
        told = [request for request in tries if request["outcome"] in TOLD]
        numbers = {request["order_sn"] for request in told}
        if len(made) > 1:
            yield f"token {token} made {len(made)} orders: {', '.join(row['order_sn'] for row in made)}"
        if len(numbers) > 1:
            yield f"token {token} was answered with {len(numbers)} order numbers: {', '.join(sorted(numbers))}"
        for order_sn in numbers - {row["order_sn"] for row in made}:
            yield f"token {token} was answered with order {order_sn}, which is not in the store"
        if made and all(request["outcome"] in ("refused", "unsent") for request in tries):
            yield f"token {token} was always refused, but made order {made[0]['order_sn']}"
        for row in made:
            yield from wrong_order(facts, row, tries[0])


def wrong_order(facts, row, request):
    """How an ordinary order differs from what was submitted."""
    items = collections.Counter()
    for item in facts.items[row["order_sn"]]:
        items[str(item["sku_id"])] += item["sku_quantity"]
        if item["sku_price"] != ORDINARY_PRICE_YUAN * FEN:
            yield f"order {row['order_sn']}: SKU {item['sku_id']} at {item['sku_price']} fen"
    total = ORDINARY_PRICE_YUAN * FEN * sum(request["items"].values())
    expected = {
        "member_id": request["user"],
        "total_amount": total,
        "pay_amount": total,
        "pay_type": PAY_TYPE_COLUMN[request["pay_type"]],
        "receiver_name": RECEIVER["name"],
        "receiver_phone": RECEIVER["phone"],
        "receiver_detail_address": RECEIVER["detailAddress"],
    }
    for column, value in expected.items():
        if row[column] != value:
            yield f"order {row['order_sn']}: {column} is {row[column]!r}, submitted was {value!r}"
    if dict(items) != request["items"]:
        yield f"order {row['order_sn']} has items {dict(items)}, submitted were {request['items']}"


def seen_orders(facts):
    for request in facts.asked("see", *TOLD):
        if request["order_sn"] not in facts.orders:
            yield f"order {request['order_sn']} was shown, but is not in the store"


def cancels(facts):
    """A cancelled order is closed, for ever."""
    for order_sn in {request["order_sn"] for request in facts.asked("cancel", *TOLD)}:
        row = facts.orders.get(order_sn)
        status = row["status"] if row else "missing"
        if status != CLOSED:
            yield f"order {order_sn} was cancelled, but is {status}"


def payments_made(facts):
    """What the cashier took is in the gateway's ledger."""
    for request in facts.asked("pay", *TOLD):
        order_sn = request["order_sn"]
        if not any(row["direction"] == "IN" for row in facts.money[order_sn]):
            yield f"order {order_sn} was paid at the cashier, but the gateway's ledger has no money of it"


def steps_taken(facts):
    """A step that was answered was taken, and only a later one followed it."""
    later = {"ship": (SHIPPED, COMPLETED), "receive": (COMPLETED,), "refund_whole": (CLOSED,)}
    for op, states in later.items():
        for order_sn in {request["order_sn"] for request in facts.asked(op, *TOLD)}:
            row = facts.orders.get(order_sn)
            if row is None or row["status"] not in states:
                yield f"order {order_sn}: {op} was answered, but it is {row and row['status']}"


def refunds_named(facts):
    """A partial refund stands once under its name, with its amount."""
    rows = group(facts.store.oms_refund_info, lambda row: row["refund_sn"])
    for request in facts.asked("refund_part"):
        name = f"part-{request['order_sn']}-{request['reference']}"
        found = [row["refund"] for row in rows[name]]
        if request["outcome"] == "ok" and found != [request["fen"]]:
            yield f"{describe(request)} was answered, but the store has {found}"
        if request["outcome"] in ("refused", "unsent") and found:
            yield f"{describe(request)} was refused, but the store has {found}"


def returns_asked(facts):
    for request in facts.asked("ask_back", *TOLD):
        row = facts.returns.get(int(request["return_id"]))
        asked = (request["order_sn"], int(request["sku"]), request["quantity"])
        if row is None or (row["order_sn"], row["sku_id"], row["sku_count"]) != asked:
            yield f"return {request['return_id']} was asked for as {asked}, but the store has {row and tuple(row)}"


def returns_handled(facts):
    """What staff did to a request stays done."""
    for request in facts.asked("handle_return", *TOLD):
        row = facts.returns.get(int(request["id"]))
        final = {"receive": RETURN_DONE, "reject": RETURN_REJECTED}.get(request["verb"])
        if row is None or final not in (None, row["status"]):
            yield f"return {request['id']}: {request['verb']} was answered, but it is {row and row['status']}"
        elif request["verb"] == "receive" and bool(row["restocked"]) != request["restock"]:
            yield f"return {request['id']}: restock {request['restock']} was answered, the row says {row['restocked']}"


def foreign_locks(facts):
    """Another system's lock has just the units asked for, once; a refused one has none."""
    for token, tries in group(facts.asked("lock"), lambda request: request["token"]).items():
        wanted, found = tries[0]["items"], collections.Counter()
        for lock in facts.locks[token]:
            found[str(lock["sku_id"])] += lock["num"]
            if lock["state"] not in (LOCKED, RELEASED):
                yield f"lock {token} on stock row {lock['ware_sku_id']} is in state {lock['state']}"
        outcomes = {request["outcome"] for request in tries}
        if outcomes & set(TOLD) and dict(found) != wanted:
            yield f"lock {token} was granted for {wanted}, but holds {dict(found)}"
        if found and dict(found) != wanted:
            yield f"lock {token} asked for {wanted}, but holds {dict(found)}"
        if found and outcomes <= {"refused", "unsent"}:
            yield f"lock {token} was refused, but holds {dict(found)}"


def adjustments(facts):
    """Units that staff moved were moved once."""
    rows = group(facts.store.wms_stock_ledger, lambda row: row["reason"])
    for request in facts.asked("adjust"):
        moved = [row["delta"] for row in rows[request["reason"]]]
        done = moved == [request["delta"]]
        if request["outcome"] == "ok" and not done:
            yield f"{describe(request)} was answered, but the ledger has {moved}"
        if request["outcome"] in OPEN and moved and not done:
            yield f"{describe(request)} was not answered, and the ledger has {moved}"
        if request["outcome"] in ("refused", "unsent") and moved:
            yield f"{describe(request)} was refused, but the ledger has {moved}"


def sale_changes(facts):
    for request in facts.asked("create_sale", "ok"):
        row, body = facts.sales.get(int(request["id"])), request["body"]
        if row is None:
            yield f"sale {request['id']} was created, but is not in the store"
            continue
        asked = (body["count"], body["per_user_limit"], int(Decimal(body["price"]) * FEN))
        if (row["count"], row["per_user_limit"], row["price"]) != asked:
            yield f"sale {row['id']} has count, limit, price other than asked: {asked}"
    for request in facts.asked("change_sale", "ok"):
        row = facts.sales.get(int(request["sale"]))
        reached = {"arm": (ARMED, PAUSED, ENDED), "end": (ENDED,)}.get(request["verb"], (ARMED, PAUSED, ENDED))
        if row is None or row["state"] not in reached:
            yield f"sale {request['sale']}: {request['verb']} was answered, but its state is {row and row['state']}"


# The books


def nothing_parked(facts):
    for row in facts.store.mq_parked:
        yield f"message {row['message_id']} of {row['queue']} was parked: {row['reason']}"


def no_order_from_nowhere(facts):
    """Nobody got what they did not ask for."""
    submitted = {request["token"] for request in facts.asked("submit")}
    attempted = {request["user"] for request in facts.asked("attempt")}
    for row in facts.store.oms_order:
        if row["order_token"] not in submitted and row["order_sn"] not in facts.grants:
            yield f"order {row['order_sn']} has neither a submitted token nor a grant"
    for row in facts.store.sms_flash_sale_grant:
        if row["user_id"] not in attempted:
            yield f"grant {row['order_sn']} is of user {row['user_id']}, who never tried"
    locked = {request["token"] for request in facts.asked("lock")}
    for owner in facts.locks:
        if owner not in facts.orders and owner not in locked:
            yield f"lock {owner} belongs to no order and was never asked for"


def grants_became_orders(facts):
    """Every grant has its order: that user, that sale, one unit, the sale's price."""
    for grant in facts.store.sms_flash_sale_grant:
        order_sn, sale = grant["order_sn"], facts.sales[grant["sale_id"]]
        row = facts.orders.get(order_sn)
        if row is None:
            yield f"grant {order_sn} of user {grant['user_id']} in sale {sale['id']} has no order (state {grant['state']})"
            continue
        items = [(item["sku_id"], item["sku_quantity"], item["sku_price"]) for item in facts.items[order_sn]]
        if items != [(sale["sku_id"], 1, sale["price"])]:
            yield f"order {order_sn} of sale {sale['id']} has items {items}"
        found = (row["member_id"], row["sale_id"], row["total_amount"], row["pay_amount"])
        if found != (grant["user_id"], sale["id"], sale["price"], sale["price"]):
            yield f"order {order_sn} of sale {sale['id']} has user, sale, total, to pay {found}"
        is_released = grant["state"] != GRANTED
        # What is refunded was sold: its grant stands.
        is_unsold = row["status"] == CLOSED and facts.refunded(order_sn) is None
        if is_released != is_unsold:
            yield f"grant {order_sn} is in state {grant['state']}, its order in {row['status']}"
    for row in facts.store.oms_order:
        if row["sale_id"] is not None and row["order_sn"] not in facts.grants:
            yield f"order {row['order_sn']} is of sale {row['sale_id']}, but has no grant"


def sales_balance(facts):
    """I6: counters equal rows, never more granted than there is, the units carved out are all accounted for."""
    undrawn = collections.Counter()
    for row in facts.store.sms_flash_sale_allotment:
        undrawn[row["sale_id"]] += row["undrawn"]
    grants = group(facts.store.sms_flash_sale_grant, lambda row: row["sale_id"])
    for sale in facts.sales.values():
        rows = grants[sale["id"]]
        granted, released = len(rows), sum(row["state"] != GRANTED for row in rows)
        if (sale["granted"], sale["released"]) != (granted, released):
            yield f"sale {sale['id']} counts {sale['granted']} and {sale['released']}, its grants {granted} and {released}"
        if granted - released > sale["count"]:
            yield f"sale {sale['id']} sold {granted - released} of {sale['count']}"
        left = sale["count"] - granted + released if sale["state"] in (ARMED, PAUSED) else 0
        if undrawn[sale["id"]] != left:
            yield f"sale {sale['id']} (state {sale['state']}) keeps {undrawn[sale['id']]} units, {left} are left"


def limits_kept(facts):
    """Nobody holds more than the sale's limit."""
    held = collections.Counter((row["sale_id"], row["user_id"]) for row in facts.store.sms_flash_sale_grant
                               if row["state"] != FAILED)
    for (sale_id, user), count in held.items():
        limit = facts.sales[sale_id]["per_user_limit"]
        if count > limit:
            yield f"user {user} has {count} grants of sale {sale_id}, the limit is {limit}"


def locks_fit_orders(facts):
    """I4: each order has locked what it ordered, and its locks went the way it went."""
    place = {UNPAID: (LOCKED,), PAID: (DEDUCTED,), SHIPPED: (DEDUCTED,), COMPLETED: (DEDUCTED,)}
    for order_sn, row in facts.orders.items():
        ordered, locked = collections.Counter(), collections.Counter()
        for item in facts.items[order_sn]:
            ordered[item["sku_id"]] += item["sku_quantity"]
        for lock in facts.locks[order_sn]:
            locked[lock["sku_id"]] += lock["num"]
            if lock["state"] not in place.get(row["status"], (RELEASED, RETURNED)):
                yield f"order {order_sn} is {row['status']}, its lock on row {lock['ware_sku_id']} is {lock['state']}"
        if ordered != locked:
            yield f"order {order_sn} ordered {dict(ordered)} and locked {dict(locked)}"


def stock_balances(facts):
    """I1–I3, and the equation of units: opening + moved by staff − sold by paid orders and not returned = on hand."""
    locked, deducted, undrawn = collections.Counter(), collections.Counter(), collections.Counter()
    for lock in facts.store.wms_stock_lock:
        if lock["state"] == LOCKED:
            locked[lock["ware_sku_id"]] += lock["num"]
        if lock["state"] == DEDUCTED:
            deducted[lock["ware_sku_id"]] += lock["num"] - lock["returned"]
    for row in facts.store.sms_flash_sale_allotment:
        undrawn[row["ware_sku_id"]] += row["undrawn"]
    ledger, put_in, last = collections.Counter(), collections.Counter(), {}
    for row in sorted(facts.store.wms_stock_ledger, key=lambda row: row["id"]):
        ledger[row["ware_sku_id"]] += row["delta"]
        last[row["ware_sku_id"]] = row["stock_after"]
        if row["kind"] in ("opening", "adjust"):
            put_in[row["ware_sku_id"]] += row["delta"]
        if row["stock_after"] != ledger[row["ware_sku_id"]]:
            yield f"stock ledger row {row['id']}: {row['stock_after']} after it, but its deltas sum to {ledger[row['ware_sku_id']]}"
    on_hand, sku_put_in = collections.Counter(), collections.Counter()
    for row in facts.store.wms_ware_sku:
        name, stock = f"stock row {row['id']} (SKU {row['sku_id']})", row["stock"]
        on_hand[row["sku_id"]] += stock
        sku_put_in[row["sku_id"]] += put_in[row["id"]]
        if not 0 <= row["stock_locked"] <= stock:
            yield f"{name}: {row['stock_locked']} locked of {stock}"
        if row["stock_locked"] != locked[row["id"]] + undrawn[row["id"]]:
            yield f"{name}: {row['stock_locked']} locked, but locks hold {locked[row['id']]} and sales {undrawn[row['id']]}"
        if stock != ledger[row["id"]] or stock != last.get(row["id"], 0):
            yield f"{name}: {stock} on hand, its ledger says {ledger[row['id']]}, last {last.get(row['id'])}"
        if stock != put_in[row["id"]] - deducted[row["id"]]:
            yield f"{name}: {stock} on hand, but {put_in[row['id']]} were put in and {deducted[row['id']]} deducted"
    sold = collections.Counter()
    for order_sn, row in facts.orders.items():
        if row["status"] in PAID_STATES:
            for item in facts.items[order_sn]:
                sold[item["sku_id"]] += item["sku_quantity"]
            for lock in facts.locks[order_sn]:
                sold[lock["sku_id"]] -= lock["returned"]
    for sku, stock in on_hand.items():
        if stock != sku_put_in[sku] - sold[sku]:
            yield f"SKU {sku}: {stock} on hand, but {sku_put_in[sku]} were put in and {sold[sku]} sold to paid orders"


def money_balances(facts):
    """I8, I9: all money at the gateway is applied to its order or given back, once; no order is paid without money."""
    trade_of = {row["out_trade_no"]: row["trade_no"] for row in facts.store.sandbox_trade}
    payment_of = {row["alipay_trade_no"]: row for row in facts.store.oms_payment_info}
    for order_sn, rows in facts.money.items():
        taken = sum(row["amount"] for row in rows if row["direction"] == "IN")
        returned = [row["amount"] for row in rows if row["direction"] == "OUT"]
        payment, order = payment_of.get(trade_of[order_sn]), facts.orders.get(order_sn)
        if payment is None or order is None:
            yield f"the gateway has {taken} fen for {order_sn}, which has no payment row"
            continue
        if payment["total_amount"] != taken or order["pay_amount"] != taken:
            yield f"order {order_sn} costs {order['pay_amount']}, {taken} was taken, {payment['total_amount']} recorded"
        state, status = payment["payment_status"], order["status"]
        promised = sorted(row["refund"] for row in facts.refunds[payment["alipay_trade_no"]])
        if state == "APPLIED" and (sorted(returned) != promised or sum(returned) > taken):
            yield f"money of order {order_sn} is applied, {promised} fen were to go back, {returned} of {taken} did"
        if state == "APPLIED" and status not in PAID_STATES and (status != CLOSED or sum(returned) != taken):
            yield f"money of order {order_sn} is applied, the order is {status}, {sum(returned)} of {taken} fen went back"
        if state == "REFUNDED" and (returned != [taken] or status in PAID_STATES):
            yield f"money of order {order_sn} is refunded, the order is {status}, {returned} of {taken} fen went back"
        if state not in ("APPLIED", "REFUNDED"):
            yield f"money of order {order_sn} is {state}"
    for row in facts.store.oms_payment_info:
        is_cash = row["alipay_trade_no"].startswith(CASH_TRADE)
        if not is_cash and not any(money["direction"] == "IN" for money in facts.money[row["order_sn"]]):
            yield f"order {row['order_sn']} has a payment that the gateway does not know"
    for order_sn, row in facts.orders.items():
        applied = sum(payment["payment_status"] == "APPLIED" for payment in facts.payments[order_sn])
        if row["pay_type"] == ONLINE:
            is_paid = row["status"] in PAID_STATES or facts.refunded(order_sn) is not None
        else:
            is_paid = row["status"] == COMPLETED
        if applied != int(is_paid):
            yield f"order {order_sn} is {row['status']} with {applied} payments applied"


def points_credited(facts):
    """I10: whole yuan of what every order with a payment has kept, once."""
    for table in ("ums_integration_change_history", "ums_growth_change_history"):
        credited = collections.Counter()
        for row in getattr(facts.store, table):
            order_sn = row["order_sn"] or row["reversal_of"]
            if order_sn:
                credited[order_sn] += row["change_count"]
        for order_sn, row in facts.orders.items():
            refunded = facts.refunded(order_sn)
            has_money = row["status"] in PAID_STATES and refunded is not None
            expected = (row["pay_amount"] - refunded) // FEN if has_money else 0
            if credited[order_sn] != expected:
                yield f"order {order_sn} earned {expected} points, {table} has {credited[order_sn]}"


def returns_balance(facts):
    """I17: no more units asked back than bought; those to be restocked are, and every done one is paid for."""
    asked, restocked = collections.Counter(), collections.Counter()
    paid_for = {row["order_return_id"]: row for row in facts.store.oms_refund_info if row["order_return_id"]}
    for row in facts.returns.values():
        line = (row["order_sn"], row["sku_id"])
        asked[line] += row["sku_count"] if row["status"] != RETURN_REJECTED else 0
        restocked[line] += row["sku_count"] if row["restocked"] else 0
        refund = paid_for.get(row["id"])
        if refund and (row["status"] != RETURN_DONE or refund["refund"] > row["return_amount"]):
            yield f"return {row['id']} is {row['status']} over {row['return_amount']}, its refund {refund['refund']}"
        left = facts.orders[row["order_sn"]]["pay_amount"] - (facts.refunded(row["order_sn"]) or 0)
        if row["status"] == RETURN_DONE and left > 0 and (refund is None or refund["refund"] != row["return_amount"]):
            yield f"return {row['id']} is done, but {refund and refund['refund']} of {row['return_amount']} was refunded"
    for (order_sn, sku), units in asked.items():
        bought = sum(item["sku_quantity"] for item in facts.items[order_sn] if item["sku_id"] == sku)
        back = sum(lock["returned"] for lock in facts.locks[order_sn] if lock["sku_id"] == sku)
        if units > bought:
            yield f"order {order_sn}, SKU {sku}: {units} asked back of {bought}"
        if back != restocked[(order_sn, sku)]:
            yield f"order {order_sn}, SKU {sku}: {back} came back to stock, {restocked[(order_sn, sku)]} were to"


def describe(request):
    hidden = ("n", "outcome", "status", "body", "error", "began", "ended")
    return " ".join(f"{name}={value}" for name, value in request.items() if name not in hidden)
