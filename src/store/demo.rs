//! The demo data: what the founding text's sample shows, and enough members to buy it.

/// Statements that fill an empty store, which both databases understand. Each may find its rows there already; `$1` is
/// the time.
pub(super) const STATEMENTS: &[&str] = &[
    "INSERT INTO pms_sku_info
         (sku_id, spu_id, sku_name, sku_title, sku_subtitle, sku_default_img, catalog_id, brand_id, price)
     SELECT column1, 7, 'apple iphone xr', 'apple iphone xr 8g,白色,256', '',
            'https://ggmall.oss-cn-shanghai.aliyuncs.com/2019-10-06/cb587e4e-ebfb-4cff-86fa-9af8f1d4e87c_mi1.jpg',
            225, 3, 1000000
     FROM (VALUES (48), (49)) AS skus WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO pms_sku_sale_attr_value (id, sku_id, attr_id, attr_name, attr_value)
     VALUES (133, 48, 24, '内存', '8g'), (134, 48, 30, '颜色', '白色'), (135, 48, 35, '容量', '256'),
            (136, 49, 24, '内存', '8g'), (137, 49, 30, '颜色', '白色'), (138, 49, 35, '容量', '256')
     ON CONFLICT DO NOTHING",
    "INSERT INTO wms_ware_info (id, name, address, areacode)
     VALUES (1, '上海仓', '上海市松江区', '310117'), (2, '北京仓', '北京市昌平区', '110114')
     ON CONFLICT DO NOTHING",
    // The opening ledger row of a stock row goes with it, so a second run makes neither.
    "INSERT INTO wms_ware_sku (sku_id, ware_id, stock, sku_name)
     SELECT s.column1, w.column1, 1000, 'apple iphone xr'
     FROM (VALUES (48), (49)) AS s CROSS JOIN (VALUES (1), (2)) AS w WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO wms_stock_ledger (ware_sku_id, kind, delta, stock_after, reason, create_time)
     SELECT id, 'opening', stock, stock, 'demo data', $1 FROM wms_ware_sku AS w
     WHERE sku_id IN (48, 49) AND ware_id IN (1, 2)
       AND NOT EXISTS (SELECT 1 FROM wms_stock_ledger AS l WHERE l.ware_sku_id = w.id)",
    "INSERT INTO ums_member (id, username, nickname, mobile, email, integration, growth, create_time)
     WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
     SELECT n, 'user' || n, CASE n WHEN 1 THEN '李先锋' ELSE '用户' || n END,
            CAST(13800000000 + CASE n WHEN 1 THEN 88888888 ELSE n END AS TEXT), 'user' || n || '@example.com',
            CASE n WHEN 1 THEN 1000 ELSE 0 END, CASE n WHEN 1 THEN 1000 ELSE 0 END, $1
     FROM numbers WHERE TRUE ON CONFLICT DO NOTHING",
    "INSERT INTO ums_integration_change_history (member_id, change_count, note, source_type, create_time)
     SELECT 1, 1000, 'opening balance', 1, $1
     WHERE NOT EXISTS (SELECT 1 FROM ums_integration_change_history WHERE member_id = 1 AND order_sn IS NULL)",
    "INSERT INTO ums_growth_change_history (member_id, change_count, note, source_type, create_time)
     SELECT 1, 1000, 'opening balance', 1, $1
     WHERE NOT EXISTS (SELECT 1 FROM ums_growth_change_history WHERE member_id = 1 AND order_sn IS NULL)",
    "INSERT INTO ums_member_receive_address
         (id, member_id, name, phone, post_code, province, city, region, detail_address, areacode, default_status)
     VALUES (1, 1, '李先锋', '13888888888', '200122', '上海', '上海市', '松江区', '大江大厦6层', '12121', 1),
            (2, 1, '锋哥', '13812345678', '200122', '上海', '上海市', '松江区', '尚硅谷上海校区', '12222', 0)
     ON CONFLICT DO NOTHING",
    // Row 2 is member 1's second one, so the others start behind the members' own numbers.
    "INSERT INTO ums_member_receive_address
         (id, member_id, name, phone, post_code, province, city, region, detail_address, areacode, default_status)
     SELECT 1000 + id, id, nickname, mobile, '200122', '上海', '上海市', '松江区', '大江大厦' || id || '室', '12121', 1
     FROM ums_member WHERE id BETWEEN 2 AND 1000 AND TRUE ON CONFLICT DO NOTHING",
];

/// Whether a statement wants the time.
pub(super) fn wants_time(statement: &str) -> bool {
    statement.contains("$1")
}
