"""The checks checked: a sound store is broken on purpose, one copy a way, and each break must be noticed."""

import os
import shutil
import sqlite3
import time

import check
import journal as journals
import store
from rounds import SETTLE_SECONDS, wrong_stop

# How long the load may take to leave one of everything that the breaks need.
MATERIAL_SECONDS = 90

# name, who must notice, statements. {paid}, {closed}, … are order numbers and ids chosen by CHOICES.
BREAKS = [
    ("an accepted order is gone", {"check"}, [
        "DELETE FROM oms_order_item WHERE order_sn = '{paid}'",
        "DELETE FROM oms_order WHERE order_sn = '{paid}'",
    ]),
    ("an accepted order is gone without a trace", {"check"}, [
        "DELETE FROM wms_stock_lock WHERE order_sn = '{closed}'",
        "DELETE FROM oms_order_item WHERE order_sn = '{closed}'",
        "DELETE FROM oms_order WHERE order_sn = '{closed}'",
    ]),
    ("an order is another user's", {"check"}, [
        "UPDATE oms_order SET member_id = member_id + 1 WHERE order_sn = '{paid}'",
    ]),
    ("an order has one unit more", {"check", "audit"}, [
        "UPDATE oms_order_item SET sku_quantity = sku_quantity + 1 WHERE order_sn = '{paid}' AND line = (SELECT min(line) "
        "FROM oms_order_item WHERE order_sn = '{paid}')",
    ]),
    ("an order costs other than told", {"check"}, [
        "UPDATE oms_order SET total_amount = total_amount - 1 WHERE order_sn = '{paid}'",
    ]),
    ("a token made two orders", {"check", "audit"}, [
        "DROP INDEX oms_order_token",
        "UPDATE oms_order SET order_token = (SELECT order_token FROM oms_order WHERE order_sn = '{paid}'), "
        "member_id = (SELECT member_id FROM oms_order WHERE order_sn = '{paid}') WHERE order_sn = '{closed}'",
    ]),
    ("a cancelled order is paid", {"check", "audit"}, [
        "UPDATE oms_order SET status = 1 WHERE order_sn = '{cancelled}'",
    ]),
    ("a grant is gone", {"check", "audit"}, ["DELETE FROM sms_flash_sale_grant WHERE order_sn = '{won}'"]),
    ("a grant is doubled, and counted", {"check", "audit"}, [
        "INSERT INTO sms_flash_sale_grant SELECT order_sn || 'x', sale_id, user_id, ordinal + 1000, state, reason, "
        "create_time FROM sms_flash_sale_grant WHERE order_sn = '{won}'",
        "INSERT INTO sms_flash_sale_grant SELECT order_sn || 'y', sale_id, user_id, ordinal + 2000, state, reason, "
        "create_time FROM sms_flash_sale_grant WHERE order_sn = '{won}'",
        "INSERT INTO sms_flash_sale_grant SELECT order_sn || 'z', sale_id, user_id, ordinal + 3000, state, reason, "
        "create_time FROM sms_flash_sale_grant WHERE order_sn = '{won}'",
        "UPDATE sms_flash_sale SET granted = granted + 3, count = count + 3 WHERE id = {won_sale}",
    ]),
    ("a sale forgot a grant", {"check", "audit"}, [
        "UPDATE sms_flash_sale SET granted = granted - 1 WHERE id = {won_sale} AND granted > released",
    ]),
    ("a sale keeps one unit too many", {"check", "audit"}, [
        "UPDATE sms_flash_sale_allotment SET undrawn = undrawn + 1, allotted = allotted + 1 WHERE sale_id = {won_sale}",
    ]),
    ("a unit more on hand", {"check", "audit"}, ["UPDATE wms_ware_sku SET stock = stock + 1 WHERE id = 1"]),
    ("a unit more on hand, with a ledger row", {"check"}, [
        "UPDATE wms_ware_sku SET stock = stock + 1 WHERE id = {adjusted_row}",
        "DROP TRIGGER wms_stock_ledger_no_update",
        "UPDATE wms_stock_ledger SET delta = delta + 1 WHERE id = {adjust}",
    ]),
    ("a unit locked for nobody", {"check", "audit"}, [
        "UPDATE wms_ware_sku SET stock_locked = stock_locked + 1, stock = stock + 1 WHERE id = 1",
    ]),
    ("a row of the stock ledger is gone", {"check", "audit"}, [
        "DROP TRIGGER wms_stock_ledger_no_delete",
        "DELETE FROM wms_stock_ledger WHERE id = {sale_row}",
    ]),
    ("a deducted lock is released", {"check", "audit"}, [
        "UPDATE wms_stock_lock SET state = 2 WHERE order_sn = '{paid}'",
    ]),
    ("a released lock is deducted", {"check", "audit"}, [
        "UPDATE wms_stock_lock SET state = 1 WHERE order_sn = '{closed}'",
    ]),
    ("another system's lock is gone", {"check"}, ["DELETE FROM wms_stock_lock WHERE order_sn = '{foreign}'"]),
    ("a payment is gone", {"check", "audit"}, ["DELETE FROM oms_payment_info WHERE order_sn = '{paid}'"]),
    ("the gateway took money twice", {"check"}, [
        "INSERT INTO sandbox_money (out_trade_no, direction, request_no, amount, create_time) "
        "SELECT out_trade_no, direction, request_no || 'x', amount, create_time FROM sandbox_money "
        "WHERE out_trade_no = '{paid}' AND direction = 'IN'",
    ]),
    ("the gateway gave money of a paid order back", {"check"}, [
        "INSERT INTO sandbox_money (out_trade_no, direction, request_no, amount, create_time) "
        "SELECT out_trade_no, 'OUT', 'x', amount, create_time FROM sandbox_money "
        "WHERE out_trade_no = '{paid}' AND direction = 'IN'",
    ]),
    ("points are credited twice", {"check", "audit"}, [
        "UPDATE ums_integration_change_history SET change_count = change_count * 2 WHERE order_sn = '{paid}'",
    ]),
    ("a shipped order is not shipped", {"check"}, ["UPDATE oms_order SET status = 1 WHERE order_sn = '{shipped}'"]),
    ("a refund is gone", {"check", "audit"}, ["DELETE FROM oms_refund_info WHERE refund_sn = 'whole-{refunded}'"]),
    ("a refund is larger than the payment", {"check", "audit"}, [
        "UPDATE oms_refund_info SET refund = refund + 1 WHERE refund_sn = 'whole-{refunded}'",
    ]),
    ("a refunded buyer keeps the points", {"check", "audit"}, [
        "DELETE FROM ums_integration_change_history WHERE id = {reversal}",
    ]),
    ("more was asked back than bought", {"check", "audit"}, [
        "UPDATE oms_order_return_apply SET sku_count = sku_count + 9 WHERE id = {restocked}",
    ]),
    ("a restocked unit never came", {"check", "audit"}, [
        "UPDATE wms_stock_lock SET returned = 0 WHERE returned > 0 AND order_sn = "
        "(SELECT order_sn FROM oms_order_return_apply WHERE id = {restocked})",
    ]),
    ("an unpublished message is two minutes old", {"audit"}, [
        "INSERT INTO mq_outbox (message_id, routing_key, payload, create_time) "
        "VALUES ('lost', 'stock.minus', '{{}}', unixepoch() * 1000 - 120000)",
    ]),
]

# What the breaks need: name → query for its value.
CHOICES = {
    "paid": "SELECT order_sn FROM oms_order WHERE status = 1 AND pay_type = 1 AND sale_id IS NULL LIMIT 1",
    "closed": "SELECT order_sn FROM oms_order WHERE status = 4 AND sale_id IS NULL AND payment_time IS NULL LIMIT 1",
    "shipped": "SELECT order_sn FROM oms_order WHERE status IN (2, 3) AND pay_type = 1 LIMIT 1",
    "refunded": "SELECT order_sn FROM oms_refund_info WHERE refund_sn = 'whole-' || order_sn LIMIT 1",
    "reversal": "SELECT min(id) FROM ums_integration_change_history WHERE refund_sn IS NOT NULL",
    "restocked": "SELECT id FROM oms_order_return_apply WHERE restocked = 1 LIMIT 1",
    "won": "SELECT o.order_sn FROM oms_order AS o WHERE o.status = 1 AND o.sale_id IS NOT NULL LIMIT 1",
    "won_sale": "SELECT o.sale_id FROM oms_order AS o WHERE o.status = 1 AND o.sale_id IS NOT NULL LIMIT 1",
    "adjust": "SELECT max(id) FROM wms_stock_ledger WHERE kind = 'adjust'",
    "adjusted_row": "SELECT ware_sku_id FROM wms_stock_ledger WHERE id = (SELECT max(id) FROM wms_stock_ledger "
    "WHERE kind = 'adjust')",
    "sale_row": "SELECT id FROM wms_stock_ledger WHERE kind = 'sale' LIMIT 1",
    "foreign": "SELECT order_sn FROM wms_stock_lock WHERE lease_until IS NOT NULL AND state = 2 LIMIT 1",
}


def play(run):
    """A round without a fault, then every break on a copy of what it left."""
    run.open()
    load = run.load(1)
    load.start()
    time.sleep(run.options.seconds)
    wait_for_material(run, load)
    differences = list(load.stop())
    unsettled, _, _ = store.settle(run.place.books(), SETTLE_SECONDS)
    differences += unsettled + wrong_stop(*run.servers[0].stop())
    if differences:
        return differences
    run.journal.sync()
    requests = journals.read(run.journal_path)
    chosen = choose(run.place.books(), requests)
    missing = [name for name, value in chosen.items() if value is None]
    if missing:
        return [f"the load left nothing to break: {', '.join(missing)}"]
    breaks = [("nothing is broken", set(), []), *BREAKS]
    return [sentence for each in breaks for sentence in one_break(run, requests, chosen, *each)]


def wait_for_material(run, load):
    """Goes on with the load until there is one of everything: how soon depends on the machine."""
    deadline = time.monotonic() + MATERIAL_SECONDS
    while time.monotonic() < deadline and not load.failures:
        run.journal.sync()
        if None not in choose(run.place.books(), journals.read(run.journal_path)).values():
            return
        time.sleep(0.5)


def choose(books, requests):
    found = books.read(CHOICES)
    chosen = {name: next((value for row in rows for value in row.values()), None) for name, rows in found.items()}
    cancelled = [request["order_sn"] for request in requests if (request["op"], request["outcome"]) == ("cancel", "ok")]
    return {**chosen, "cancelled": next(iter(cancelled), None)}


def one_break(run, requests, chosen, name, expected, statements):
    """Breaks a copy; sentences when those who must notice do not, or when somebody notices what is not there."""
    copy = os.path.join(run.directory, "copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(run.place.data, copy)
    database = os.path.join(copy, "seckill.db")
    changed = break_store(database, [statement.format(**chosen) for statement in statements])
    sentences = check.at_rest(requests, store.Snapshot(store.SqliteBooks(database)))
    status, report = run.servers[0].audit(copy)
    broken = [finding["id"] for finding in report["invariants"] if not finding["ok"]]
    noticed = ({"check"} if sentences else set()) | ({"audit"} if status == 1 and broken else set())
    print(f"{name}: check {len(sentences)}, audit {' '.join(broken) or 'ok'}", flush=True)
    shutil.rmtree(copy, ignore_errors=True)
    if statements and not changed:
        return [f"{name}: the statements changed nothing"]
    if not statements:
        return [f"{name}, but noticed: {each}" for each in sentences + broken]
    return [f"{name}: not noticed by the {who}" for who in sorted(expected - noticed)]


def break_store(database, statements):
    """Whether every statement that changes rows changed some."""
    connection = sqlite3.connect(database)
    try:
        # The audit leaves the youngest orders out; these shall not be young.
        connection.execute("UPDATE oms_order SET modify_time = modify_time - 3600000")
        counts = [connection.execute(statement).rowcount for statement in statements]
        connection.commit()
    finally:
        connection.close()
    return all(count != 0 for count in counts)
