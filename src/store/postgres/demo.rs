//! Loading the demo data.

use actors::ports::store::{Store, StoreError};

use super::PostgresStore;
use super::commit::BEGIN;
use super::connection::store_error;
use crate::store::demo::{STATEMENTS, wants_time};

/// The demo rows bring their ids; the next ones come behind them.
const SEQUENCES: &[&str] = &[
    "SELECT setval(pg_get_serial_sequence('pms_sku_sale_attr_value', 'id'), max(id)) FROM pms_sku_sale_attr_value",
    "SELECT setval(pg_get_serial_sequence('wms_ware_info', 'id'), max(id)) FROM wms_ware_info",
    "SELECT setval(pg_get_serial_sequence('ums_member', 'id'), max(id)) FROM ums_member",
    "SELECT setval(pg_get_serial_sequence('ums_member_receive_address', 'id'), max(id)) FROM ums_member_receive_address",
];

impl PostgresStore {
    /// Loads the demo data (DESIGN section 8): members 1–1000 with addresses, SKUs 48 and 49, and 1,000 units of each
    /// in two warehouses. Loading it again changes nothing. The flash sale is not part of it: the app makes one.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is loaded then.
    pub async fn load_demo(&self) -> Result<(), StoreError> {
        let store = self.clone();
        let task = tokio::spawn(async move { store.load().await });
        task.await.map_err(|error| StoreError::Failed(format!("the demo task ended: {error}")))?
    }

    async fn load(&self) -> Result<(), StoreError> {
        let now = self.now().await?;
        let mut transaction = self.writers.pool().begin_with(BEGIN).await.map_err(store_error)?;
        for statement in STATEMENTS {
            let query = sqlx::query(*statement);
            let query = if wants_time(statement) { query.bind(now.0) } else { query };
            query.execute(&mut *transaction).await.map_err(store_error)?;
        }
        for statement in SEQUENCES {
            sqlx::query(*statement).execute(&mut *transaction).await.map_err(store_error)?;
        }
        transaction.commit().await.map_err(store_error)
    }
}
