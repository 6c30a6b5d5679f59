//! What a push changes, for people and programs. No value of a source's settings is in it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Node;

/// How many differences of one thing are listed.
const MAX_DETAILS: usize = 50;
/// Characters of a value that a difference shows.
const MAX_SHOWN: usize = 80;

/// What a push changes. Empty when the config is in place already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diff {
    /// The sources that differ.
    pub sources: Vec<DiffEntry>,
    /// The lenses that differ.
    pub lenses: Vec<DiffEntry>,
}

/// One source or lens that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DiffEntry {
    /// Its name.
    pub name: String,
    /// How it differs.
    pub change: ChangeKind,
    /// For something that changed: in which parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

/// How something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is only in the config.
    Added,
    /// It is in both and not the same.
    Changed,
    /// It is only in place.
    Removed,
}

impl Diff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.lenses.is_empty()
    }
}

impl DiffEntry {
    pub(super) fn new(name: &str, change: ChangeKind, details: Vec<String>) -> Self {
        Self { name: name.to_owned(), change, details }
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing to change");
        }
        for (what, entries) in [("source", &self.sources), ("lens", &self.lenses)] {
            for entry in entries {
                let sign = match entry.change {
                    ChangeKind::Added => '+',
                    ChangeKind::Changed => '~',
                    ChangeKind::Removed => '-',
                };
                writeln!(f, "{sign} {what} {}", entry.name)?;
                entry.details.iter().try_for_each(|detail| writeln!(f, "    {detail}"))?;
            }
        }
        Ok(())
    }
}

/// Where two documents differ, as `fields.price.type: "text" → "number"`.
pub(super) fn differences(before: &Node, after: &Node) -> Vec<String> {
    let mut found = Vec::new();
    walk("", Some(before), Some(after), &mut found);
    if found.is_empty() && before != after {
        found.push("the order of the fields".to_owned());
    }
    if found.len() > MAX_DETAILS {
        let more = found.len() - MAX_DETAILS;
        found.truncate(MAX_DETAILS);
        found.push(format!("and {more} more"));
    }
    found
}

fn walk(path: &str, before: Option<&Node>, after: Option<&Node>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(Node::Map(left)), Some(Node::Map(right))) => {
            let added = right.iter().filter(|(key, _)| !left.iter().any(|(other, _)| other == key));
            for (key, _) in left.iter().chain(added) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(
                    &path,
                    before.and_then(|node| node.get(key)),
                    after.and_then(|node| node.get(key)),
                    found,
                );
            }
        }
        (before, after) if before == after => {}
        (None, Some(after)) => found.push(format!("{path}: added {}", shown(after))),
        (Some(before), None) => found.push(format!("{path}: removed {}", shown(before))),
        (Some(before), Some(after)) => found.push(format!("{path}: {} → {}", shown(before), shown(after))),
        (None, None) => {}
    }
}

fn shown(node: &Node) -> String {
    let text = node.to_json().to_string();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, parse};

    fn node(json: &str) -> Node {
        parse(json, Format::Json).unwrap()
    }

    #[test]
    fn differences_are_named_by_their_paths() {
        let before = node(r#"{"table":"a","fields":{"x":{"type":"text"},"y":{"type":"text"}}}"#);
        let after = node(r#"{"table":"b","fields":{"x":{"type":"number"},"z":{"type":"text"}}}"#);
        assert_eq!(
            differences(&before, &after),
            [
                r#"table: "a" → "b""#,
                r#"fields.x.type: "text" → "number""#,
                r#"fields.y: removed {"type":"text"}"#,
                r#"fields.z: added {"type":"text"}"#,
            ]
        );
        assert!(differences(&before, &before).is_empty());
    }

    #[test]
    fn another_order_is_a_difference_too() {
        let before = node(r#"{"fields":{"x":1,"y":2}}"#);
        let after = node(r#"{"fields":{"y":2,"x":1}}"#);
        assert_eq!(differences(&before, &after), ["the order of the fields"]);
    }

    #[test]
    fn a_diff_reads_like_a_patch() {
        let diff = Diff {
            sources: vec![DiffEntry::new("main", ChangeKind::Added, Vec::new())],
            lenses: vec![DiffEntry::new("old", ChangeKind::Removed, Vec::new())],
        };
        assert_eq!(diff.to_string(), "+ source main\n- lens old\n");
        assert_eq!(Diff::default().to_string(), "nothing to change\n");
    }
}
