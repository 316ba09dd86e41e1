//! `application/x-www-form-urlencoded`. Reading is strict (no field twice, no bad encoding) because what is read here is
//! money talk: two readers of one body must never see two meanings.

use std::collections::HashSet;

/// Largest body or query that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// Most fields that are read.
pub const MAX_FIELDS: usize = 100;

/// Decoded fields in the order of the body.
pub type Fields = Vec<(String, String)>;

/// Why a body is not a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// More than [`MAX_BYTES`].
    #[error("larger than 64 KiB")]
    TooLarge,
    /// More than [`MAX_FIELDS`].
    #[error("more than 100 fields")]
    TooManyFields,
    /// `%` without two hexadecimal digits behind it.
    #[error("invalid percent-encoding")]
    PercentEncoding,
    /// The decoded bytes are not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A field without a name.
    #[error("a field without a name")]
    NoName,
    /// The same name twice.
    #[error("a field twice")]
    Duplicate,
}

/// Reads a raw body or query once: split, then URL-decode each side once (`+` is a space). Nothing is trimmed.
///
/// # Errors
/// See [`FormError`].
pub fn parse(raw: &[u8]) -> Result<Fields, FormError> {
    if raw.len() > MAX_BYTES {
        return Err(FormError::TooLarge);
    }
    let mut fields = Fields::new();
    let mut names = HashSet::new();
    for part in raw.split(|byte| *byte == b'&').filter(|part| !part.is_empty()) {
        if fields.len() == MAX_FIELDS {
            return Err(FormError::TooManyFields);
        }
        let cut = part.iter().position(|byte| *byte == b'=');
        let (name, value) = cut.map_or((part, &[][..]), |at| (&part[..at], &part[at + 1..]));
        let (name, value) = (decode(name)?, decode(value)?);
        if name.is_empty() {
            return Err(FormError::NoName);
        }
        if !names.insert(name.clone()) {
            return Err(FormError::Duplicate);
        }
        fields.push((name, value));
    }
    Ok(fields)
}

/// Writes fields as a body or query. Everything but `A-Z a-z 0-9 - _ . * ` becomes `%XX`, a space `+`.
pub fn encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push('&');
        }
        encode_into(&mut text, name);
        text.push('=');
        encode_into(&mut text, value);
    }
    text
}

/// The value of a field.
pub fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Escapes text for an HTML attribute in double quotes, or for HTML text.
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn decode(raw: &[u8]) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next())? << 4 | hex(rest.next())?,
            other => *other,
        });
    }
    String::from_utf8(bytes).map_err(|_| FormError::Utf8)
}

fn hex(digit: Option<&u8>) -> Result<u8, FormError> {
    let value = digit.and_then(|byte| char::from(*byte).to_digit(16)).ok_or(FormError::PercentEncoding)?;
    u8::try_from(value).map_err(|_| FormError::PercentEncoding)
}

fn encode_into(text: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => text.push(char::from(byte)),
            b' ' => text.push('+'),
            other => {
                text.push('%');
                text.push(char::from(HEX[usize::from(other >> 4)]));
                text.push(char::from(HEX[usize::from(other & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::web::Query;
    use proptest::prelude::*;

    use super::*;

    fn pairs(fields: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The reader of the web framework, which is lenient: what ours accepts it must read the same.
    fn reference(raw: &str) -> Fields {
        Query::<Fields>::from_query(raw).unwrap().into_inner()
    }

    #[test]
    fn hostile_bodies_are_refused() {
        let many = (0..=MAX_FIELDS).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        let long = format!("a={}", "x".repeat(MAX_BYTES));
        for (raw, error) in [
            (&b"a=1&a=2"[..], FormError::Duplicate),
            (b"a=1&%61=2", FormError::Duplicate),
            (b"a=%", FormError::PercentEncoding),
            (b"a=%4", FormError::PercentEncoding),
            (b"a=%zz", FormError::PercentEncoding),
            (b"a=%+1", FormError::PercentEncoding),
            (b"a=%FF", FormError::Utf8),
            (b"a=\xb0\xd7", FormError::Utf8),
            (b"=1", FormError::NoName),
            (many.as_bytes(), FormError::TooManyFields),
            (long.as_bytes(), FormError::TooLarge),
        ] {
            assert_eq!(parse(raw), Err(error), "{}", String::from_utf8_lossy(&raw[..raw.len().min(40)]));
        }
    }

    #[test]
    fn a_value_is_decoded_once_and_not_trimmed() {
        let fields = parse(b"a=%2541&b=+x+&c&d==").unwrap();
        assert_eq!(pairs(&fields).collect::<Vec<_>>(), [("a", "%41"), ("b", " x "), ("c", ""), ("d", "=")]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_never_otherwise_than_the_reference(
            raw in proptest::collection::vec(prop_oneof![
                Just(b'&'), Just(b'='), Just(b'%'), Just(b'+'), Just(b'a'), Just(b'4'), any::<u8>()
            ], 0..200)
        ) {
            if let (Ok(fields), Ok(text)) = (parse(&raw), std::str::from_utf8(&raw)) {
                prop_assert_eq!(fields, reference(text));
            }
        }

        #[test]
        fn what_is_written_is_read_back_by_both(fields in proptest::collection::btree_map(".{1,8}", ".{0,20}", 0..20)) {
            let fields: Fields = fields.into_iter().collect();
            let text = encode(pairs(&fields));
            prop_assert!(text.is_ascii());
            prop_assert_eq!(&parse(text.as_bytes()).unwrap(), &fields);
            prop_assert_eq!(reference(&text), fields);
        }
    }
}
