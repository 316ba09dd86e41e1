//! Reading members, their addresses, points and carts.

use actors::domain::UserId;
use actors::domain::events::BoundPlus;
use actors::ports::store::{Address, Buyer, CartItem, Member, MemberReads, Store, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::rows::{among, limit, user_ids as ids};
use crate::store::columns::{AddressColumns, BuyerColumns, MemberColumns, cart_item, missing_credit};

#[async_trait]
impl MemberReads for DatabaseStore {
    async fn members(&self, user_ids: &[UserId]) -> Result<Vec<Member>, StoreError> {
        let rows: Vec<MemberColumns> = self
            .readers
            .all(sqlx::query_as(concat!("SELECT * FROM ums_member WHERE id ", among!("$1"))).bind(ids(user_ids)))
            .await?;
        Ok(rows.into_iter().map(MemberColumns::into_member).collect())
    }

    async fn buyers(&self, user_ids: &[UserId]) -> Result<Vec<Buyer>, StoreError> {
        let rows: Vec<BuyerColumns> = self
            .readers
            .all(
                sqlx::query_as(concat!(
                    "SELECT m.id, m.username, a.name, a.phone, a.post_code, a.province, a.city, a.region,
                            a.detail_address
                     FROM ums_member AS m
                     LEFT JOIN ums_member_receive_address AS a ON a.member_id = m.id AND a.default_status = 1
                     WHERE m.id ",
                    among!("$1")
                ))
                .bind(ids(user_ids)),
            )
            .await?;
        Ok(rows.into_iter().map(BuyerColumns::into_buyer).collect())
    }

    async fn addresses_of(&self, user_ids: &[UserId]) -> Result<Vec<Address>, StoreError> {
        let rows: Vec<AddressColumns> = self
            .readers
            .all(
                sqlx::query_as(concat!(
                    "SELECT id, member_id, name, phone, post_code, province, city, region, detail_address, areacode,
                            default_status = 1 AS default_status
                     FROM ums_member_receive_address AS a WHERE member_id ",
                    among!("$1"),
                    " ORDER BY a.default_status DESC, id"
                ))
                .bind(ids(user_ids)),
            )
            .await?;
        Ok(rows.into_iter().map(AddressColumns::into_address).collect())
    }

    async fn missing_points(&self, older_ms: i64, most: usize) -> Result<Vec<BoundPlus>, StoreError> {
        let rows: Vec<(String, i64, i64)> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT o.order_sn, o.member_id, o.pay_amount
                     FROM oms_payment_info AS p JOIN oms_order AS o ON o.order_sn = p.order_sn
                     WHERE p.payment_status = 'APPLIED' AND p.points_time IS NULL AND p.create_time <= $1
                       AND o.status BETWEEN 1 AND 3
                     ORDER BY p.create_time, p.id LIMIT $2",
                )
                .bind(self.now().await?.0.saturating_sub(older_ms))
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(|row| missing_credit(row, self.rules.points_per_yuan)).collect()
    }

    async fn cart(&self, user_id: UserId) -> Result<Vec<CartItem>, StoreError> {
        let rows: Vec<(i64, i64)> = self
            .readers
            .all(
                sqlx::query_as("SELECT sku_id, quantity FROM oms_cart_item WHERE member_id = $1 ORDER BY sku_id")
                    .bind(user_id.0),
            )
            .await?;
        rows.into_iter().map(cart_item).collect()
    }
}
