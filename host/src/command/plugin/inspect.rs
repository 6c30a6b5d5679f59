//! `plugin inspect`: what a component is, what it can do, and what it wants.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use bridge_core::Driver as _;
use plugins_host::{Grants, Inspection, Plugin};
use protocol::{FieldKind, JobKind};
use runtime::Exit;
use runtime::settings::Source;
use serde_json::{Value, json};

use super::component::{Component, Signed, engine, size};
use super::error::Refusal;
use crate::cli::{Flags, InspectPlugin};
use crate::command::bridges::describe_field;
use crate::command::print;

/// The package of the interfaces that the runner has for plugins.
const OURS: &str = "semilayer:bridge/";
const WASI: &str = "wasi:";
/// What the runner does from `read` where a plugin does not do it itself.
const BY_RUNNER: [JobKind; 5] =
    [JobKind::Query, JobKind::Count, JobKind::BatchRead, JobKind::Aggregate, JobKind::Search];
/// Where values begin.
const INDENT: usize = 14;

pub(super) async fn run(
    inspect: &InspectPlugin,
    flags: &Flags,
    environment: &dyn Source,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Refusal> {
    if !inspect.json {
        return show(&inspect.file, flags, environment, out).await;
    }
    let look = Look::at(&inspect.file, flags, environment).await?;
    Ok(print(out, &format!("{:#}", look.json())))
}

/// Shows a component to people.
pub(super) async fn show(
    file: &Path,
    flags: &Flags,
    environment: &dyn Source,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Refusal> {
    let look = Look::at(file, flags, environment).await?;
    Ok(print(out, look.text().trim_end()))
}

/// All there is to say.
struct Look {
    file: String,
    signed: Signed,
    plugin: Arc<Plugin>,
}

/// Imports by whose they are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Imports<'a> {
    runner: Vec<&'a str>,
    wasi: Vec<&'a str>,
    others: Vec<&'a str>,
}

impl Look {
    async fn at(file: &Path, flags: &Flags, environment: &dyn Source) -> Result<Self, Refusal> {
        let (settings, engine) = engine(flags, environment)?;
        let component = Component::read(file)?;
        let signed = component.signed(settings.trusted_keys.as_ref())?;
        let name = component.file_name();
        let plugin = engine.load(component.bytes, |_| Grants::default()).await;
        let plugin = plugin.map_err(|source| Refusal::Load { file: component.path, source })?;
        Ok(Self { file: name, signed, plugin })
    }

    fn text(&self) -> String {
        let plugin = &self.plugin;
        let Inspection { wit_version, imports, exports, size_bytes } = plugin.inspection();
        let imports = Imports::of(imports);
        let mut text =
            format!("{} {}, {}\n", plugin.name(), plugin.version(), plugin.manifest().display_name);
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                // Writing into a String does not fail.
                let _infallible = writeln!(text, "{name:<INDENT$}{value}");
            }
        };
        line("file", &format!("{}, {}", self.file, size(*size_bytes)));
        line("sha256", plugin.hash());
        line("signature", &told(&self.signed));
        line("interface", &format!("semilayer:bridge@{wit_version}, SDK {}", plugin.sdk()));
        line("answers", &words(&self.own_kinds()));
        line("runner does", &words(&self.runners_kinds()));
        line("operators", &self.operators());
        line("connects to", &self.network(&imports));
        line("imports", &on_lines(&imports.shown()));
        line("exports", &exports.join(" "));
        line("settings", &on_lines(&self.settings()));
        text
    }

    fn json(&self) -> Value {
        let plugin = &self.plugin;
        let inspection = plugin.inspection();
        let imports = Imports::of(&inspection.imports);
        let (signature, reason) = match &self.signed {
            Signed::No => ("none", None),
            Signed::Unchecked => ("unchecked", None),
            Signed::Trusted => ("trusted", None),
            Signed::Wrong(reason) => ("wrong", Some(reason)),
        };
        json!({
            "file": self.file,
            "name": plugin.name(),
            "version": plugin.version(),
            "sdk": plugin.sdk(),
            "witVersion": inspection.wit_version,
            "sizeBytes": inspection.size_bytes,
            "sha256": plugin.hash(),
            "signature": {"state": signature, "reason": reason},
            "provides": self.own_kinds(),
            "byRunner": self.runners_kinds(),
            "capabilities": plugin.capabilities(),
            "aggregateCapabilities": plugin.aggregate_capabilities(),
            "endpoints": plugin.endpoints(),
            "imports": {"runner": imports.runner, "wasi": imports.wasi, "others": imports.others},
            "exports": inspection.exports,
            "manifest": plugin.manifest(),
        })
    }

    fn own_kinds(&self) -> Vec<String> {
        let provided = self.plugin.provides();
        [JobKind::Read].iter().chain(&provided).map(ToString::to_string).collect()
    }

    fn runners_kinds(&self) -> Vec<String> {
        let provided = self.plugin.provides();
        BY_RUNNER.iter().filter(|kind| !provided.contains(kind)).map(ToString::to_string).collect()
    }

    fn operators(&self) -> String {
        let capabilities = self.plugin.capabilities();
        let logical = capabilities.where_logical_ops.iter().map(|op| op.as_str());
        let text = capabilities.where_string_ops.iter().map(|op| op.as_str());
        logical.chain(text).collect::<Vec<_>>().join(" ")
    }

    fn network(&self, imports: &Imports<'_>) -> String {
        let endpoints = self.plugin.endpoints();
        if !endpoints.is_empty() {
            return format!("the host in {}, and what the operator allows", endpoints.join(", "));
        }
        match imports.have_network() {
            true => "what the operator allows".to_owned(),
            false => "nothing".to_owned(),
        }
    }

    fn settings(&self) -> Vec<String> {
        let manifest = self.plugin.manifest();
        let widest = manifest.fields.iter().map(|field| field.key.len()).max().unwrap_or_default().max(3);
        let url = manifest.url_placeholder.iter().map(|example| format!("{:<widest$}  {example}", "url"));
        let field = |field: &protocol::Field| {
            let hidden = if field.kind == FieldKind::Password { ", never shown" } else { "" };
            format!("{:<widest$}  {}{hidden}", field.key, describe_field(field))
        };
        url.chain(manifest.fields.iter().map(field)).collect()
    }
}

impl<'a> Imports<'a> {
    fn of(imports: &'a [String]) -> Self {
        let mut grouped = Self::default();
        for import in imports {
            match (import.strip_prefix(OURS), import.strip_prefix(WASI)) {
                (Some(ours), _) => grouped.runner.push(ours),
                (None, Some(wasi)) => grouped.wasi.push(wasi),
                (None, None) => grouped.others.push(import),
            }
        }
        grouped
    }

    fn have_network(&self) -> bool {
        let ours = self.runner.iter().any(|import| import.starts_with("net@") || import.starts_with("http@"));
        ours || self
            .wasi
            .iter()
            .any(|import| import.starts_with("sockets/tcp@") || import.starts_with("http/outgoing"))
    }

    /// One line for each group, without versions; of WASI, which every language brings along, the packages alone.
    fn shown(&self) -> Vec<String> {
        let groups =
            [("runner:", &self.runner, '@'), ("wasi:", &self.wasi, '/'), ("others:", &self.others, '@')];
        let filled = groups.into_iter().filter(|(_, imports, _)| !imports.is_empty());
        filled.map(|(name, imports, end)| format!("{name:<8}{}", beginnings(imports, end))).collect()
    }
}

/// What stands before `end`, each once.
fn beginnings(imports: &[&str], end: char) -> String {
    let names: BTreeSet<&str> = imports.iter().filter_map(|import| import.split(end).next()).collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

fn told(signed: &Signed) -> String {
    match signed {
        Signed::No => "none".to_owned(),
        Signed::Unchecked => "there is one; no trusted_keys to check it with".to_owned(),
        Signed::Trusted => "by a trusted key".to_owned(),
        Signed::Wrong(reason) => format!("WRONG: {reason}"),
    }
}

fn words(kinds: &[String]) -> String {
    kinds.join(", ")
}

/// The first stands behind its name, the others below it.
fn on_lines(values: &[String]) -> String {
    values.join(&format!("\n{:INDENT$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_stand_with_their_owners() {
        let imports = [
            "semilayer:bridge/host@0.1.0",
            "wasi:cli/environment@0.2.6",
            "wasi:cli/exit@0.2.6",
            "semilayer:bridge/http@0.1.0",
            "acme:magic/wand",
        ];
        let imports = imports.map(str::to_owned);
        let grouped = Imports::of(&imports);
        assert_eq!(grouped.shown(), ["runner: host http", "wasi:   cli", "others: acme:magic/wand"]);
        assert!(grouped.have_network());
        assert!(!Imports::of(&imports[..2]).have_network());
    }
}
