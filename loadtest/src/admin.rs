//! Calls of the internal listener: sales, stock, audit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

/// A client of the internal listener.
#[derive(Clone)]
pub struct Admin {
    client: reqwest::Client,
    base: String,
    token: String,
}

/// Counts of a flash sale, as the store has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleCounts {
    /// Grants, FAILED and released ones among them.
    pub granted: u64,
    /// Grants with an order.
    pub ordered: u64,
    /// Grants whose unit is for sale again.
    pub released: u64,
    /// Units for sale now.
    pub remaining: u64,
}

/// A SKU's stock over all warehouses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stock {
    /// On hand.
    pub stock: i64,
    /// Of these, promised to somebody.
    pub locked: i64,
}

impl Admin {
    /// With the service token of the server's data directory.
    ///
    /// # Errors
    /// Without that file.
    pub fn new(internal: &str, data_dir: &Path) -> anyhow::Result<Self> {
        let file = data_dir.join("service-token");
        let token = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Self::with_token(internal, &token)
    }

    /// With this service token.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn with_token(internal: &str, token: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(300)).build()?;
        Ok(Self { client, base: format!("http://{internal}/admin/v1"), token: token.trim().to_owned() })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(serde_json::from_str(&text)?)
    }

    /// Ends what is open on the SKU, brings the units in, makes and arms a sale of them; answers its id.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn arm(&self, sku: u64, units: u64) -> anyhow::Result<String> {
        let sales = self.call(Method::GET, "/flash-sales", None).await?;
        let sku_text = sku.to_string();
        let is_open =
            |sale: &&Value| sale["sku_id"] == sku_text && !matches!(sale["state"].as_str(), Some("ended" | "draft"));
        for sale in sales["data"].as_array().into_iter().flatten().filter(is_open) {
            self.end(sale["id"].as_str().context("a sale without id")?).await?;
        }
        self.add_stock(sku, units).await?;
        let sale = json!({
            "sku_id": sku.to_string(), "price": "1.00", "count": units, "per_user_limit": 1,
            "starts_at": "2020-01-01T00:00:00Z", "ends_at": "2100-01-01T00:00:00Z",
        });
        let sale = self.call(Method::POST, "/flash-sales", Some(sale)).await?;
        let id = sale["id"].as_str().context("a sale without id")?.to_owned();
        self.call(Method::POST, &format!("/flash-sales/{id}/arm"), None).await?;
        Ok(id)
    }

    /// Brings units of a SKU into its first warehouse.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn add_stock(&self, sku: u64, units: u64) -> anyhow::Result<()> {
        let more = json!({"ware_id": "1", "delta": units, "reason": "load test"});
        self.call(Method::POST, &format!("/stock/{sku}/adjustments"), Some(more)).await.map(drop)
    }

    /// Ends a sale.
    ///
    /// # Errors
    /// What the server refuses.
    pub async fn end(&self, sale: &str) -> anyhow::Result<()> {
        self.call(Method::POST, &format!("/flash-sales/{sale}/end"), None).await.map(drop)
    }

    /// A sale's counts.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn sale(&self, sale: &str) -> anyhow::Result<SaleCounts> {
        let sale = self.call(Method::GET, &format!("/flash-sales/{sale}"), None).await?;
        let count = |name: &str| sale[name].as_u64().with_context(|| format!("{name} is missing in {sale}"));
        Ok(SaleCounts {
            granted: count("granted")?,
            ordered: count("ordered")?,
            released: count("released")?,
            remaining: count("remaining")?,
        })
    }

    /// A SKU's stock.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn stock(&self, sku: u64) -> anyhow::Result<Stock> {
        let stock = self.call(Method::GET, &format!("/stock/{sku}"), None).await?;
        let count = |name: &str| stock[name].as_i64().with_context(|| format!("{name} is missing in {stock}"));
        Ok(Stock { stock: count("stock")?, locked: count("locked")? })
    }

    /// The audit's report.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn audit(&self) -> anyhow::Result<Value> {
        self.call(Method::GET, "/audit", None).await
    }
}
