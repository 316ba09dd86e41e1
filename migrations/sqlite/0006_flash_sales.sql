-- Flash sales, the units carved out for them, and the grants of their winners.

-- state: 0 draft, 1 armed, 2 paused, 3 ended. remaining = count - granted + released.
CREATE TABLE sms_flash_sale (
    id             INTEGER PRIMARY KEY,
    sku_id         INTEGER NOT NULL REFERENCES pms_sku_info (sku_id),
    price          INTEGER NOT NULL CHECK (price >= 0),
    count          INTEGER NOT NULL CHECK (count > 0),
    per_user_limit INTEGER NOT NULL CHECK (per_user_limit > 0),
    start_time     INTEGER NOT NULL,
    end_time       INTEGER NOT NULL,
    state          INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    epoch          INTEGER NOT NULL DEFAULT 0,
    granted        INTEGER NOT NULL DEFAULT 0,
    released       INTEGER NOT NULL DEFAULT 0,
    create_time    INTEGER NOT NULL,
    -- When `end` was called, which may be before or after end_time.
    ended_time     INTEGER,
    CHECK (start_time < end_time),
    CHECK (released >= 0 AND released <= granted AND granted - released <= count)
) STRICT;

-- At most one armed, unended sale per SKU.
CREATE UNIQUE INDEX sms_flash_sale_open ON sms_flash_sale (sku_id) WHERE state IN (1, 2);
CREATE INDEX sms_flash_sale_ended ON sms_flash_sale (sku_id, ended_time) WHERE state = 3;

CREATE TABLE sms_flash_sale_allotment (
    sale_id     INTEGER NOT NULL REFERENCES sms_flash_sale (id),
    ware_sku_id INTEGER NOT NULL REFERENCES wms_ware_sku (id),
    allotted    INTEGER NOT NULL CHECK (allotted > 0),
    undrawn     INTEGER NOT NULL,
    PRIMARY KEY (sale_id, ware_sku_id),
    CHECK (undrawn >= 0 AND undrawn <= allotted)
) STRICT, WITHOUT ROWID;

-- state: 0 granted, 1 failed, 2 released. That a grant is ordered is the existence of its order, not a column.
-- A failed grant has no ordinal: it does not count against its user.
CREATE TABLE sms_flash_sale_grant (
    order_sn    TEXT    NOT NULL PRIMARY KEY,
    sale_id     INTEGER NOT NULL REFERENCES sms_flash_sale (id),
    user_id     INTEGER NOT NULL,
    ordinal     INTEGER CHECK (ordinal > 0),
    state       INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 2),
    reason      TEXT,
    create_time INTEGER NOT NULL,
    UNIQUE (sale_id, user_id, ordinal),
    CHECK ((ordinal IS NULL) = (state = 1))
) STRICT, WITHOUT ROWID;

-- The sweep looks for granted rows without order; the index carries the order number, so it reads no row.
CREATE INDEX sms_flash_sale_grant_granted ON sms_flash_sale_grant (create_time) WHERE state = 0;
