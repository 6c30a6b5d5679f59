#![no_main]
//! Which variable belongs to which source: never to two, never to a managed one, never to a name that another name's
//! prefix covers better.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use runtime::settings::Mapping;

// The module is the runner's own and private there; it depends on nothing else of the runner.
#[path = "../../host/src/environment.rs"]
mod environment;

use environment::{Named, Ownership, PREFIX};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    sources: Vec<(&'a str, bool, Option<&'a str>)>,
    variables: Vec<(&'a str, bool)>,
}

fuzz_target!(|input: Input<'_>| {
    let mut names = BTreeSet::new();
    // A gateway's assignment names a source once; the runner keeps them by name.
    let sources: Vec<_> = input
        .sources
        .iter()
        .filter(|(name, ..)| names.insert(*name))
        .map(|&(name, local, env_prefix)| Named { name, local, env_prefix })
        .collect();
    let variables: Mapping = input
        .variables
        .iter()
        .map(|(name, set)| (format!("{PREFIX}{name}"), if *set { "value" } else { "" }))
        .collect();
    let ownership = Ownership::of(&sources, &variables);
    check(&sources, &ownership);
    assert_eq!(shown(&Ownership::of(&sources, &variables)), shown(&ownership));
});

fn check(sources: &[Named<'_>], ownership: &Ownership) {
    let local: BTreeSet<&str> =
        sources.iter().filter(|source| source.local).map(|source| source.name).collect();
    let owners: BTreeSet<&str> = ownership.owned.keys().map(String::as_str).collect();
    assert_eq!(owners, local);
    let mut seen = BTreeSet::new();
    for (name, variables) in &ownership.owned {
        match variables {
            Ok(variables) => {
                for variable in variables {
                    assert!(seen.insert(&variable.name), "{} has two owners", variable.name);
                    assert!(!variable.key.is_empty());
                    assert!(variable.name.starts_with(PREFIX) && variable.name.ends_with(&variable.key));
                }
            }
            Err(problem) => assert!(!problem.to_string().is_empty(), "{name}"),
        }
    }
    for name in &ownership.ignored {
        assert!(!local.contains(name.as_str()));
    }
    for (name, _) in &ownership.respelled {
        assert!(local.contains(name.as_str()));
    }
}

fn shown(ownership: &Ownership) -> String {
    format!("{ownership:?}")
}
