//! Variables of one source as the fields of its bridge.
//!
//! The bridge's manifest says what a field is, so a password of digits stays text and `no` becomes false. Where there is
//! no manifest, digits become a number only if the number's text is the same again.

use std::path::Path;

use heck::{ToLowerCamelCase, ToShoutySnakeCase};
use protocol::{FieldGroup, FieldKind, Manifest, SourceConfig};
use runtime::settings::{Source, parse_flag, read_secret_file};
use serde_json::{Map, Number, Value};

use crate::environment::Variable;

/// Names that the bridges of this family take for one another.
const ALIASES: [[&str; 2]; 4] =
    [["user", "username"], ["password", "pass"], ["database", "db"], [URL, "connectionString"]];
const URL: &str = "url";
const FILE: &str = "_FILE";
/// The largest integer that every JSON reader takes exactly: 2^53 - 1. A larger one stays text.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// What the variables of a source came to.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) config: SourceConfig,
    pub(super) warnings: Vec<String>,
    /// Variables that name no field.
    pub(super) ignored: Vec<String>,
    pub(super) mistakes: Vec<String>,
}

/// A field of a bridge that a variable sets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    field: String,
    kind: Kind,
    /// Whether the variable used the field's own name and not that of an alias.
    exact: bool,
}

/// What a field's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Url,
    Typed(FieldKind),
    /// The bridge has no manifest to say.
    Untyped,
}

/// A variable with the field that it sets.
#[derive(Debug)]
struct Setting<'v> {
    variable: &'v str,
    slot: Slot,
    from_file: bool,
}

/// Reads `variables` for a bridge with that manifest.
pub(super) fn read(variables: &[Variable], manifest: &Manifest, environment: &dyn Source) -> Reading {
    let mut reading = Reading::default();
    let mut settings = Vec::new();
    for variable in variables {
        match setting(variable, manifest) {
            Some(setting) => settings.push(setting),
            None => reading.ignored.push(variable.name.clone()),
        }
    }
    let settings = one_for_each_field(settings, &mut reading);
    let settings = url_wins(settings, manifest, &mut reading);
    let mut fields = Map::new();
    for setting in settings {
        if let Some(value) = value(&setting, environment, &mut reading) {
            insert(&mut fields, &setting.slot.field, value);
        }
    }
    reading.config = SourceConfig::new(fields);
    reading
}

/// A field's name as a variable's key.
pub(super) fn upper(field: &str) -> String {
    field.to_shouty_snake_case()
}

fn setting<'v>(variable: &'v Variable, manifest: &Manifest) -> Option<Setting<'v>> {
    let make = |slot, from_file| Setting { variable: &variable.name, slot, from_file };
    if let Some(slot) = slot(&variable.key, manifest).filter(|slot| slot.kind != Kind::Untyped) {
        return Some(make(slot, false));
    }
    match variable.key.strip_suffix(FILE) {
        Some(key) => slot(key, manifest).map(|slot| make(slot, true)),
        None => slot(&variable.key, manifest).map(|slot| make(slot, false)),
    }
}

fn slot(key: &str, manifest: &Manifest) -> Option<Slot> {
    if !is_well_formed(key) {
        return None;
    }
    let camel = key.to_lower_camel_case();
    let own = manifest.fields.iter().find(|field| field.key == camel || upper(&field.key) == key);
    if let Some(field) = own {
        return Some(Slot { field: field.key.clone(), kind: kind_of(&field.key, field.kind), exact: true });
    }
    if manifest.supports_url && names_of(URL).contains(&camel.as_str()) {
        return Some(Slot { field: URL.to_owned(), kind: Kind::Url, exact: camel == URL });
    }
    let aliased = names_of(&camel).iter().find_map(|name| manifest.field(name));
    if let Some(field) = aliased {
        return Some(Slot { field: field.key.clone(), kind: kind_of(&field.key, field.kind), exact: false });
    }
    let has_manifest = manifest.supports_url || !manifest.fields.is_empty();
    let untyped =
        || Slot { kind: if camel == URL { Kind::Url } else { Kind::Untyped }, field: camel, exact: true };
    (!has_manifest).then(untyped)
}

/// Capitals, digits and single underscores between them.
fn is_well_formed(key: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !key.is_empty()
        && key.bytes().all(fits)
        && !key.starts_with('_')
        && !key.ends_with('_')
        && !key.contains("__")
}

fn names_of(name: &str) -> &'static [&'static str] {
    ALIASES.iter().find(|names| names.contains(&name)).map_or(&[], |names| names.as_slice())
}

fn kind_of(field: &str, kind: FieldKind) -> Kind {
    if field == URL { Kind::Url } else { Kind::Typed(kind) }
}

/// Several variables may name one field: its own name wins over an alias; a value beside its file is a mistake.
fn one_for_each_field<'v>(settings: Vec<Setting<'v>>, reading: &mut Reading) -> Vec<Setting<'v>> {
    let mut kept: Vec<Setting<'v>> = Vec::new();
    for setting in settings {
        let Some(other) = kept.iter_mut().find(|other| other.slot.field == setting.slot.field) else {
            kept.push(setting);
            continue;
        };
        if other.slot.exact == setting.slot.exact {
            let (one, two) = (other.variable, setting.variable);
            reading.mistakes.push(format!("{one} and {two} are both set; set only one of them"));
            continue;
        }
        let loser = if other.slot.exact { setting.variable } else { other.variable };
        reading.warnings.push(format!("{loser} is ignored: the same field is set under its own name"));
        if setting.slot.exact {
            *other = setting;
        }
    }
    kept
}

/// A URL is a whole identity. Fields beside it that say the same would be halves of another one, so they are left out;
/// what only completes it stays: certificates, the size of the pool, MongoDB's database.
fn url_wins<'v>(settings: Vec<Setting<'v>>, manifest: &Manifest, reading: &mut Reading) -> Vec<Setting<'v>> {
    let has_url = settings.iter().any(|setting| setting.slot.kind == Kind::Url);
    if !manifest.supports_url || !has_url {
        return settings;
    }
    let (kept, others): (Vec<_>, Vec<_>) =
        settings.into_iter().partition(|setting| !stands_for_the_url(setting, manifest));
    let ignored = |setting: &Setting<'_>| format!("{} is ignored: the source's URL is set", setting.variable);
    reading.warnings.extend(others.iter().map(ignored));
    kept
}

/// Whether the setting is one of the fields that may be given instead of a URL, of a bridge that can do without one: what
/// a form shows at once, and whom the database knows, wherever a form shows it.
fn stands_for_the_url(setting: &Setting<'_>, manifest: &Manifest) -> bool {
    let name = setting.slot.field.as_str();
    let does_without = manifest.field("host").is_some();
    let primary = manifest.field(name).is_none_or(|field| field.group == FieldGroup::Primary);
    setting.slot.kind != Kind::Url && does_without && (primary || !names_of(name).is_empty())
}

fn value(setting: &Setting<'_>, environment: &dyn Source, reading: &mut Reading) -> Option<Value> {
    let text = text(setting, environment, reading)?;
    match setting.slot.kind {
        Kind::Url => {
            if text.trim() != text {
                reading.warnings.push(format!("{} begins or ends with a blank", setting.variable));
            }
            Some(Value::String(text))
        }
        Kind::Typed(FieldKind::String | FieldKind::Password) => {
            Some(Value::String(unescape_pem(&setting.slot.field, text)))
        }
        Kind::Typed(FieldKind::Boolean) => {
            let flag = parse_flag(&text);
            if flag.is_none() {
                reading.mistakes.push(format!("{}: expected true or false", setting.variable));
            }
            flag.map(Value::Bool)
        }
        Kind::Typed(FieldKind::Number) | Kind::Untyped => Some(number_or_text(text)),
    }
}

fn text(setting: &Setting<'_>, environment: &dyn Source, reading: &mut Reading) -> Option<String> {
    let Some(text) = environment.get(setting.variable) else {
        reading.mistakes.push(format!("{}: expected text in UTF-8", setting.variable));
        return None;
    };
    if !setting.from_file {
        return Some(text);
    }
    match read_secret_file(Path::new(&text)) {
        Ok(file) => {
            if file.exposed {
                let name = setting.variable;
                reading
                    .warnings
                    .push(format!("{name}: the file can be read by other users; set its mode to 0600"));
            }
            Some(file.secret.expose().to_owned())
        }
        Err(error) => {
            reading.mistakes.push(format!("{}: {error}", setting.variable));
            None
        }
    }
}

/// A number if its digits are how that number is written, so that `007` and an id of 30 digits keep every digit.
fn number_or_text(text: String) -> Value {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u64>() {
        Ok(number) if digits && canonical && number <= MAX_SAFE_INTEGER => {
            Value::Number(Number::from(number))
        }
        _ => Value::String(text),
    }
}

/// A PEM text in one line, as variables often hold it, gets its line breaks back. Other fields keep every character.
fn unescape_pem(field: &str, text: String) -> String {
    let field = field.to_ascii_lowercase();
    let may_be_pem = ["key", "cert", "ca", "pem"].iter().any(|part| field.contains(part));
    if may_be_pem && text.starts_with("-----BEGIN ") && !text.contains('\n') {
        return text.replace("\\n", "\n");
    }
    text
}

/// Dots in a field's name reach into objects: `pool.max`.
fn insert(fields: &mut Map<String, Value>, field: &str, value: Value) {
    match field.split_once('.') {
        None => {
            fields.insert(field.to_owned(), value);
        }
        Some((outer, inner)) => {
            let nested = fields.entry(outer.to_owned()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(nested) = nested {
                insert(nested, inner, value);
            }
        }
    }
}
