//! What it says of itself.

use crate::bindings::semilayer::bridge::types::{
    Aggregates, Capabilities, Description, Field, FieldType, Manifest, Provides,
};
use crate::crimes;

/// The description, or what `wish` does instead.
pub(crate) fn describe(wish: &str) -> Description {
    let honest = honest();
    let named = |name: &str| Description {
        manifest: Manifest { package_name: name.to_owned(), ..honest.manifest.clone() },
        ..honest.clone()
    };
    let with = |field: Field| {
        let mut description = honest.clone();
        description.manifest.fields.push(field);
        description
    };
    match wish {
        "loop" => crimes::endless(),
        "panic" => crimes::panic(),
        "stack" => crimes::recurse(),
        "memory" => crimes::eat_memory(),
        "huge" => Description { sdk: "x".repeat(40 << 20), ..honest },
        "long-name" => named(&format!("@acme/{}", "x".repeat(200))),
        "odd-name" => named("../../etc"),
        "lines" => Description { version: "1\n2".to_owned(), ..honest },
        "twice" => with(field("connect", "Again")),
        "odd-key" => with(field("Odd-Key", "Odd")),
        "many" => {
            let mut description = honest.clone();
            description.manifest.fields.extend((0..200).map(|index| field(&format!("f{index}"), "Field")));
            description
        }
        "other" => named("@acme/other"),
        "search" => Description { provides: Provides::SEARCH, capabilities: Capabilities::empty(), ..honest },
        "similar" => {
            Description { provides: Provides::SIMILAR, capabilities: Capabilities::empty(), ..honest }
        }
        _ => honest,
    }
}

fn honest() -> Description {
    Description {
        version: "1.2.3".to_owned(),
        sdk: "none".to_owned(),
        manifest: Manifest {
            package_name: "@acme/hostile".to_owned(),
            display_name: "Hostile".to_owned(),
            icon: None,
            url_placeholder: None,
            fields: vec![
                field("connect", "What connecting does"),
                Field { type_: FieldType::Password, ..field("secret", "A secret") },
            ],
        },
        provides: Provides::COUNT | Provides::AGGREGATE | Provides::SEARCH,
        capabilities: Capabilities::all(),
        aggregates: Aggregates::GROUP_BY | Aggregates::COUNT,
    }
}

fn field(key: &str, label: &str) -> Field {
    Field {
        key: key.to_owned(),
        label: label.to_owned(),
        type_: FieldType::String,
        required: false,
        default: None,
        placeholder: None,
        hint: None,
        advanced: false,
        endpoint: false,
    }
}
