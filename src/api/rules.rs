//! Range rules of input that several routes share (R12).

use actors::domain::SkuId;
use actors::domain::order::Receiver;

/// Bounds on what a buyer may send.
#[derive(Clone, Copy, Debug)]
pub struct InputRules {
    /// `limits.max_quantity`: units of one line.
    pub max_quantity: u32,
    /// `limits.max_lines`: lines of one order.
    pub max_lines: usize,
}

/// What is wrong with a list of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLines {
    /// The list itself.
    List(String),
    /// The SKU of a line.
    Sku(usize, String),
    /// The quantity of a line.
    Quantity(usize, String),
}

impl InputRules {
    /// Units of one line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn quantity(&self, quantity: u32) -> Result<(), String> {
        within(quantity, self.max_quantity)
    }

    /// Lines of one order. None at all is a business refusal, not a malformed request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn line_count(&self, lines: usize) -> Result<(), String> {
        if lines <= self.max_lines { Ok(()) } else { Err(format!("at most {} lines", self.max_lines)) }
    }

    /// Distinct SKUs, each in an allowed quantity; an id that is none counts as wrong.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn lines(&self, lines: &[(Option<i64>, u32)], max_quantity: u32) -> Result<Vec<(SkuId, u32)>, BadLines> {
        self.line_count(lines.len()).map_err(BadLines::List)?;
        let mut wants: Vec<(SkuId, u32)> = Vec::with_capacity(lines.len());
        for (at, (sku_id, quantity)) in lines.iter().enumerate() {
            let sku_id = sku_id.filter(|id| *id > 0).map(SkuId);
            let sku_id = sku_id.ok_or_else(|| BadLines::Sku(at, "must be a SKU id, at least 1".into()))?;
            within(*quantity, max_quantity).map_err(|problem| BadLines::Quantity(at, problem))?;
            if wants.iter().any(|(known, _)| *known == sku_id) {
                return Err(BadLines::Sku(at, format!("SKU {sku_id} appears twice")));
            }
            wants.push((sku_id, *quantity));
        }
        wants.sort_unstable();
        Ok(wants)
    }

    /// Where an order goes.
    ///
    /// # Errors
    /// The field and what is wrong with it.
    pub fn receiver(&self, receiver: &Receiver) -> Result<(), (&'static str, String)> {
        let Receiver { name, phone, post_code, province, city, region, detail_address } = receiver;
        let fields = [
            ("name", name, 1, 100),
            ("phone", phone, 1, 32),
            ("post_code", post_code, 0, 32),
            ("province", province, 1, 32),
            ("city", city, 1, 32),
            ("region", region, 0, 32),
            ("detail_address", detail_address, 1, 200),
        ];
        for (field, value, min, max) in fields {
            self.text(value, min, max).map_err(|problem| (field, problem))?;
        }
        Ok(())
    }

    /// A text of `min` to `max` characters without control characters; spaces alone do not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn text(&self, value: &str, min: usize, max: usize) -> Result<(), String> {
        if value.chars().any(char::is_control) {
            return Err("must not contain control characters".into());
        }
        if value.trim().chars().count() < min {
            return Err("must not be empty".into());
        }
        if value.chars().count() > max {
            return Err(format!("must have at most {max} characters"));
        }
        Ok(())
    }
}

fn within(quantity: u32, most: u32) -> Result<(), String> {
    if (1..=most).contains(&quantity) { Ok(()) } else { Err(format!("must be between 1 and {most}")) }
}
