-- Shipping, receipt, returns and refunds of paid orders.

-- Days from delivery_time until a shipped order counts as received.
ALTER TABLE oms_order ADD COLUMN auto_confirm_day INTEGER CHECK (auto_confirm_day >= 0);

CREATE INDEX oms_order_to_receive ON oms_order (delivery_time + auto_confirm_day * 86400000) WHERE status = 2;

-- Units of a deducted lock that came back to stock; all of them once the lock is returned.
ALTER TABLE wms_stock_lock ADD COLUMN returned INTEGER NOT NULL DEFAULT 0 CHECK (returned >= 0 AND returned <= num);

-- What was sold, as the order's line says it, and what became of the goods.
ALTER TABLE oms_order_return_apply ADD COLUMN sku_name TEXT NOT NULL DEFAULT '';
ALTER TABLE oms_order_return_apply ADD COLUMN sku_price INTEGER NOT NULL DEFAULT 0 CHECK (sku_price >= 0);
ALTER TABLE oms_order_return_apply ADD COLUMN member_id INTEGER NOT NULL DEFAULT 0;
ALTER TABLE oms_order_return_apply ADD COLUMN receive_man TEXT NOT NULL DEFAULT '';
ALTER TABLE oms_order_return_apply ADD COLUMN receive_time INTEGER;
ALTER TABLE oms_order_return_apply ADD COLUMN receive_note TEXT NOT NULL DEFAULT '';
ALTER TABLE oms_order_return_apply ADD COLUMN restocked INTEGER NOT NULL DEFAULT 0 CHECK (restocked IN (0, 1));

CREATE INDEX oms_order_return_apply_order ON oms_order_return_apply (order_sn, id);
CREATE INDEX oms_order_return_apply_status ON oms_order_return_apply (status, id);

-- One refund a return; staff look an order's refunds up.
CREATE UNIQUE INDEX oms_refund_info_return ON oms_refund_info (order_return_id) WHERE order_return_id IS NOT NULL;
CREATE INDEX oms_refund_info_order ON oms_refund_info (order_sn, id);

-- order_sn stays the credit's own: what a refund takes back names the order in reversal_of, once a refund.
ALTER TABLE ums_integration_change_history ADD COLUMN reversal_of TEXT;
ALTER TABLE ums_integration_change_history ADD COLUMN refund_sn TEXT;
ALTER TABLE ums_growth_change_history ADD COLUMN reversal_of TEXT;
ALTER TABLE ums_growth_change_history ADD COLUMN refund_sn TEXT;

CREATE UNIQUE INDEX ums_integration_change_history_refund
    ON ums_integration_change_history (refund_sn) WHERE refund_sn IS NOT NULL;
CREATE INDEX ums_integration_change_history_reversal
    ON ums_integration_change_history (reversal_of) WHERE reversal_of IS NOT NULL;
CREATE UNIQUE INDEX ums_growth_change_history_refund
    ON ums_growth_change_history (refund_sn) WHERE refund_sn IS NOT NULL;
