//! One Rust file as the rules see it: comments, texts and test items are blank, every line is where it was.

/// A file.
pub struct Source {
    /// From the root of the workspace.
    pub path: String,
    /// ASCII, as long in lines as the file.
    pub code: String,
    /// Where each line but the first begins.
    line_starts: Vec<usize>,
}

/// A path that the code names, with groups unfolded: `use a::{b, c::d}` names `a::b` and `a::c::d`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its line, from 1.
    pub line: usize,
    /// Its segments.
    pub segments: Vec<String>,
}

/// Whether all of a file is for tests.
pub fn is_test_code(path: &str) -> bool {
    path.contains("test") && !path.starts_with("loadtest/") || path.starts_with("actors/src/ports/contract/")
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, text: &str) -> Self {
        let mut code = blank_texts(text);
        blank_test_items(&mut code);
        let code: String = code.into_iter().collect();
        let line_starts = code.match_indices('\n').map(|(at, _)| at + 1).collect();
        Self { path: path.to_owned(), code, line_starts }
    }

    /// The line of a place in the code, from 1.
    pub fn line(&self, at: usize) -> usize {
        1 + self.line_starts.partition_point(|&start| start <= at)
    }

    /// Places where this stands as a whole word: neither before nor after it goes a name on.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let is_part = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(|&byte| is_name(byte));
        let starts_with_name = word.bytes().next().is_some_and(is_name);
        let ends_with_name = word.bytes().last().is_some_and(is_name);
        let places = self.code.match_indices(word).map(|(at, _)| at);
        places
            .filter(|&at| !(starts_with_name && is_part(at.checked_sub(1))))
            .filter(|&at| !(ends_with_name && is_part(Some(at + word.len()))))
            .collect()
    }

    /// What stands between the parenthesis at this place and its partner.
    pub fn arguments(&self, open: usize) -> &str {
        let end = closing(self.code.as_bytes(), open).unwrap_or(self.code.len());
        &self.code[open + 1..end]
    }

    /// Every path of the code.
    pub fn named(&self) -> Vec<Named> {
        let bytes = self.code.as_bytes();
        let mut named = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if is_name(bytes[at]) && !bytes[at].is_ascii_digit() && !goes_on(bytes, at) {
                at = self.read_tree(at, &[], &mut named);
            } else if is_name(bytes[at]) {
                at += bytes[at..].iter().take_while(|&&byte| is_name(byte)).count();
            } else {
                at += 1;
            }
        }
        named
    }

    /// Reads `a::b`, `a::*` or `a::{…}` from a name or bracket on; answers the place behind it.
    fn read_tree(&self, mut at: usize, prefix: &[String], named: &mut Vec<Named>) -> usize {
        let bytes = self.code.as_bytes();
        let start = at;
        let mut segments = prefix.to_vec();
        loop {
            let length = bytes[at..].iter().take_while(|&&byte| is_name(byte)).count();
            segments.push(self.code[at..at + length].to_owned());
            at += length;
            match bytes.get(at..at + 3) {
                Some([b':', b':', next]) if is_name(*next) => at += 2,
                Some([b':', b':', b'{']) => return self.read_group(at + 3, &segments, named),
                _ => break,
            }
        }
        named.push(Named { line: self.line(start), segments });
        at
    }

    fn read_group(&self, mut at: usize, prefix: &[String], named: &mut Vec<Named>) -> usize {
        let bytes = self.code.as_bytes();
        while at < bytes.len() && bytes[at] != b'}' {
            if self.code[at..].starts_with(" as ") {
                at += 4;
                at += bytes[at..].iter().take_while(|&&byte| is_name(byte)).count();
            } else if is_name(bytes[at]) {
                at = self.read_tree(at, prefix, named);
            } else {
                at += 1;
            }
        }
        at + 1
    }

    /// A path as segments from the root of its crate, or as it stands when it is another crate's.
    pub fn resolve(&self, named: &Named) -> Place {
        let own = self.module();
        let ups = named.segments.iter().take_while(|segment| *segment == "super").count();
        let (base, rest) = match named.segments[0].as_str() {
            "crate" => (&own[..0], &named.segments[1..]),
            "super" => (&own[..own.len().saturating_sub(ups)], &named.segments[ups..]),
            "self" if named.segments.len() > 1 => (&own[..], &named.segments[1..]),
            _ => return Place::Elsewhere(named.segments.clone()),
        };
        Place::Here(base.iter().chain(rest).cloned().collect())
    }

    /// The module of this file: `actors/src/stock/actor.rs` is `stock::actor`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.split_once("src/").map_or(self.path.as_str(), |(_, inside)| inside);
        let parts = inside.trim_end_matches(".rs").split('/');
        parts.filter(|part| !["mod", "lib", "main"].contains(part)).map(str::to_owned).collect()
    }
}

/// Whose path it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// This crate's.
    Here(Vec<String>),
    /// Another crate's, or a name in scope.
    Elsewhere(Vec<String>),
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether the name at this place belongs to a path that began before it.
fn goes_on(bytes: &[u8], at: usize) -> bool {
    let follows = |sign: &[u8]| at >= sign.len() && &bytes[at - sign.len()..at] == sign;
    let before = at.checked_sub(3).map(|at| bytes[at]);
    at > 0 && is_name(bytes[at - 1]) || follows(b"::") && before.is_some_and(|byte| is_name(byte) || byte == b'>')
}

/// The place of the bracket that closes the one at `open`.
fn closing(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The text with comments, and what stands in quotes, turned to spaces.
fn blank_texts(text: &str) -> Vec<char> {
    let mut code: Vec<char> = text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    let mut at = 0;
    while at < code.len() {
        let end = match code[at] {
            '/' if code.get(at + 1) == Some(&'/') => line_end(&code, at),
            '/' if code.get(at + 1) == Some(&'*') => comment_end(&code, at),
            '"' => text_end(&code, at),
            'r' if at == 0 || !is_name_char(code[at - 1]) || matches!(code[at - 1], 'b' | 'c') => {
                raw_end(&code, at).unwrap_or(at)
            }
            '\'' => character_end(&code, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        let kept = |c: char| c == '\n' || c == '"';
        code[at..end].iter_mut().filter(|c| !kept(**c)).for_each(|c| *c = ' ');
        at = end;
    }
    code
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn line_end(code: &[char], at: usize) -> usize {
    code[at..].iter().position(|&c| c == '\n').map_or(code.len(), |length| at + length)
}

fn comment_end(code: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < code.len() {
        match (code[at], code.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    code.len()
}

fn text_end(code: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < code.len() && code[at] != '"' {
        at += if code[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(code.len())
}

/// The end of `r"…"` or `r#"…"#`; `None` when it is only a name that begins with r.
fn raw_end(code: &[char], start: usize) -> Option<usize> {
    let hashes = code[start + 1..].iter().take_while(|&&c| c == '#').count();
    let open = start + 1 + hashes;
    if code.get(open) != Some(&'"') {
        return None;
    }
    let closes =
        |at: &usize| code[*at] == '"' && code[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
    let end = (open + 1..code.len()).find(closes)?;
    Some(end + 1 + hashes)
}

/// The end of a character in quotes; the place itself when the quote begins a lifetime.
fn character_end(code: &[char], at: usize) -> usize {
    match (code.get(at + 1), code.get(at + 2)) {
        (Some('\\'), _) => {
            let close = code.iter().skip(at + 3).position(|&c| c == '\'');
            close.map_or(at, |length| at + 3 + length + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Blanks every item behind `#[cfg(test)]` or `#[cfg(any(test, …))]`.
fn blank_test_items(code: &mut [char]) {
    const MARKS: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test,"];
    let text: String = code.iter().collect();
    for mark in MARKS {
        for (start, _) in text.match_indices(mark) {
            let end = item_end(text.as_bytes(), start);
            code[start..end].iter_mut().filter(|c| **c != '\n').for_each(|c| *c = ' ');
        }
    }
}

/// The end of the item whose first attribute begins at `start`: behind its `;`, or behind its closing brace.
fn item_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b'{' => return closing(bytes, at).map_or(bytes.len(), |end| end + 1),
            b'(' | b'[' => at = closing(bytes, at).map_or(bytes.len(), |end| end + 1),
            _ => at += 1,
        }
    }
    bytes.len()
}
