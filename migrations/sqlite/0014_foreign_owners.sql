-- One row of each owner of another system's locks is marked, and there is one such row an owner: two nodes that lock for
-- the same owner at the same time meet here, whatever stock rows they chose.
ALTER TABLE wms_stock_lock ADD COLUMN is_first INTEGER NOT NULL DEFAULT 0 CHECK (is_first IN (0, 1));

UPDATE wms_stock_lock SET is_first = 1
WHERE lease_until IS NOT NULL AND ware_sku_id = (
    SELECT min(l.ware_sku_id) FROM wms_stock_lock AS l WHERE l.order_sn = wms_stock_lock.order_sn);

CREATE UNIQUE INDEX wms_stock_lock_owner ON wms_stock_lock (order_sn) WHERE is_first = 1;
