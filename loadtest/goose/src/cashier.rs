//! Forms in the answers, read as a browser would: the pay form and the cashier's page.

/// A form.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it goes.
    pub action: String,
    /// Its hidden fields.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page. The server writes attributes in double quotes, name before value.
    pub fn first_in(html: &str) -> Option<Self> {
        let form = html.get(html.find("<form")?..)?;
        let form = form.get(..form.find("</form>")?)?;
        let inputs = form.split("<input ").skip(1);
        let fields = inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect();
        Some(Self { action: attribute(form, "action")?, fields })
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!("{name}=\""))? + name.len() + 2;
    let rest = tag.get(start..)?;
    let value = rest.get(..rest.find('"')?)?;
    let unescaped = [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
        .into_iter()
        .fold(value.to_owned(), |text, (entity, character)| text.replace(entity, character));
    Some(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_with_its_fields() {
        let html = r#"<p><form action="a?x=1&amp;y=2" method="post"><input type="hidden" name="n" value="{&quot;k&quot;:1}"></form>"#;
        let fields = vec![("n".to_owned(), r#"{"k":1}"#.to_owned())];
        assert_eq!(Form::first_in(html), Some(Form { action: "a?x=1&y=2".into(), fields }));
        assert_eq!(Form::first_in("<p>"), None);
    }
}
