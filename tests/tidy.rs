//! Style as a test: who may use whom, calls that have no place here, and words that should not stay.
//!
//! Each finding is one line, `path:line: what: what to do instead`. Test code is exempt: files with `test` in their
//! path, items behind `#[cfg(test)]`, and the contract suites of the ports.
//!
//! - `tidy/source.rs`: a file without its comments, texts and tests, and the paths it names
//! - `tidy/edges.rs`: the rings of docs/ARCHITECTURE.md
//! - `tidy/calls.rs`: banned calls and words
//! - `tidy/planted.rs`: the checker finds what it is meant to find

#[path = "tidy/calls.rs"]
mod calls;
#[path = "tidy/edges.rs"]
mod edges;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Folders that are not ours to check.
const SKIPPED: [&str; 5] = ["target", "node_modules", "data", ".git", "testdata"];
/// Files of these kinds are read for words that should not stay.
const TEXT: [&str; 9] = ["rs", "py", "mjs", "js", "sql", "toml", "md", "html", "sh"];

/// Something that should be otherwise.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    what: String,
    instead: &'static str,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, instead: &'static str) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), instead }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, with their paths from the root, sorted.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    gather(&root().join(folder), folder, &mut found);
    found.sort();
    found
}

fn gather(folder: &Path, name: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let path = if name.is_empty() { file_name.clone() } else { format!("{name}/{file_name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !SKIPPED.contains(&file_name.as_str()) => gather(&entry.path(), &path, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// The Rust sources of the workspace that rules apply to.
fn sources() -> Vec<Source> {
    let paths = ["src", "actors/src", "loadtest/src", "benches"].into_iter().flat_map(files);
    let rust = paths.filter(|path| extension(path) == "rs" && !source::is_test_code(path));
    rust.map(|path| Source::new(&path, &read(&path))).collect()
}

fn assert_none(mut findings: Vec<Finding>) {
    findings.sort();
    let lines: Vec<String> =
        findings.iter().map(|f| format!("{}:{}: {}: {}", f.path, f.line, f.what, f.instead)).collect();
    assert!(findings.is_empty(), "\n{}\n{} findings", lines.join("\n"), findings.len());
}

#[test]
fn modules_use_only_what_they_may() {
    let sources = sources();
    assert!(sources.len() > 100, "the sources were not found");
    assert_none(sources.iter().flat_map(edges::check).collect());
}

#[test]
fn the_inside_depends_on_no_client_crate() {
    assert_none(edges::check_manifest("actors/Cargo.toml", &read("actors/Cargo.toml")));
}

#[test]
fn nothing_banned_is_called() {
    assert_none(sources().iter().flat_map(calls::check).collect());
}

#[test]
fn nothing_is_left_to_be_done() {
    let paths = files("").into_iter().filter(|path| TEXT.contains(&extension(path)) || path.starts_with("scripts/"));
    assert_none(paths.flat_map(|path| calls::check_words(&path, &read(&path))).collect());
}

#[test]
fn documents_name_files_that_exist() {
    let documents = [
        "README.md",
        "README.zh-CN.md",
        "docs/ARCHITECTURE.md",
        "docs/api.md",
        "docs/course-mapping.md",
        "docs/configuration.md",
    ];
    let documents = documents.map(str::to_owned).into_iter().chain(files("docs/decisions"));
    let exists = |path: &str| root().join(path).exists();
    assert_none(documents.flat_map(|path| calls::check_document(&path, &read(&path), exists)).collect());
}
