//! What is found out about a component when it is first loaded, as it lies in the cache beside the compiled one.
//!
//! A plugin describes itself, and the interface says that it always does so in the same words: a component of the same bytes
//! is not started again to be asked. What it said is kept as it said it and goes through the same checks at each load, so that
//! a kept description is believed as much as a spoken one.

use serde::{Deserialize, Serialize};

use crate::bindings::bridge::Description;
use crate::bindings::types::{self, Aggregates, Capabilities, FieldType, Provides};

/// What is known about a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// SHA-256 of its file, in hex.
    pub(crate) hash: String,
    version: String,
    sdk: String,
    package_name: String,
    display_name: String,
    icon: Option<String>,
    url_placeholder: Option<String>,
    fields: Vec<Field>,
    /// Bits in the order of the interface, as of all flags here.
    provides: u32,
    capabilities: u32,
    aggregates: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    key: String,
    label: String,
    kind: Kind,
    required: bool,
    default: Option<String>,
    placeholder: Option<String>,
    hint: Option<String>,
    advanced: bool,
    endpoint: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    String,
    Password,
    Number,
    Boolean,
}

impl About {
    /// What a component of this hash says of itself.
    pub(crate) fn new(hash: String, description: &Description) -> Self {
        let Description { version, sdk, manifest, provides, capabilities, aggregates } = description;
        Self {
            hash,
            version: version.clone(),
            sdk: sdk.clone(),
            package_name: manifest.package_name.clone(),
            display_name: manifest.display_name.clone(),
            icon: manifest.icon.clone(),
            url_placeholder: manifest.url_placeholder.clone(),
            fields: manifest.fields.iter().map(Field::new).collect(),
            provides: bits(&PROVIDES, |flag| provides.contains(flag)),
            capabilities: bits(&CAPABILITIES, |flag| capabilities.contains(flag)),
            aggregates: bits(&AGGREGATES, |flag| aggregates.contains(flag)),
        }
    }

    /// What it said.
    pub(crate) fn into_description(self) -> Description {
        Description {
            version: self.version,
            sdk: self.sdk,
            manifest: types::Manifest {
                package_name: self.package_name,
                display_name: self.display_name,
                icon: self.icon,
                url_placeholder: self.url_placeholder,
                fields: self.fields.into_iter().map(Field::into_field).collect(),
            },
            provides: flags(&PROVIDES, self.provides).fold(Provides::empty(), |all, flag| all | flag),
            capabilities: flags(&CAPABILITIES, self.capabilities)
                .fold(Capabilities::empty(), |all, flag| all | flag),
            aggregates: flags(&AGGREGATES, self.aggregates).fold(Aggregates::empty(), |all, flag| all | flag),
        }
    }
}

impl Field {
    fn new(field: &types::Field) -> Self {
        Self {
            key: field.key.clone(),
            label: field.label.clone(),
            kind: match field.type_ {
                FieldType::String => Kind::String,
                FieldType::Password => Kind::Password,
                FieldType::Number => Kind::Number,
                FieldType::Boolean => Kind::Boolean,
            },
            required: field.required,
            default: field.default.clone(),
            placeholder: field.placeholder.clone(),
            hint: field.hint.clone(),
            advanced: field.advanced,
            endpoint: field.endpoint,
        }
    }

    fn into_field(self) -> types::Field {
        types::Field {
            key: self.key,
            label: self.label,
            type_: match self.kind {
                Kind::String => FieldType::String,
                Kind::Password => FieldType::Password,
                Kind::Number => FieldType::Number,
                Kind::Boolean => FieldType::Boolean,
            },
            required: self.required,
            default: self.default,
            placeholder: self.placeholder,
            hint: self.hint,
            advanced: self.advanced,
            endpoint: self.endpoint,
        }
    }
}

const PROVIDES: [Provides; 5] =
    [Provides::QUERY, Provides::COUNT, Provides::AGGREGATE, Provides::SEARCH, Provides::SIMILAR];

const CAPABILITIES: [Capabilities; 10] = [
    Capabilities::OR,
    Capabilities::AND,
    Capabilities::NOT,
    Capabilities::ILIKE,
    Capabilities::CONTAINS,
    Capabilities::STARTS_WITH,
    Capabilities::ENDS_WITH,
    Capabilities::LIKE,
    Capabilities::EXACT_COUNT,
    Capabilities::CHANGED_SINCE,
];

const AGGREGATES: [Aggregates; 16] = [
    Aggregates::GROUP_BY,
    Aggregates::TIME_BUCKET,
    Aggregates::NUMERIC_BUCKET,
    Aggregates::GEOHASH_BUCKET,
    Aggregates::H3_BUCKET,
    Aggregates::COUNT,
    Aggregates::COUNT_DISTINCT,
    Aggregates::SUM,
    Aggregates::AVG,
    Aggregates::MIN_MAX,
    Aggregates::PERCENTILE,
    Aggregates::TOP_K,
    Aggregates::HAVING,
    Aggregates::ORDER_LIMIT,
    Aggregates::SAMPLING,
    Aggregates::JOINS,
];

fn bits<F: Copy>(all: &[F], has: impl Fn(F) -> bool) -> u32 {
    all.iter().enumerate().fold(0, |bits, (bit, flag)| bits | u32::from(has(*flag)) << bit)
}

fn flags<F: Copy>(all: &[F], bits: u32) -> impl Iterator<Item = F> {
    all.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, flag)| *flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::tests::{description, field};

    #[test]
    fn a_kept_description_says_what_was_said() {
        let kinds = [FieldType::String, FieldType::Password, FieldType::Number, FieldType::Boolean];
        let mut said = description(kinds.into_iter().map(|kind| field("key", kind)).collect());
        said.manifest.icon = Some("icon".to_owned());
        said.manifest.url_placeholder = Some("https://host".to_owned());
        let first = said.manifest.fields.first_mut().unwrap();
        (first.required, first.advanced, first.endpoint) = (true, true, true);
        (first.default, first.placeholder) = (Some("d".to_owned()), Some("p".to_owned()));
        first.hint = Some("h".to_owned());
        for (provides, capabilities, aggregates) in [
            (Provides::all(), Capabilities::all(), Aggregates::all()),
            (Provides::SEARCH, Capabilities::CHANGED_SINCE, Aggregates::JOINS | Aggregates::GROUP_BY),
        ] {
            (said.provides, said.capabilities, said.aggregates) = (provides, capabilities, aggregates);
            let kept = serde_json::to_string(&About::new("hash".to_owned(), &said)).unwrap();
            let kept: About = serde_json::from_str(&kept).unwrap();
            assert_eq!(kept.hash, "hash");
            assert_eq!(format!("{:?}", kept.into_description()), format!("{said:?}"));
        }
    }
}
