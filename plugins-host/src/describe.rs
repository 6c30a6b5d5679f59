//! What a plugin says of itself, checked, in the runner's own words.

use protocol::{
    AggregateCapabilities, Capabilities, Field, FieldGroup, FieldKind, Filter, Invalid, LogicalOp, Manifest,
    StringOp, Support, UnsupportedOperator,
};

use crate::bindings::bridge::Description;
use crate::bindings::types::{self, Aggregates, FieldType, Provides};
use crate::limits::{DESCRIPTION_TEXT, MANIFEST_FIELDS, PACKAGE_NAME, POOL_MAX};

/// The setting that every plugin has: instances of a source.
pub(crate) const POOL_MAX_KEY: &str = "poolMax";
/// The setting that stands for the others.
pub(crate) const URL_KEY: &str = "url";
/// Characters of a setting's key.
const KEY_LENGTH: usize = 64;

/// A description that makes sense.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// The plugin's own version.
    pub(crate) version: String,
    /// Name and version of the SDK.
    pub(crate) sdk: String,
    pub(crate) manifest: Manifest,
    /// The settings that name hosts.
    pub(crate) endpoints: Vec<String>,
    /// Settings of the plugin itself; `poolMax` may be the runner's alone.
    pub(crate) own_keys: Vec<String>,
    pub(crate) provides: Provides,
    pub(crate) capabilities: Capabilities,
    /// The operators that the plugin's own `query`, `count` and `aggregate` understand.
    own_operators: Capabilities,
    /// What the plugin's own `aggregate` can do.
    pub(crate) own_aggregates: Aggregates,
    /// What it can do together with the runner.
    pub(crate) aggregates: AggregateCapabilities,
}

impl Described {
    /// Checks a description.
    pub(crate) fn read(description: Description) -> Result<Self, Invalid> {
        let Description { version, sdk, manifest, provides, capabilities, aggregates } = description;
        bounded("version", &version, 1)?;
        bounded("sdk", &sdk, 0)?;
        let endpoints = manifest.fields.iter().filter(|field| field.endpoint);
        let mut endpoints: Vec<String> = endpoints.map(|field| field.key.clone()).collect();
        if manifest.url_placeholder.is_some() {
            endpoints.push(URL_KEY.to_owned());
        }
        let manifest = read_manifest(manifest).map_err(|invalid| invalid.within("manifest"))?;
        let mut own_keys: Vec<String> = manifest.fields.iter().map(|field| field.key.clone()).collect();
        if manifest.supports_url {
            own_keys.push(URL_KEY.to_owned());
        }
        Ok(Self {
            version,
            sdk,
            manifest: with_pool_max(manifest),
            endpoints,
            own_keys,
            provides,
            capabilities: read_capabilities(capabilities, provides),
            own_operators: operators(|flag| capabilities.contains(flag)),
            own_aggregates: aggregates,
            aggregates: read_aggregates(aggregates, provides),
        })
    }

    /// Whether the plugin's own jobs understand a filter; if not, which operator of it they do not.
    pub(crate) fn check_own(&self, filter: &Filter) -> Result<(), UnsupportedOperator> {
        filter.check(&self.own_operators)
    }

    /// Whether the plugin's own jobs understand a filter.
    pub(crate) fn own_filters(&self, filter: &Filter) -> bool {
        self.check_own(filter).is_ok()
    }
}

fn read_manifest(manifest: types::Manifest) -> Result<Manifest, Invalid> {
    if !is_package_name(&manifest.package_name) {
        return Err(Invalid::new("packageName", "a package name such as \"@acme/bridge-things\""));
    }
    bounded("displayName", &manifest.display_name, 1)?;
    optional("icon", manifest.icon.as_deref())?;
    optional("urlPlaceholder", manifest.url_placeholder.as_deref())?;
    if manifest.fields.len() > MANIFEST_FIELDS {
        return Err(Invalid::new("fields", format!("at most {MANIFEST_FIELDS} fields")));
    }
    let supports_url = manifest.url_placeholder.is_some();
    let mut fields: Vec<Field> = Vec::with_capacity(manifest.fields.len());
    for (index, field) in manifest.fields.into_iter().enumerate() {
        let within = |invalid: Invalid| invalid.within(&format!("fields[{index}]"));
        if fields.iter().any(|other| other.key == field.key) || (supports_url && field.key == URL_KEY) {
            return Err(within(Invalid::new(
                "key",
                format!("another key than {:?}, which is taken", field.key),
            )));
        }
        fields.push(read_field(field).map_err(within)?);
    }
    Ok(Manifest {
        package_name: manifest.package_name,
        display_name: manifest.display_name,
        icon: manifest.icon,
        supports_url,
        url_placeholder: manifest.url_placeholder,
        fields,
    })
}

fn read_field(field: types::Field) -> Result<Field, Invalid> {
    let first_is_small = field.key.starts_with(|first: char| first.is_ascii_lowercase());
    let plain = field.key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !(first_is_small && plain && field.key.len() <= KEY_LENGTH) {
        return Err(Invalid::new(
            "key",
            format!("lowerCamelCase of at most {KEY_LENGTH} letters and digits"),
        ));
    }
    bounded("label", &field.label, 1)?;
    optional("default", field.default.as_deref())?;
    optional("placeholder", field.placeholder.as_deref())?;
    optional("hint", field.hint.as_deref())?;
    Ok(Field {
        key: field.key,
        label: field.label,
        kind: match field.type_ {
            FieldType::String => FieldKind::String,
            FieldType::Password => FieldKind::Password,
            FieldType::Number => FieldKind::Number,
            FieldType::Boolean => FieldKind::Boolean,
        },
        required: field.required,
        default: field.default,
        placeholder: field.placeholder,
        hint: field.hint,
        group: if field.advanced { FieldGroup::Advanced } else { FieldGroup::Primary },
    })
}

fn with_pool_max(manifest: Manifest) -> Manifest {
    if manifest.field(POOL_MAX_KEY).is_some() {
        return manifest;
    }
    let pool =
        Field::new(POOL_MAX_KEY, "Pool Size", FieldKind::Number).default(&POOL_MAX.to_string()).advanced();
    manifest.with(pool)
}

/// A name as npm takes it: `name` or `@scope/name`, in lower case.
fn is_package_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
            })
    };
    let parts = match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    };
    parts && name.len() <= PACKAGE_NAME
}

/// What the plugin does not do the runner does, in memory: every operator is known then, and nothing is pushed down.
fn read_capabilities(own: types::Capabilities, provides: Provides) -> Capabilities {
    let query = provides.contains(Provides::QUERY);
    Capabilities {
        where_pushdown: query,
        order_by_pushdown: query,
        select_projection: query,
        changed_since: own.contains(types::Capabilities::CHANGED_SINCE),
        exact_count: !provides.contains(Provides::COUNT) || own.contains(types::Capabilities::EXACT_COUNT),
        search: true,
        similar: provides.contains(Provides::SIMILAR),
        ..operators(|flag| !query || own.contains(flag))
    }
}

/// Capabilities with these operators alone.
fn operators(has: impl Fn(types::Capabilities) -> bool) -> Capabilities {
    let logical = |op: &LogicalOp| {
        has(match op {
            LogicalOp::Or => types::Capabilities::OR,
            LogicalOp::And => types::Capabilities::AND,
            LogicalOp::Not => types::Capabilities::NOT,
        })
    };
    let text = |op: &StringOp| {
        has(match op {
            StringOp::Ilike => types::Capabilities::ILIKE,
            StringOp::Contains => types::Capabilities::CONTAINS,
            StringOp::StartsWith => types::Capabilities::STARTS_WITH,
            StringOp::EndsWith => types::Capabilities::ENDS_WITH,
            StringOp::Like => types::Capabilities::LIKE,
        })
    };
    Capabilities {
        where_logical_ops: LogicalOp::ALL.into_iter().filter(logical).collect(),
        where_string_ops: StringOp::ALL.into_iter().filter(text).collect(),
        ..Capabilities::full()
    }
}

/// What the plugin cannot aggregate the runner does from `read`.
fn read_aggregates(own: Aggregates, provides: Provides) -> AggregateCapabilities {
    let h3 = provides.contains(Provides::AGGREGATE) && own.contains(Aggregates::H3_BUCKET);
    AggregateCapabilities {
        geo_bucket: true,
        geohash_bucket: true,
        h3_bucket: h3,
        count_distinct: Support::Exact,
        ..AggregateCapabilities::full()
    }
}

fn optional(name: &str, text: Option<&str>) -> Result<(), Invalid> {
    text.map_or(Ok(()), |text| bounded(name, text, 0))
}

/// Texts of a description are shown to people and go into frames: they are short and of one line.
fn bounded(name: &str, text: &str, least: usize) -> Result<(), Invalid> {
    let fits = (least..=DESCRIPTION_TEXT).contains(&text.len());
    if fits && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Invalid::new(name, format!("{least} to {DESCRIPTION_TEXT} bytes of text without control characters")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A setting of a plugin.
    pub(crate) fn field(key: &str, kind: FieldType) -> types::Field {
        types::Field {
            key: key.to_owned(),
            label: "A label".to_owned(),
            type_: kind,
            required: false,
            default: None,
            placeholder: None,
            hint: None,
            advanced: false,
            endpoint: false,
        }
    }

    /// A plugin with these settings that only reads.
    pub(crate) fn description(fields: Vec<types::Field>) -> Description {
        Description {
            version: "0.1.0".to_owned(),
            sdk: "rust 0.1.0".to_owned(),
            manifest: types::Manifest {
                package_name: "@acme/bridge-things".to_owned(),
                display_name: "Things".to_owned(),
                icon: None,
                url_placeholder: None,
                fields,
            },
            provides: Provides::empty(),
            capabilities: types::Capabilities::empty(),
            aggregates: Aggregates::empty(),
        }
    }

    fn refusal(change: impl FnOnce(&mut Description)) -> String {
        let mut description = description(vec![field("host", FieldType::String)]);
        change(&mut description);
        Described::read(description).map(|_| ()).unwrap_err().field
    }

    #[test]
    fn names_are_those_of_packages() {
        for name in ["things", "@acme/bridge-things", "@a.b_c/d-1", "0"] {
            assert!(is_package_name(name), "{name}");
        }
        let long = format!("@acme/{}", "x".repeat(130));
        for name in [
            "",
            "@acme",
            "@/x",
            "@acme/",
            "Acme",
            "a/b",
            "../x",
            "@acme/../x",
            "a b",
            "ä",
            ".x",
            "@acme/b/c",
            &long,
        ] {
            assert!(!is_package_name(name), "{name}");
        }
    }

    #[test]
    fn texts_are_bounded_and_keys_are_told_apart() {
        assert_eq!(refusal(|d| d.version = String::new()), "version");
        assert_eq!(refusal(|d| d.sdk = "x".repeat(2_000)), "sdk");
        assert_eq!(refusal(|d| d.manifest.display_name = "a\u{1b}[2J".to_owned()), "manifest.displayName");
        assert_eq!(
            refusal(|d| d.manifest.fields.push(field("host", FieldType::Number))),
            "manifest.fields[1].key"
        );
        assert_eq!(
            refusal(|d| d.manifest.fields.push(field("a_b", FieldType::Number))),
            "manifest.fields[1].key"
        );
        let both = |d: &mut Description| {
            d.manifest.url_placeholder = Some("https://host".to_owned());
            d.manifest.fields.push(field("url", FieldType::String));
        };
        assert_eq!(refusal(both), "manifest.fields[1].key");
    }

    #[test]
    fn a_plugin_that_only_reads_can_do_everything_that_the_runner_can() {
        let described = Described::read(description(Vec::new())).unwrap();
        let capabilities = &described.capabilities;
        assert_eq!(capabilities.where_logical_ops, LogicalOp::ALL);
        assert_eq!(capabilities.where_string_ops, StringOp::ALL);
        assert!(capabilities.exact_count && capabilities.search && capabilities.limit_pushdown);
        assert!(!capabilities.where_pushdown && !capabilities.changed_since && !capabilities.similar);
        assert!(described.aggregates.geohash_bucket && !described.aggregates.h3_bucket);
    }

    #[test]
    fn a_plugin_that_queries_has_the_operators_that_it_names() {
        let mut description = description(Vec::new());
        description.provides = Provides::QUERY | Provides::COUNT;
        description.capabilities = types::Capabilities::OR | types::Capabilities::CONTAINS;
        let capabilities = Described::read(description).unwrap().capabilities;
        assert_eq!(capabilities.where_logical_ops, [LogicalOp::Or]);
        assert_eq!(capabilities.where_string_ops, [StringOp::Contains]);
        assert!(capabilities.where_pushdown && !capabilities.exact_count);
    }
}
