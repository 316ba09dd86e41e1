"""The store as it is, read beside the server: one read-only snapshot of every table the checks look at."""

import json
import os
import sqlite3
import subprocess
import time
import urllib.parse

from services import newest_postgres

READ_SECONDS = 60

TABLES = (
    "oms_order oms_order_item oms_order_operate_history oms_order_return_apply oms_payment_info oms_refund_info "
    "wms_ware_sku wms_stock_lock "
    "wms_stock_ledger sms_flash_sale sms_flash_sale_allotment sms_flash_sale_grant ums_integration_change_history "
    "ums_growth_change_history ums_member mq_parked sandbox_trade sandbox_money"
).split()

# Order states.
UNPAID, PAID, SHIPPED, COMPLETED, CLOSED = 0, 1, 2, 3, 4
# Lock states.
LOCKED, DEDUCTED, RELEASED, RETURNED = 0, 1, 2, 3
# Grant states.
GRANTED, FAILED, GRANT_RELEASED = 0, 1, 2
# Sale states.
DRAFT, ARMED, PAUSED, ENDED = 0, 1, 2, 3
# Return states.
RETURN_DONE, RETURN_REJECTED = 2, 3
# oms_order.pay_type
ONLINE, CASH_ON_DELIVERY = 1, 4


class Snapshot:
    """Every table as a list of rows, by the table's name."""

    def __init__(self, books):
        self.tables = books.read({table: f"SELECT * FROM {table}" for table in TABLES})

    def __getattr__(self, table):
        try:
            return self.__dict__["tables"][table]
        except KeyError:
            raise AttributeError(table) from None


class SqliteBooks:
    """A SQLite file."""

    now_ms = "unixepoch() * 1000"

    def __init__(self, path):
        self.path = path

    def read(self, queries):
        """The rows of several queries, by name, all of one moment."""
        connection = sqlite3.connect(f"file:{urllib.parse.quote(self.path)}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("BEGIN")
            return {name: [dict(row) for row in connection.execute(query)] for name, query in queries.items()}
        finally:
            connection.close()


class PostgresBooks:
    """A PostgreSQL database, read with psql: one statement sees one moment."""

    now_ms = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

    def __init__(self, url):
        self.url = url

    def read(self, queries):
        """The rows of several queries, by name, all of one moment."""
        rows = [f"'{name}', (SELECT coalesce(json_agg(r), '[]') FROM ({query}) AS r)" for name, query in queries.items()]
        psql = [os.path.join(newest_postgres(), "psql"), self.url, "-XqAt", "-v", "ON_ERROR_STOP=1"]
        statement = f"SELECT json_build_object({', '.join(rows)})"
        run = subprocess.run(psql, input=statement.encode(), capture_output=True, timeout=READ_SECONDS, check=False)
        if run.returncode != 0:
            raise RuntimeError(f"psql: {run.stderr.decode('utf-8', 'replace')}")
        return json.loads(run.stdout)


# What must have come to nothing before the store is at rest: sentence → query for the rows still on their way.
ON_THEIR_WAY = {
    "outbox rows unpublished": "SELECT message_id FROM mq_outbox WHERE published_time IS NULL",
    "messages in the queue": "SELECT queue || ' ' || message_id FROM mq_local",
    "orders unpaid": "SELECT order_sn FROM oms_order WHERE status = 0",
    "grants without order": """SELECT order_sn FROM sms_flash_sale_grant AS g WHERE state = 0
        AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = g.order_sn)""",
    "locks unresolved": "SELECT order_sn FROM wms_stock_lock WHERE state = 0",
    "refunds unconfirmed": "SELECT refund_sn FROM oms_refund_info WHERE refund_status = 0",
    "payments being refunded": "SELECT order_sn FROM oms_payment_info WHERE payment_status = 'REFUNDING'",
    "payments the shop does not know": """SELECT t.out_trade_no FROM sandbox_money AS m
        JOIN sandbox_trade AS t ON t.out_trade_no = m.out_trade_no WHERE m.direction = 'IN'
        AND NOT EXISTS (SELECT 1 FROM oms_payment_info AS p WHERE p.alipay_trade_no = t.trade_no)""",
    "sales past their end": """SELECT CAST(id AS TEXT) FROM sms_flash_sale
        WHERE state IN (1, 2) AND end_time < {now_ms}""",
}


def settle(books, limit_seconds):
    """Waits until nothing is on its way; sentences about what still is, the seconds it took, and what took longest."""
    began, longest = time.monotonic(), "nothing"
    queries = {what: query.replace("{now_ms}", books.now_ms) for what, query in ON_THEIR_WAY.items()}
    while True:
        found = books.read(queries)
        left = {what: [str(next(iter(row.values()))) for row in rows] for what, rows in found.items() if rows}
        took = time.monotonic() - began
        if not left:
            return [], took, longest
        if took > limit_seconds:
            sentences = [f"after {took:.0f} s still {len(r)} {what}: {', '.join(r[:5])}" for what, r in left.items()]
            return sentences, took, longest
        longest = " and ".join(f"{what}, like {rows[0]}" for what, rows in left.items())
        time.sleep(0.2)
