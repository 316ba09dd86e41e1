-- Stock, the locks on it, and the ledger of its changes.

CREATE TABLE wms_ware_info (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    address  TEXT NOT NULL DEFAULT '',
    areacode TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE wms_ware_sku (
    id           INTEGER PRIMARY KEY,
    sku_id       INTEGER NOT NULL REFERENCES pms_sku_info (sku_id),
    ware_id      INTEGER NOT NULL REFERENCES wms_ware_info (id),
    stock        INTEGER NOT NULL,
    sku_name     TEXT    NOT NULL DEFAULT '',
    stock_locked INTEGER NOT NULL DEFAULT 0,
    -- Raised by every change, so that news of the row can arrive in any order.
    version      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sku_id, ware_id),
    CHECK (stock_locked >= 0 AND stock_locked <= stock)
) STRICT;

-- state: 0 locked, 1 deducted, 2 released, 3 returned. Resolved once, by compare-and-set from 0.
-- lease_until: only for locks of other systems, which stand without an order here.
CREATE TABLE wms_stock_lock (
    order_sn    TEXT    NOT NULL,
    ware_sku_id INTEGER NOT NULL REFERENCES wms_ware_sku (id),
    sku_id      INTEGER NOT NULL,
    num         INTEGER NOT NULL CHECK (num > 0),
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    sale_id     INTEGER,
    lease_until INTEGER,
    create_time INTEGER NOT NULL,
    modify_time INTEGER NOT NULL,
    -- This key is also the UNIQUE that keeps one owner from locking a row twice.
    PRIMARY KEY (order_sn, ware_sku_id)
) STRICT, WITHOUT ROWID;

-- For the sweep: lapsed leases from its front, and the few locks whose order is over among all open ones.
CREATE INDEX wms_stock_lock_open ON wms_stock_lock (lease_until, create_time) WHERE state = 0;

-- Append-only. kind: opening, adjust, sale, return.
CREATE TABLE wms_stock_ledger (
    id          INTEGER PRIMARY KEY,
    ware_sku_id INTEGER NOT NULL REFERENCES wms_ware_sku (id),
    kind        TEXT    NOT NULL CHECK (kind IN ('opening', 'adjust', 'sale', 'return')),
    delta       INTEGER NOT NULL,
    stock_after INTEGER NOT NULL CHECK (stock_after >= 0),
    reason      TEXT    NOT NULL DEFAULT '',
    create_time INTEGER NOT NULL
) STRICT;

CREATE INDEX wms_stock_ledger_row ON wms_stock_ledger (ware_sku_id, id);

CREATE TRIGGER wms_stock_ledger_no_update BEFORE UPDATE ON wms_stock_ledger
BEGIN
    SELECT raise(ABORT, 'wms_stock_ledger is append-only');
END;

CREATE TRIGGER wms_stock_ledger_no_delete BEFORE DELETE ON wms_stock_ledger
BEGIN
    SELECT raise(ABORT, 'wms_stock_ledger is append-only');
END;
