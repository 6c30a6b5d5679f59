//! `bridges`: what this runner can open.

use std::io::Write;

use protocol::{Field, FieldKind, Manifest};
use runtime::Exit;
use serde::Serialize;

use super::{complain, print};
use crate::plugins::Plugins;
use crate::registry::{DriverRef, Registry};

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    version: &'a str,
    kind: &'static str,
    manifest: &'a Manifest,
}

/// Files of the plugin folder that are not loaded are told on stderr: what stands on stdout are bridges.
pub(super) fn run(registry: &Registry, plugins: &Plugins, json: bool, out: &mut (dyn Write + Send)) -> Exit {
    for (file, reason) in plugins.problems() {
        complain(&format!("{file}: {reason}"));
    }
    let drivers = registry.drivers();
    let listed: Vec<_> = drivers.iter().map(listed).collect();
    if json {
        return match serde_json::to_string_pretty(&listed) {
            Ok(text) => print(out, &text),
            Err(_) => Exit::Failed,
        };
    }
    let lines: Vec<_> = listed.iter().map(describe).collect();
    print(out, &lines.join("\n\n"))
}

fn listed(driver: &DriverRef) -> Listed<'_> {
    let kind = if driver.is_native() { "native" } else { "plugin" };
    Listed { name: driver.name(), version: driver.version(), kind, manifest: driver.manifest() }
}

fn describe(bridge: &Listed<'_>) -> String {
    let mut text = format!("{} {} ({})", bridge.name, bridge.version, bridge.kind);
    if let Some(url) = &bridge.manifest.url_placeholder {
        text.push_str(&format!("\n  url                        {url}"));
    }
    for field in &bridge.manifest.fields {
        text.push_str(&format!("\n  {:<26} {}", field.key, describe_field(field)));
    }
    text
}

/// The type of a setting, in words.
pub(super) fn describe_field(field: &Field) -> String {
    let kind = match field.kind {
        FieldKind::String => "text",
        FieldKind::Password => "secret",
        FieldKind::Number => "number",
        FieldKind::Boolean => "true or false",
    };
    match (&field.default, field.required) {
        (Some(default), _) => format!("{kind}, default {default}"),
        (None, true) => format!("{kind}, required"),
        (None, false) => kind.to_owned(),
    }
}
