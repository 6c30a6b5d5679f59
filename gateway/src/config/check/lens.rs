//! The lenses of a config.

use super::path::Path;
use super::{Checker, Node};
use crate::lens::{FieldKind, Grant, Grants, Lens, LensField, Transform};
use crate::model::SourceId;

const LENS: [&str; 7] =
    ["source", "table", "fields", "primaryKey", "grants", "changeTrackingColumn", "relations"];
const LENS_LATER: [&str; 6] =
    ["relations", "feeds", "analyses", "facets", "syncInterval", "smartSyncInterval"];
const FIELD: [&str; 7] = ["type", "from", "transform", "primaryKey", "searchable", "values", "array"];
const GRANTS_LATER: [&str; 5] = ["search", "similar", "stream", "feed", "analyze"];
/// Longest name of a table or column that any of the databases has, with room for a schema.
const MAX_TARGET: usize = 1_024;
const MAX_FIELD: usize = 256;

/// A lens without a mistake, whose source is known by name only.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredLens {
    /// Its name.
    pub name: String,
    /// The name of its source.
    pub source: String,
    table: String,
    fields: Vec<LensField>,
    primary_key: Vec<String>,
    change_tracking_column: Option<String>,
    grants: Grants,
    /// As it was pushed.
    pub declared: Node,
}

impl DeclaredLens {
    /// The lens on the source of this id.
    pub fn into_lens(self, source: SourceId) -> Lens {
        Lens {
            name: self.name,
            source,
            table: self.table,
            fields: self.fields,
            primary_key: self.primary_key,
            change_tracking_column: self.change_tracking_column,
            grants: self.grants,
            declared: self.declared,
        }
    }
}

/// A lens by itself; `None` if there is a mistake in it.
pub(in crate::config) fn lens(name: &str, declared: Node) -> Option<DeclaredLens> {
    let mut checker = Checker::default();
    let lens = checker.lens(&Path::root(), name, &declared);
    lens.filter(|_| checker.mistakes.is_empty())
}

impl Checker {
    pub(super) fn lens(&mut self, path: &Path, name: &str, node: &Node) -> Option<DeclaredLens> {
        self.name(path, name);
        let entries = self.map(path, node)?;
        for (key, _) in entries {
            match key.as_str() {
                "source"
                | "table"
                | "fields"
                | "primaryKey"
                | "grants"
                | "rules"
                | "changeTrackingColumn" => {}
                later if LENS_LATER.contains(&later) => self.later(&path.key(key)),
                _ => self.unknown(path, key, &LENS),
            }
        }
        let source = self.required_text(path, node, "source", "the name of a source");
        let table = self.required_text(path, node, "table", "the name of a table, collection or prefix");
        let fields = self.fields(path, node);
        let primary_key = self.primary_key(path, node, &fields);
        let tracking = node.get("changeTrackingColumn");
        let change_tracking_column =
            tracking.and_then(|column| self.target(&path.key("changeTrackingColumn"), column));
        Some(DeclaredLens {
            name: name.to_owned(),
            source: source?,
            table: table?,
            change_tracking_column: change_tracking_column.map(|name| column_of(&fields, name)),
            fields,
            primary_key,
            grants: self.grants(path, node),
            declared: node.clone(),
        })
    }

    fn fields(&mut self, path: &Path, lens: &Node) -> Vec<LensField> {
        let path = path.key("fields");
        let Some(node) = lens.get("fields") else {
            self.mistake(&path, "is required: an object of fields");
            return Vec::new();
        };
        let Some(entries) = self.map(&path, node) else {
            return Vec::new();
        };
        if entries.is_empty() {
            self.mistake(&path, "expected at least one field");
        }
        entries.iter().filter_map(|(name, field)| self.field(&path.key(name), name, field)).collect()
    }

    fn field(&mut self, path: &Path, name: &str, node: &Node) -> Option<LensField> {
        if name.is_empty()
            || name.len() > MAX_FIELD
            || name.starts_with('$')
            || name.chars().any(char::is_control)
        {
            self.mistake(
                path,
                format!("expected a field name of 1 to {MAX_FIELD} bytes that does not begin with $"),
            );
        }
        let entries = self.map(path, node)?;
        for (key, _) in entries {
            if !FIELD.contains(&key.as_str()) {
                self.unknown(path, key, &FIELD);
            }
        }
        let kind = self.kind(path, node);
        let from = node.get("from").and_then(|column| self.target(&path.key("from"), column));
        self.searchable(path, node);
        Some(LensField {
            name: name.to_owned(),
            column: from.unwrap_or(name).to_owned(),
            array: self.flag(path, node, "array"),
            values: self.values(path, node, kind),
            transforms: self.transforms(&path.key("transform"), node.get("transform")),
            primary_key: self.flag(path, node, "primaryKey"),
            kind: kind?,
        })
    }

    fn kind(&mut self, path: &Path, field: &Node) -> Option<FieldKind> {
        let kind = field.get("type").and_then(Node::text).and_then(FieldKind::parse);
        if kind.is_none() {
            let words = FieldKind::ALL.map(FieldKind::as_str).join(", ");
            self.mistake(&path.key("type"), format!("expected one of {words}"));
        }
        kind
    }

    fn values(&mut self, path: &Path, field: &Node, kind: Option<FieldKind>) -> Vec<String> {
        let Some(node) = field.get("values") else { return Vec::new() };
        let path = path.key("values");
        if kind.is_some_and(|kind| kind != FieldKind::Enum) {
            self.mistake(&path, "only fields of type enum have values");
        }
        let words: Option<Vec<String>> =
            node.items().and_then(|items| items.iter().map(|item| item.text().map(str::to_owned)).collect());
        if words.is_none() {
            self.mistake(&path, "expected a list of words");
        }
        words.unwrap_or_default()
    }

    fn searchable(&mut self, path: &Path, field: &Node) {
        let Some(node) = field.get("searchable") else { return };
        let weighted = node.get("weight").is_some_and(|weight| matches!(weight, Node::Number(_)));
        if node.bool().is_none() && !weighted {
            self.mistake(&path.key("searchable"), "expected true, false or {weight}");
        }
    }

    /// One transform or a chain of them; each is a word, or an object with that word as its `type`.
    fn transforms(&mut self, path: &Path, node: Option<&Node>) -> Vec<Transform> {
        match node {
            None => Vec::new(),
            Some(Node::List(chain)) => chain
                .iter()
                .enumerate()
                .filter_map(|(index, link)| self.transform(&path.index(index), link))
                .collect(),
            Some(single) => self.transform(path, single).into_iter().collect(),
        }
    }

    fn transform(&mut self, path: &Path, node: &Node) -> Option<Transform> {
        let options = node.entries().unwrap_or_default().iter().filter(|(key, _)| key != "type");
        for (key, _) in options {
            self.mistake(&path.key(key), "this transform has no options");
        }
        let word = node.text().or_else(|| node.get("type").and_then(Node::text));
        let transform = word.and_then(Transform::parse);
        if transform.is_none() {
            let words = Transform::ALL.map(Transform::as_str).join(", ");
            self.mistake(path, format!("expected one of {words}; others are not served by this version"));
        }
        transform
    }

    /// The columns of the key: those of the fields that `primaryKey` names, or else of the fields that are marked.
    fn primary_key(&mut self, path: &Path, lens: &Node, fields: &[LensField]) -> Vec<String> {
        let marked: Vec<&LensField> = fields.iter().filter(|field| field.primary_key).collect();
        let columns = |fields: &[&LensField]| fields.iter().map(|field| field.column.clone()).collect();
        let path = path.key("primaryKey");
        let Some(node) = lens.get("primaryKey") else { return columns(&marked) };
        let names: Option<Vec<&str>> = match node {
            Node::Text(name) => Some(vec![name.as_str()]),
            Node::List(names) if !names.is_empty() => names.iter().map(Node::text).collect(),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => None,
        };
        let Some(names) = names else {
            self.mistake(&path, "expected the name of a field, or a list of them");
            return Vec::new();
        };
        let mut named = Vec::new();
        for name in names {
            match fields.iter().find(|field| field.name == name) {
                Some(field) if named.contains(&field) => self.mistake(&path, "names a field twice"),
                Some(field) => named.push(field),
                // A field with a mistake of its own is not in the list; that mistake is enough.
                None if lens.get("fields").is_some_and(|fields| fields.get(name).is_some()) => {}
                None => self.mistake(&path, "there is no field of that name"),
            }
        }
        if marked.iter().any(|field| !named.contains(field)) {
            self.mistake(&path, "leaves out a field that is marked with primaryKey");
        }
        columns(&named)
    }

    fn grants(&mut self, path: &Path, lens: &Node) -> Grants {
        let (key, node) = match (lens.get("grants"), lens.get("rules")) {
            (Some(_), Some(_)) => {
                self.mistake(
                    &path.key("rules"),
                    "is the older name of grants; only one of them can be there",
                );
                return Grants::default();
            }
            (Some(grants), None) => ("grants", grants),
            (None, Some(rules)) => ("rules", rules),
            (None, None) => return Grants::default(),
        };
        let path = path.key(key);
        for (key, _) in self.map(&path, node).unwrap_or_default() {
            match key.as_str() {
                "query" => {}
                later if GRANTS_LATER.contains(&later) => self.mistake(
                    &path.key(key),
                    "this version enforces grants for query only and refuses others; remove it",
                ),
                _ => self.unknown(&path, key, &["query"]),
            }
        }
        Grants { query: node.get("query").and_then(|grant| self.grant(&path.key("query"), grant)) }
    }

    fn grant(&mut self, path: &Path, node: &Node) -> Option<Grant> {
        if node.text() == Some("public") {
            return Some(Grant::Public);
        }
        let message = "this version enforces \"public\" only and refuses other rules; without a rule, only secret keys \
                       may query";
        self.mistake(path, message);
        None
    }

    fn required_text(&mut self, path: &Path, node: &Node, key: &str, what: &str) -> Option<String> {
        match node.get(key) {
            Some(value) => self.target(&path.key(key), value).map(str::to_owned),
            None => {
                self.mistake(&path.key(key), format!("is required: {what}"));
                None
            }
        }
    }

    /// The name of something in a database.
    fn target<'n>(&mut self, path: &Path, node: &'n Node) -> Option<&'n str> {
        let fits =
            |text: &&str| !text.is_empty() && text.len() <= MAX_TARGET && !text.chars().any(char::is_control);
        let text = node.text().filter(fits);
        if text.is_none() {
            self.mistake(
                path,
                format!("expected text of 1 to {MAX_TARGET} bytes without control characters"),
            );
        }
        text
    }

    fn flag(&mut self, path: &Path, node: &Node, key: &str) -> bool {
        let Some(value) = node.get(key) else { return false };
        if value.bool().is_none() {
            self.mistake(&path.key(key), "expected true or false");
        }
        value.bool().unwrap_or(false)
    }
}

/// The column of the field called `name`; what is not a field is a column already.
fn column_of(fields: &[LensField], name: &str) -> String {
    fields.iter().find(|field| field.name == name).map_or(name, |field| &field.column).to_owned()
}
