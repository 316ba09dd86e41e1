//! `config print`: the values in force, each with its source.

use serde_json::Value;

use super::Loaded;

impl Loaded {
    /// One line per key, `key = value  # source`; secrets are hidden by their types.
    pub fn render(&self) -> String {
        let values = serde_json::to_value(&self.config).unwrap_or_default();
        let mut lines = Vec::new();
        flatten(&values, "", &mut lines);
        let width = lines.iter().map(|(key, value)| key.len() + value.len()).max().unwrap_or(0).min(72);
        let mut text = String::new();
        for (key, value) in &lines {
            let padding = width.saturating_sub(key.len() + value.len());
            text.push_str(&format!("{key} = {value}{:padding$}  # {}\n", "", self.source(key)));
        }
        text
    }
}

fn flatten(value: &Value, key: &str, lines: &mut Vec<(String, String)>) {
    let Value::Object(fields) = value else { return lines.push((key.to_owned(), value.to_string())) };
    for (name, inner) in fields {
        let dot = if key.is_empty() { "" } else { "." };
        flatten(inner, &format!("{key}{dot}{name}"), lines);
    }
}
