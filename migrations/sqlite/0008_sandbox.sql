-- The books of the simulated Alipay. Amounts in fen, times in milliseconds since 1970 (UTC).

CREATE TABLE sandbox_trade (
    out_trade_no  TEXT    NOT NULL PRIMARY KEY,
    trade_no      TEXT    NOT NULL UNIQUE,
    total_amount  INTEGER NOT NULL CHECK (total_amount BETWEEN 1 AND 10000000000),
    subject       TEXT    NOT NULL,
    notify_url    TEXT    NOT NULL,
    return_url    TEXT    NOT NULL,
    status        TEXT    NOT NULL
                  CHECK (status IN ('WAIT_BUYER_PAY', 'TRADE_SUCCESS', 'TRADE_FINISHED', 'TRADE_CLOSED')),
    cashier_token TEXT,
    create_time   INTEGER NOT NULL,
    expire_time   INTEGER NOT NULL,
    pay_time      INTEGER,
    close_time    INTEGER
) STRICT, WITHOUT ROWID;

-- Money in and out, append-only: the second source of truth beside the orders.
CREATE TABLE sandbox_money (
    id           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    out_trade_no TEXT    NOT NULL REFERENCES sandbox_trade (out_trade_no),
    direction    TEXT    NOT NULL CHECK (direction IN ('IN', 'OUT')),
    request_no   TEXT    NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount > 0),
    create_time  INTEGER NOT NULL,
    UNIQUE (out_trade_no, direction, request_no)
) STRICT;

CREATE TRIGGER sandbox_money_is_not_changed BEFORE UPDATE ON sandbox_money
BEGIN SELECT RAISE(ABORT, 'sandbox_money is append-only'); END;

CREATE TRIGGER sandbox_money_is_not_deleted BEFORE DELETE ON sandbox_money
BEGIN SELECT RAISE(ABORT, 'sandbox_money is append-only'); END;

-- Notifications: next_try_time is empty once one was delivered or given up.
CREATE TABLE sandbox_notification (
    notify_id         TEXT    NOT NULL PRIMARY KEY,
    out_trade_no      TEXT    NOT NULL REFERENCES sandbox_trade (out_trade_no),
    trade_status      TEXT    NOT NULL,
    refund_request_no TEXT,
    refunded          INTEGER NOT NULL,
    create_time       INTEGER NOT NULL,
    attempts          INTEGER NOT NULL DEFAULT 0,
    delivered         INTEGER NOT NULL DEFAULT 0 CHECK (delivered IN (0, 1)),
    next_try_time     INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX sandbox_notification_due ON sandbox_notification (next_try_time) WHERE next_try_time IS NOT NULL;
