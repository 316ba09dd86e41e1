-- Members, addresses, points, carts. No password: logging in is another system's work.

CREATE TABLE ums_member (
    id          INTEGER PRIMARY KEY,
    level_id    INTEGER,
    username    TEXT    NOT NULL UNIQUE,
    nickname    TEXT    NOT NULL DEFAULT '',
    mobile      TEXT    NOT NULL DEFAULT '',
    email       TEXT    NOT NULL DEFAULT '',
    integration INTEGER NOT NULL DEFAULT 0,
    growth      INTEGER NOT NULL DEFAULT 0,
    status      INTEGER NOT NULL DEFAULT 1,
    create_time INTEGER NOT NULL
) STRICT;

CREATE TABLE ums_member_receive_address (
    id             INTEGER PRIMARY KEY,
    member_id      INTEGER NOT NULL REFERENCES ums_member (id),
    name           TEXT    NOT NULL,
    phone          TEXT    NOT NULL,
    post_code      TEXT    NOT NULL DEFAULT '',
    province       TEXT    NOT NULL DEFAULT '',
    city           TEXT    NOT NULL DEFAULT '',
    region         TEXT    NOT NULL DEFAULT '',
    detail_address TEXT    NOT NULL DEFAULT '',
    areacode       TEXT    NOT NULL DEFAULT '',
    default_status INTEGER NOT NULL DEFAULT 0 CHECK (default_status IN (0, 1))
) STRICT;

CREATE INDEX ums_member_receive_address_member ON ums_member_receive_address (member_id);
CREATE UNIQUE INDEX ums_member_receive_address_default
    ON ums_member_receive_address (member_id) WHERE default_status = 1;

-- Points. order_sn makes the credit of an order once-only; an opening balance or an admin's change has none.
-- No reference to ums_member: the credit of an unknown member is kept all the same.
CREATE TABLE ums_integration_change_history (
    id           INTEGER PRIMARY KEY,
    member_id    INTEGER NOT NULL,
    order_sn     TEXT UNIQUE,
    change_count INTEGER NOT NULL,
    note         TEXT    NOT NULL DEFAULT '',
    source_type  INTEGER NOT NULL DEFAULT 0,
    create_time  INTEGER NOT NULL
) STRICT;

CREATE INDEX ums_integration_change_history_member ON ums_integration_change_history (member_id);

CREATE TABLE ums_growth_change_history (
    id           INTEGER PRIMARY KEY,
    member_id    INTEGER NOT NULL,
    order_sn     TEXT UNIQUE,
    change_count INTEGER NOT NULL,
    note         TEXT    NOT NULL DEFAULT '',
    source_type  INTEGER NOT NULL DEFAULT 0,
    create_time  INTEGER NOT NULL
) STRICT;

CREATE INDEX ums_growth_change_history_member ON ums_growth_change_history (member_id);

CREATE TABLE oms_cart_item (
    member_id   INTEGER NOT NULL,
    sku_id      INTEGER NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    modify_time INTEGER NOT NULL,
    PRIMARY KEY (member_id, sku_id)
) STRICT, WITHOUT ROWID;
