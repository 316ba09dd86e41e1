//! Loading the demo data.

use actors::ports::store::StoreError;

use super::SqliteStore;
use super::connection::store_error;
use crate::store::demo::{STATEMENTS, wants_time};

impl SqliteStore {
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
        let now = self.clock.now();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
        for statement in STATEMENTS {
            let query = sqlx::query(*statement);
            let query = if wants_time(statement) { query.bind(now.0) } else { query };
            query.execute(&mut *transaction).await.map_err(store_error)?;
        }
        transaction.commit().await.map_err(store_error)
    }
}
