-- Money in and money given back.

-- payment_status: APPLIED, REFUNDING, REFUNDED, MISMATCH.
CREATE TABLE oms_payment_info (
    id               INTEGER PRIMARY KEY,
    order_sn         TEXT    NOT NULL REFERENCES oms_order (order_sn),
    alipay_trade_no  TEXT    NOT NULL UNIQUE,
    total_amount     INTEGER NOT NULL,
    subject          TEXT    NOT NULL DEFAULT '',
    payment_status   TEXT    NOT NULL CHECK (payment_status IN ('APPLIED', 'REFUNDING', 'REFUNDED', 'MISMATCH')),
    notify_id        TEXT    NOT NULL DEFAULT '',
    create_time      INTEGER NOT NULL,
    confirm_time     INTEGER,
    callback_content TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX oms_payment_info_order ON oms_payment_info (order_sn, id);
CREATE UNIQUE INDEX oms_payment_info_applied ON oms_payment_info (order_sn) WHERE payment_status = 'APPLIED';

-- refund_sn is the gateway's out_request_no. refund_status: 0 not confirmed, 1 done. refund_channel: 1 Alipay.
CREATE TABLE oms_refund_info (
    id              INTEGER PRIMARY KEY,
    order_return_id INTEGER,
    order_sn        TEXT    NOT NULL REFERENCES oms_order (order_sn),
    trade_no        TEXT    NOT NULL REFERENCES oms_payment_info (alipay_trade_no),
    refund          INTEGER NOT NULL CHECK (refund > 0),
    refund_sn       TEXT    NOT NULL UNIQUE,
    refund_status   INTEGER NOT NULL DEFAULT 0 CHECK (refund_status IN (0, 1)),
    refund_channel  INTEGER NOT NULL DEFAULT 1,
    create_time     INTEGER NOT NULL,
    confirm_time    INTEGER
) STRICT;

CREATE INDEX oms_refund_info_trade ON oms_refund_info (trade_no);
CREATE INDEX oms_refund_info_pending ON oms_refund_info (create_time, id) WHERE refund_status = 0;
