//! Reading members, addresses and carts.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::domain::events::BoundPlus;
use crate::domain::order::Receiver;
use crate::domain::{SkuId, UserId};

/// A member, without password or salt (fault 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Id.
    pub id: UserId,
    /// Login name.
    pub username: String,
    /// Display name.
    pub nickname: String,
    /// Phone.
    pub mobile: String,
    /// Mail.
    pub email: String,
    /// Spendable points.
    pub integration: i64,
    /// Growth value.
    pub growth: i64,
}

/// One row of `ums_member_receive_address`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Row id.
    pub id: i64,
    /// Whose.
    pub user_id: UserId,
    /// The address.
    pub receiver: Receiver,
    /// Area code.
    pub areacode: String,
    /// Whether it is the default one.
    pub is_default: bool,
}

/// What an order that nobody filled in takes from its member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buyer {
    /// Who.
    pub user_id: UserId,
    /// Login name.
    pub username: String,
    /// Of the default address.
    pub receiver: Option<Receiver>,
}

/// One cart line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CartItem {
    /// Which SKU.
    pub sku_id: SkuId,
    /// How many.
    pub quantity: u32,
}

/// Reading members.
#[async_trait]
pub trait MemberReads: Sync {
    /// These members; unknown ones are missing from the answer.
    async fn members(&self, user_ids: &[UserId]) -> Result<Vec<Member>, StoreError>;
    /// One member.
    async fn member(&self, user_id: UserId) -> Result<Option<Member>, StoreError> {
        Ok(self.members(&[user_id]).await?.pop())
    }
    /// These members as buyers; unknown ones are missing from the answer.
    async fn buyers(&self, user_ids: &[UserId]) -> Result<Vec<Buyer>, StoreError>;
    /// The addresses of these members; each one's default comes first, the others by id.
    async fn addresses_of(&self, user_ids: &[UserId]) -> Result<Vec<Address>, StoreError>;
    /// A member's addresses, the default one first, then by id.
    async fn addresses(&self, user_id: UserId) -> Result<Vec<Address>, StoreError> {
        self.addresses_of(&[user_id]).await
    }
    /// What the buyers of orders in 1–3 earned and did not get, although their payment was applied more than `older_ms`
    /// ago: the message was lost. Oldest payment first. An order whose points came before its payment may be among them;
    /// crediting it again changes nothing.
    async fn missing_points(&self, older_ms: i64, limit: usize) -> Result<Vec<BoundPlus>, StoreError>;
    /// A member's cart, by SKU.
    async fn cart(&self, user_id: UserId) -> Result<Vec<CartItem>, StoreError>;
}
