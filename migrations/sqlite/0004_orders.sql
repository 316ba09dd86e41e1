-- Orders. Columns of the course; new ones: order_token, sale_id, pay_before, pay_page_issued_time.

-- status: 0 awaiting payment, 1 awaiting shipment, 2 shipped, 3 completed, 4 closed, 5 void.
-- pay_type: 1 Alipay, 2 WeChat, 3 UnionPay, 4 cash on delivery.
CREATE TABLE oms_order (
    id                      INTEGER PRIMARY KEY,
    member_id               INTEGER NOT NULL,
    order_sn                TEXT    NOT NULL UNIQUE CHECK (length(order_sn) BETWEEN 1 AND 64),
    order_token             TEXT,
    sale_id                 INTEGER,
    create_time             INTEGER NOT NULL,
    modify_time             INTEGER NOT NULL,
    member_username         TEXT    NOT NULL,
    total_amount            INTEGER NOT NULL CHECK (total_amount >= 0),
    pay_amount              INTEGER NOT NULL CHECK (pay_amount >= 0),
    pay_type                INTEGER NOT NULL CHECK (pay_type BETWEEN 1 AND 4),
    status                  INTEGER NOT NULL CHECK (status BETWEEN 0 AND 5),
    pay_before              INTEGER,
    pay_page_issued_time    INTEGER,
    delivery_company        TEXT    NOT NULL DEFAULT '',
    receiver_name           TEXT    NOT NULL DEFAULT '',
    receiver_phone          TEXT    NOT NULL DEFAULT '',
    receiver_post_code      TEXT    NOT NULL DEFAULT '',
    receiver_province       TEXT    NOT NULL DEFAULT '',
    receiver_city           TEXT    NOT NULL DEFAULT '',
    receiver_region         TEXT    NOT NULL DEFAULT '',
    receiver_detail_address TEXT    NOT NULL DEFAULT '',
    payment_time            INTEGER,
    delivery_sn             TEXT,
    delivery_time           INTEGER,
    receive_time            INTEGER,
    freight_amount          INTEGER NOT NULL DEFAULT 0,
    promotion_amount        INTEGER NOT NULL DEFAULT 0,
    integration_amount      INTEGER NOT NULL DEFAULT 0,
    coupon_amount           INTEGER NOT NULL DEFAULT 0,
    discount_amount         INTEGER NOT NULL DEFAULT 0,
    source_type             INTEGER NOT NULL DEFAULT 0,
    note                    TEXT,
    -- An order that waits for money knows until when.
    CHECK (status <> 0 OR pay_before IS NOT NULL)
) STRICT;

-- A token is its user's own. The token stands first: tokens that begin with their time keep new entries together,
-- while members would scatter them over the whole index.
CREATE UNIQUE INDEX oms_order_token ON oms_order (order_token, member_id) WHERE order_token IS NOT NULL;
CREATE INDEX oms_order_member ON oms_order (member_id, create_time, id);
CREATE INDEX oms_order_overdue ON oms_order (pay_before) WHERE status = 0;

-- Clustered by its order; line is the place in the request.
CREATE TABLE oms_order_item (
    order_sn       TEXT    NOT NULL REFERENCES oms_order (order_sn),
    line           INTEGER NOT NULL,
    sku_id         INTEGER NOT NULL,
    spu_id         INTEGER NOT NULL,
    category_id    INTEGER NOT NULL,
    sku_name       TEXT    NOT NULL,
    sku_pic        TEXT    NOT NULL,
    sku_price      INTEGER NOT NULL CHECK (sku_price >= 0),
    sku_quantity   INTEGER NOT NULL CHECK (sku_quantity > 0),
    sku_attrs_vals TEXT    NOT NULL,
    PRIMARY KEY (order_sn, line)
) STRICT, WITHOUT ROWID;

-- by_timeout: closed because pay_before and the grace were over, not by anybody's wish.
CREATE TABLE oms_order_operate_history (
    id           INTEGER PRIMARY KEY,
    order_sn     TEXT    NOT NULL REFERENCES oms_order (order_sn),
    operate_man  TEXT    NOT NULL CHECK (operate_man IN ('user', 'system', 'admin')),
    create_time  INTEGER NOT NULL,
    order_status INTEGER NOT NULL CHECK (order_status BETWEEN 0 AND 5),
    note         TEXT    NOT NULL DEFAULT '',
    by_timeout   INTEGER NOT NULL DEFAULT 0 CHECK (by_timeout IN (0, 1))
) STRICT;

CREATE INDEX oms_order_operate_history_order ON oms_order_operate_history (order_sn, id);

-- status: 0 pending, 1 in return, 2 done, 3 refused.
CREATE TABLE oms_order_return_apply (
    id              INTEGER PRIMARY KEY,
    order_sn        TEXT    NOT NULL REFERENCES oms_order (order_sn),
    sku_id          INTEGER NOT NULL,
    create_time     INTEGER NOT NULL,
    member_username TEXT    NOT NULL,
    return_amount   INTEGER NOT NULL CHECK (return_amount >= 0),
    return_name     TEXT    NOT NULL DEFAULT '',
    return_phone    TEXT    NOT NULL DEFAULT '',
    status          INTEGER NOT NULL DEFAULT 0 CHECK (status BETWEEN 0 AND 3),
    handle_time     INTEGER,
    sku_count       INTEGER NOT NULL CHECK (sku_count > 0),
    reason          TEXT    NOT NULL DEFAULT '',
    description     TEXT    NOT NULL DEFAULT '',
    handle_note     TEXT    NOT NULL DEFAULT '',
    handle_man      TEXT    NOT NULL DEFAULT ''
) STRICT;

-- One open application per line.
CREATE UNIQUE INDEX oms_order_return_apply_open ON oms_order_return_apply (order_sn, sku_id) WHERE status IN (0, 1);
