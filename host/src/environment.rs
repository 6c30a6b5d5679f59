//! Which environment variable belongs to which source (control plane, section 2.6).
//!
//! A variable is `SEMILAYER_SOURCE_`, the source's name in capitals, `_` and a key. Because names may begin with one
//! another (`main`, `main-db`), the longest name that leaves a key owns the variable, and nobody else sees it: otherwise
//! `main` would connect with the credential of `main-db`. All assigned names take part, managed ones too.

use std::collections::{BTreeMap, BTreeSet};

use heck::ToShoutySnakeCase;
use runtime::settings::Source;
use runtime::spelling::distance;

pub(crate) const PREFIX: &str = "SEMILAYER_SOURCE_";
/// Settings of the runner itself, without [`PREFIX`], that look like a source's.
const SETTINGS: [&str; 2] = ["IDLE_TIMEOUT", "CONNECT_TIMEOUT"];

/// A source as far as names matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    /// Whether its credentials are the runner's own.
    pub(crate) local: bool,
    /// The prefix that the config file gives it.
    pub(crate) env_prefix: Option<&'a str>,
}

/// A variable and the part of its name that names a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// In upper snake case, never empty.
    pub(crate) key: String,
}

/// What belongs to whom.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    /// By source name, for runner-local sources.
    pub(crate) owned: BTreeMap<String, Result<Vec<Variable>, NameProblem>>,
    /// Managed sources that have variables nobody will read.
    pub(crate) ignored: Vec<String>,
    /// Sources found under another spelling, with the prefix that was used.
    pub(crate) respelled: Vec<(String, String)>,
    /// Variables that belong to no source.
    pub(crate) strangers: Vec<Stranger>,
}

/// A variable that looks like one of a source and belongs to none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stranger {
    pub(crate) name: String,
    /// A source without variables of its own whose name is nearly in it, and how the variable would be called then.
    pub(crate) meant: Option<(String, String)>,
}

/// Why a source cannot own variables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameProblem {
    /// A character that no variable can hold.
    #[error("its name cannot stand in a variable; set sources.{0:?}.env_prefix in the config file")]
    NotSpellable(String),
    /// Several names look the same in capitals.
    #[error(
        "the names {} look the same in variables; set env_prefix in the config file for all but one",
        .0.join(", ")
    )]
    Ambiguous(Vec<String>),
}

impl Ownership {
    /// Shares out the variables of `environment` that are set to something.
    pub(crate) fn of(sources: &[Named<'_>], environment: &dyn Source) -> Self {
        let variables = variables(environment);
        let mut ownership = Self::default();
        let mut prefixes = ownership.canonical_prefixes(sources);
        ownership.try_other_spelling(sources, &mut prefixes, &variables);
        let mut shares = share_out(&prefixes, &variables);
        ownership.strangers = strangers(sources, &prefixes, &shares, &variables);
        for source in sources {
            let share = shares.remove(source.name).unwrap_or_default();
            if source.local {
                ownership.owned.entry(source.name.to_owned()).or_insert(Ok(share));
            } else if !share.is_empty() {
                ownership.ignored.push(source.name.to_owned());
            }
        }
        ownership
    }

    /// Prefix by name. Names that share a prefix stay in, so that their variables go to nobody else.
    fn canonical_prefixes(&mut self, sources: &[Named<'_>]) -> BTreeMap<String, String> {
        let mut prefixes = BTreeMap::new();
        for source in sources {
            match source.env_prefix.map(str::to_owned).or_else(|| canonical(source.name)) {
                Some(prefix) => {
                    prefixes.insert(source.name.to_owned(), prefix);
                }
                None => self.refuse(source, NameProblem::NotSpellable(source.name.to_owned())),
            }
        }
        for source in sources {
            let Some(own) = prefixes.get(source.name) else { continue };
            let alike: Vec<_> =
                prefixes.iter().filter(|(_, prefix)| *prefix == own).map(|(name, _)| name.clone()).collect();
            if alike.len() > 1 {
                self.refuse(source, NameProblem::Ambiguous(alike));
            }
        }
        prefixes
    }

    fn refuse(&mut self, source: &Named<'_>, problem: NameProblem) {
        if source.local {
            self.owned.insert(source.name.to_owned(), Err(problem));
        }
    }

    /// `mainDb` is `MAINDB`; where nothing is set under that, people may have written `MAIN_DB`.
    fn try_other_spelling(
        &mut self,
        sources: &[Named<'_>],
        prefixes: &mut BTreeMap<String, String>,
        variables: &[String],
    ) {
        let is_used = |prefix: &str| variables.iter().any(|variable| key_after(variable, prefix).is_some());
        let mut claims: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for source in sources.iter().filter(|source| source.local && source.env_prefix.is_none()) {
            let Some(own) = prefixes.get(source.name) else { continue };
            let other = source.name.to_shouty_snake_case();
            if other != *own && !self.owned.contains_key(source.name) && !is_used(own) && is_used(&other) {
                claims.entry(other).or_default().push(source.name);
            }
        }
        let taken: BTreeSet<String> = prefixes.values().cloned().collect();
        for (prefix, names) in claims {
            if let ([name], false) = (names.as_slice(), taken.contains(&prefix)) {
                self.respelled.push(((*name).to_owned(), prefix.clone()));
                prefixes.insert((*name).to_owned(), prefix);
            }
        }
    }
}

/// A name in capitals with `_` for `-`; nothing for a name with characters that a shell cannot set.
fn canonical(name: &str) -> Option<String> {
    let spellable = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let valid = !name.is_empty() && name.bytes().all(spellable);
    valid.then(|| name.to_ascii_uppercase().replace('-', "_"))
}

/// Names without [`PREFIX`] of all variables with a value. An empty value counts as not set; one that is not UTF-8 counts
/// as set, so that it is reported where it is read.
fn variables(environment: &dyn Source) -> Vec<String> {
    let is_set = |name: &str| {
        environment.get(name).map_or_else(|| environment.is_malformed(name), |value| !value.is_empty())
    };
    let names = environment.names(PREFIX).into_iter().filter(|name| is_set(name));
    names.filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned)).collect()
}

/// Gives each variable to the longest prefix that leaves a key. A prefix of several names gives to none of them.
fn share_out(prefixes: &BTreeMap<String, String>, variables: &[String]) -> BTreeMap<String, Vec<Variable>> {
    let mut shares: BTreeMap<String, Vec<Variable>> = BTreeMap::new();
    for variable in variables {
        let fitting = prefixes.iter().filter(|(_, prefix)| key_after(variable, prefix).is_some());
        let longest = fitting.clone().map(|(_, prefix)| prefix.len()).max();
        let owners: Vec<_> = fitting.filter(|(_, prefix)| Some(prefix.len()) == longest).collect();
        if let [(name, prefix)] = owners.as_slice()
            && let Some(key) = key_after(variable, prefix)
        {
            let share = Variable { name: format!("{PREFIX}{variable}"), key: key.to_owned() };
            shares.entry((*name).clone()).or_default().push(share);
        }
    }
    shares
}

/// Variables that no prefix fits. The settings of this runner that begin alike are none of them.
fn strangers(
    sources: &[Named<'_>],
    prefixes: &BTreeMap<String, String>,
    shares: &BTreeMap<String, Vec<Variable>>,
    variables: &[String],
) -> Vec<Stranger> {
    let is_strange = |variable: &&String| {
        !SETTINGS.contains(&variable.as_str())
            && !prefixes.values().any(|prefix| key_after(variable, prefix).is_some())
    };
    let bare = sources.iter().filter(|source| source.local && !shares.contains_key(source.name));
    let bare: Vec<_> = bare.filter_map(|source| Some((source.name, prefixes.get(source.name)?))).collect();
    let stranger = |variable: &String| Stranger {
        name: format!("{PREFIX}{variable}"),
        meant: bare
            .iter()
            .find_map(|(name, prefix)| Some(((*name).to_owned(), respelled(variable, prefix)?))),
    };
    variables.iter().filter(is_strange).map(stranger).collect()
}

/// `ODERS_URL` with the prefix `ORDERS`: what the variable is called when its beginning is a misspelling of that.
fn respelled(variable: &str, prefix: &str) -> Option<String> {
    let cuts = variable.match_indices('_').map(|(at, _)| at);
    let halves = cuts.filter_map(|at| variable.split_at_checked(at));
    let near = halves.filter(|(_, key)| key.len() > 1).map(|(own, key)| (distance(own, prefix), key));
    let (distance, key) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= prefix.len().div_ceil(4)).then(|| format!("{PREFIX}{prefix}{key}"))
}

fn key_after<'v>(variable: &'v str, prefix: &str) -> Option<&'v str> {
    variable.strip_prefix(prefix)?.strip_prefix('_').filter(|key| !key.is_empty())
}
