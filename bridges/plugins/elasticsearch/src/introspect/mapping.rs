//! Fields as a mapping declares them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Map, Value as Json};

use super::{Exact, Field, FormedDate, Kind, MAX_DEPTH, MAX_FIELDS, Vector};

type Fields = BTreeMap<String, Field>;

/// The fields of one index.
pub(super) fn fields(mappings: &Json) -> Fields {
    let mut fields = Fields::new();
    collect(mappings, "", 0, &mut fields);
    resolve_aliases(mappings, &mut fields);
    fields
}

/// Adds the fields of another index of the same target.
pub(super) fn unite(fields: &mut Fields, others: Fields) {
    for (name, field) in fields.iter_mut() {
        field.partial |= !others.contains_key(name);
    }
    for (name, other) in others {
        match fields.entry(name) {
            Entry::Vacant(place) => {
                place.insert(Field { partial: true, ..other });
            }
            Entry::Occupied(mut place) => {
                let field = place.get_mut();
                if *field != (Field { partial: field.partial, ..other.clone() }) {
                    let native = mixed(&field.native, &other.native);
                    *field = Field::document(&other.name, &native);
                }
            }
        }
    }
}

fn mixed(left: &str, right: &str) -> String {
    if left.split('|').any(|one| one == right) { left.to_owned() } else { format!("{left}|{right}") }
}

fn collect(object: &Json, prefix: &str, depth: usize, fields: &mut Fields) {
    let Some(properties) = object.get("properties").and_then(Json::as_object) else { return };
    for (name, property) in properties {
        if fields.len() >= MAX_FIELDS || depth > MAX_DEPTH {
            return;
        }
        let path = format!("{prefix}{name}");
        let field = field(&path, property);
        if field.kind == Kind::Object {
            collect(property, &format!("{path}."), depth + 1, fields);
        }
        fields.insert(path, field);
    }
}

/// A field that is another one under a second name has no value of its own in documents.
fn resolve_aliases(mappings: &Json, fields: &mut Fields) {
    let aliases: Vec<(String, String)> = fields
        .values()
        .filter(|field| field.native == "alias")
        .filter_map(|field| {
            let pointer = format!("/properties/{}/path", pointer_of(&field.name));
            Some((field.name.clone(), mappings.pointer(&pointer)?.as_str()?.to_owned()))
        })
        .collect();
    for (name, path) in aliases {
        if let Some(field) = fields.get(&path).cloned() {
            fields.insert(name.clone(), Field { name, ..field });
        }
    }
}

/// The place of a field in a mapping, as a JSON pointer (RFC 6901).
fn pointer_of(path: &str) -> String {
    let escaped = path.split('.').map(|part| part.replace('~', "~0").replace('/', "~1"));
    escaped.collect::<Vec<_>>().join("/properties/")
}

fn field(path: &str, property: &Json) -> Field {
    let native = property.get("type").and_then(Json::as_str).unwrap_or("object");
    if path.contains('*') {
        // In some places of a request that would be a pattern, and cannot be escaped.
        return Field::document(path, native);
    }
    let is = |key: &str, default: bool| flag(property, key).unwrap_or(default);
    let (kind, is_whole) = kind(native, property);
    let has_own_form = matches!(kind, Kind::Date | Kind::DateNanos) && has_format(property);
    if has_own_form && flag(property, "doc_values") == Some(false) {
        // What documents have can be read by the server alone, and the server does not tell it.
        return Field::document(path, native);
    }
    let base = Field {
        kind,
        has_null_value: property.get("null_value").is_some_and(|value| !value.is_null()),
        has_format: has_format(property),
        in_seconds: in_seconds(property),
        null_date: if has_own_form { null_date(property) } else { None },
        ..Field::document(path, native)
    };
    let (indexed, doc_values) = (is("index", true), is("doc_values", true));
    match kind {
        Kind::Text => Field {
            exact: whole_text(path, property),
            presence: (indexed || is("store", false)).then(|| path.to_owned()),
            is_plain_text: indexed
                && ["analyzer", "search_analyzer"].iter().all(|key| property.get(key).is_none()),
            ..base
        },
        Kind::Vector => {
            let dimensions = ["dims", "dimension"].iter().find_map(|key| property.get(key)?.as_u64());
            let similarity = ["/similarity", "/space_type", "/method/space_type"]
                .iter()
                .find_map(|place| property.pointer(place)?.as_str().map(str::to_owned));
            let vector = Vector { dimensions, similarity, indexed: is("index", true) };
            Field { vector: Some(vector), presence: Some(path.to_owned()), ..base }
        }
        Kind::Object | Kind::Flattened => Field { presence: Some(path.to_owned()), ..base },
        _ if is_whole => {
            let exact = Exact {
                field: path.to_owned(),
                indexed,
                sortable: doc_values,
                ignore_above: ignore_above(property),
                normalized: property.get("normalizer").is_some(),
            };
            let presence = (indexed || doc_values).then(|| path.to_owned());
            Field { exact: Some(exact), presence, ..base }
        }
        _ => base,
    }
}

/// What a type means, and whether whole values of it can be looked up.
fn kind(native: &str, property: &Json) -> (Kind, bool) {
    let integer = |min: i128, max: i128| (Kind::Integer { min, max }, true);
    match native {
        "keyword" | "wildcard" | "constant_keyword" => (Kind::Keyword, true),
        "text" | "match_only_text" | "annotated_text" | "search_as_you_type" => (Kind::Text, false),
        "byte" => integer(i8::MIN.into(), i8::MAX.into()),
        "short" => integer(i16::MIN.into(), i16::MAX.into()),
        "integer" => integer(i32::MIN.into(), i32::MAX.into()),
        "long" => integer(i64::MIN.into(), i64::MAX.into()),
        "unsigned_long" => integer(0, u64::MAX.into()),
        "double" => (Kind::Double, true),
        "float" | "half_float" | "scaled_float" => (Kind::Float, true),
        "boolean" => (Kind::Boolean, true),
        "date" => (Kind::Date, true),
        "date_nanos" => (Kind::DateNanos, true),
        "ip" => (Kind::Ip, true),
        "binary" => (Kind::Binary, false),
        "dense_vector" | "knn_vector" => (Kind::Vector, false),
        "flattened" | "flat_object" => (Kind::Flattened, false),
        "object" if is_open(property) => (Kind::Object, false),
        _ => (Kind::Document, false),
    }
}

/// An object whose fields are known; without any it is a document like others.
fn is_open(property: &Json) -> bool {
    let has_fields = property.get("properties").and_then(Json::as_object).is_some_and(|it| !it.is_empty());
    has_fields && flag(property, "enabled") != Some(false)
}

/// The field beside analysed text that holds whole values: `keyword` by custom, else the first that will do.
fn whole_text(path: &str, property: &Json) -> Option<Exact> {
    let fields = property.get("fields")?.as_object()?;
    let whole = |(name, field): (&String, &Json)| {
        let is_whole = matches!(field.get("type")?.as_str()?, "keyword" | "wildcard");
        let usable = is_whole && field.get("normalizer").is_none() && flag(field, "index") != Some(false);
        usable.then(|| Exact {
            field: format!("{path}.{name}"),
            indexed: true,
            sortable: flag(field, "doc_values").unwrap_or(true),
            ignore_above: ignore_above(field),
            normalized: false,
        })
    };
    let usual: Map<String, Json> =
        fields.get("keyword").map(|field| ("keyword".to_owned(), field.clone())).into_iter().collect();
    usual.iter().find_map(whole).or_else(|| fields.iter().find_map(whole))
}

fn ignore_above(property: &Json) -> Option<usize> {
    let number = property.get("ignore_above")?;
    let number = number.as_u64().or_else(|| number.as_str()?.parse().ok())?;
    // What newer servers write for no limit.
    usize::try_from(number).ok().filter(|number| *number < 1 << 30)
}

/// Whether dates may be written in another form than the usual one, or are not looked up by it.
fn has_format(property: &Json) -> bool {
    const READABLE: [&str; 6] = [
        "strict_date_optional_time",
        "strict_date_optional_time_nanos",
        "strict_date_time",
        "strict_date_time_no_millis",
        "strict_date",
        "epoch_millis",
    ];
    let Some(format) = property.get("format").and_then(Json::as_str) else { return false };
    let mut formats = format.split("||").map(str::trim);
    !(format.contains("strict_date_optional_time") && formats.all(|format| READABLE.contains(&format)))
}

/// What a mapping has in the place of null, in the mapping's own form.
fn null_date(property: &Json) -> Option<FormedDate> {
    let format = property.get("format")?.as_str()?.to_owned();
    Some(FormedDate { text: text_of(property.get("null_value")?)?, format })
}

/// A date as a mapping has it.
fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Whether documents are thrown away once they have been indexed.
pub(super) fn is_forgetful(mappings: &Json) -> bool {
    mappings.get("_source").and_then(|source| flag(source, "enabled")) == Some(false)
}

fn in_seconds(property: &Json) -> bool {
    let format = property.get("format").and_then(Json::as_str).unwrap_or_default();
    let mut formats = format.split("||").map(str::trim);
    let is_usual = |format: &str| format.starts_with("strict_date");
    format.contains("epoch_second") && formats.all(|format| format == "epoch_second" || is_usual(format))
}

/// Mappings write flags as such or as text.
fn flag(property: &Json, key: &str) -> Option<bool> {
    let value = property.get(key)?;
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}
