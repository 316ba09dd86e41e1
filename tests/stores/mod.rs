//! What the tests of every adapter of the store port share.

use std::fs;
use std::path::Path;

/// Tables that grow with every sale.
pub const BIG: [&str; 12] = [
    "oms_order",
    "oms_order_item",
    "oms_order_operate_history",
    "oms_payment_info",
    "oms_refund_info",
    "oms_order_return_apply",
    "wms_stock_lock",
    "wms_stock_ledger",
    "sms_flash_sale_grant",
    "ums_integration_change_history",
    "mq_outbox",
    "mq_inbox",
];

/// The statements of a database's adapter that read or change rows where they are, taken from its source and from what it
/// shares with the other one. `among` is what its macro of that name makes of `$1`.
pub fn statements(database: &str, among: &str) -> Vec<String> {
    let store = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let mut statements = Vec::new();
    for folder in [store.join(database), store.join("both")] {
        for entry in fs::read_dir(folder).expect("the adapter is there") {
            let text = fs::read_to_string(entry.expect("readable").path()).expect("readable");
            statements.extend(statements_of(&unfold(&text, among)));
        }
    }
    assert!(statements.len() > 50, "only {} statements were found", statements.len());
    statements
}

fn statements_of(text: &str) -> Vec<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let literals = code.split('"').skip(1).step_by(2);
    let is_statement = |text: &&str| ["SELECT ", "UPDATE ", "DELETE "].iter().any(|word| text.starts_with(word));
    literals.filter(is_statement).map(str::to_owned).collect()
}

/// Puts what `among!("$n")` stands for into the literals on both sides of it.
fn unfold(text: &str, among: &str) -> String {
    let mut pieces = text.split("among!(\"");
    let mut unfolded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let before = unfolded.rfind('"').expect("a literal stands before among!");
        unfolded.truncate(before);
        let (parameter, rest) = piece.split_once("\")").expect("among! ends");
        unfolded.push_str(&among.replace("$1", parameter));
        let rest = rest.trim_start_matches([',', ' ', '\n']);
        match rest.strip_prefix('"') {
            Some(more) => unfolded.push_str(more),
            None => {
                unfolded.push('"');
                unfolded.push_str(rest);
            }
        }
    }
    unfolded
}

/// Fills a store through SQL that both databases understand. The type has a `store`, a `clock`, and an `execute` that
/// runs a statement as another program would.
macro_rules! sql_fixture {
    ($fixture:ty) => {
        #[async_trait::async_trait]
        impl actors::ports::contract::store::Fixture for $fixture {
            fn store(&self) -> std::sync::Arc<dyn actors::ports::store::Store> {
                self.store.clone()
            }

            async fn add_sku(&self, sku: &actors::ports::store::Sku) {
                let insert = sqlx::query(
                    "INSERT INTO pms_sku_info
                         (sku_id, spu_id, catalog_id, brand_id, sku_name, sku_title, sku_subtitle, sku_default_img, price)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                )
                .bind(sku.sku_id.0)
                .bind(sku.spu_id)
                .bind(sku.category_id)
                .bind(sku.brand_id)
                .bind(&sku.name)
                .bind(&sku.title)
                .bind(&sku.subtitle)
                .bind(&sku.image)
                .bind(sku.price.0);
                self.execute(insert).await;
                for attribute in &sku.attributes {
                    let insert = sqlx::query(
                        "INSERT INTO pms_sku_sale_attr_value (id, sku_id, attr_id, attr_name, attr_value, attr_sort)
                         VALUES ($1, $2, $3, $4, $5, $6)",
                    )
                    .bind(attribute.id)
                    .bind(sku.sku_id.0)
                    .bind(attribute.attr_id)
                    .bind(&attribute.name)
                    .bind(&attribute.value)
                    .bind(attribute.sort);
                    self.execute(insert).await;
                }
            }

            async fn set_price(&self, sku_id: actors::domain::SkuId, price: actors::domain::Money) {
                let update = sqlx::query("UPDATE pms_sku_info SET price = $1 WHERE sku_id = $2");
                self.execute(update.bind(price.0).bind(sku_id.0)).await;
            }

            async fn add_warehouse(&self, ware_id: actors::domain::WareId, name: &str) {
                let insert = sqlx::query("INSERT INTO wms_ware_info (id, name) VALUES ($1, $2)");
                self.execute(insert.bind(ware_id.0).bind(name)).await;
            }

            async fn add_stock(
                &self,
                sku_id: actors::domain::SkuId,
                ware_id: actors::domain::WareId,
                stock: i64,
            ) -> actors::domain::WareSkuId {
                use actors::ports::clock::Clock as _;
                use actors::ports::store::StockReads as _;
                let insert = sqlx::query("INSERT INTO wms_ware_sku (sku_id, ware_id, stock) VALUES ($1, $2, $3)");
                self.execute(insert.bind(sku_id.0).bind(ware_id.0).bind(stock)).await;
                let opening = sqlx::query(
                    "INSERT INTO wms_stock_ledger (ware_sku_id, kind, delta, stock_after, create_time)
                     SELECT id, 'opening', stock, stock, $1 FROM wms_ware_sku WHERE sku_id = $2 AND ware_id = $3",
                );
                self.execute(opening.bind(self.clock.now().0).bind(sku_id.0).bind(ware_id.0)).await;
                let rows = self.store.stock_rows(sku_id).await.expect("stock is readable");
                rows.iter().find(|row| row.ware_id == ware_id).expect("the row just made").id
            }

            async fn add_member(&self, member: &actors::ports::store::Member) {
                use actors::ports::clock::Clock as _;
                let insert = sqlx::query(
                    "INSERT INTO ums_member (id, username, nickname, mobile, email, integration, growth, create_time)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                )
                .bind(member.id.0)
                .bind(&member.username)
                .bind(&member.nickname)
                .bind(&member.mobile)
                .bind(&member.email)
                .bind(member.integration)
                .bind(member.growth)
                .bind(self.clock.now().0);
                self.execute(insert).await;
                if member.integration != 0 {
                    let opening = sqlx::query(
                        "INSERT INTO ums_integration_change_history (member_id, change_count, create_time)
                         VALUES ($1, $2, $3)",
                    );
                    let opening = opening.bind(member.id.0).bind(member.integration).bind(self.clock.now().0);
                    self.execute(opening).await;
                }
            }

            async fn add_address(&self, address: &actors::ports::store::Address) {
                let receiver = &address.receiver;
                let insert = sqlx::query(
                    "INSERT INTO ums_member_receive_address
                         (id, member_id, name, phone, post_code, province, city, region, detail_address, areacode,
                          default_status)
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                )
                .bind(address.id)
                .bind(address.user_id.0)
                .bind(&receiver.name)
                .bind(&receiver.phone)
                .bind(&receiver.post_code)
                .bind(&receiver.province)
                .bind(&receiver.city)
                .bind(&receiver.region)
                .bind(&receiver.detail_address)
                .bind(&address.areacode)
                .bind(i64::from(address.is_default));
                self.execute(insert).await;
            }

            async fn tamper_stock(&self, id: actors::domain::WareSkuId, stock: i64, locked: i64) {
                let update = sqlx::query(
                    "UPDATE wms_ware_sku SET stock = $1, stock_locked = $2, version = version + 1 WHERE id = $3",
                );
                self.execute(update.bind(stock).bind(locked).bind(id.0)).await;
            }
        }
    };
}
pub(crate) use sql_fixture;
