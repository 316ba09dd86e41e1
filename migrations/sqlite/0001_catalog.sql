-- The catalogue. Money is a count of fen everywhere, times are UTC milliseconds.

CREATE TABLE pms_sku_info (
    sku_id          INTEGER PRIMARY KEY,
    spu_id          INTEGER NOT NULL DEFAULT 0,
    sku_code        TEXT    NOT NULL DEFAULT '',
    sku_name        TEXT    NOT NULL,
    sku_desc        TEXT    NOT NULL DEFAULT '',
    catalog_id      INTEGER NOT NULL DEFAULT 0,
    brand_id        INTEGER NOT NULL DEFAULT 0,
    sku_default_img TEXT    NOT NULL DEFAULT '',
    sku_title       TEXT    NOT NULL,
    sku_subtitle    TEXT    NOT NULL DEFAULT '',
    price           INTEGER NOT NULL CHECK (price >= 0)
) STRICT;

CREATE TABLE pms_sku_sale_attr_value (
    id         INTEGER PRIMARY KEY,
    sku_id     INTEGER NOT NULL REFERENCES pms_sku_info (sku_id),
    attr_id    INTEGER NOT NULL,
    attr_name  TEXT    NOT NULL,
    attr_value TEXT    NOT NULL,
    attr_sort  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX pms_sku_sale_attr_value_sku ON pms_sku_sale_attr_value (sku_id, attr_sort);
