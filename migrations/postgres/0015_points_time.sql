-- When the points of an applied payment were credited: the sweep finds those whose message was lost.
ALTER TABLE oms_payment_info ADD COLUMN points_time BIGINT;

UPDATE oms_payment_info SET points_time = create_time
WHERE payment_status = 'APPLIED'
  AND EXISTS (SELECT 1 FROM ums_integration_change_history AS h WHERE h.order_sn = oms_payment_info.order_sn);

CREATE INDEX oms_payment_info_uncredited ON oms_payment_info (create_time, id)
    WHERE payment_status = 'APPLIED' AND points_time IS NULL;
