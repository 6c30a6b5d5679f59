//! Which runner gets a job: the least loaded of those that are connected, serve the source, and have not failed this job
//! before. One that does not list the source's bridge comes last: its refusal is a better answer than none.

use std::sync::Arc;

use crate::link::Link;
use crate::model::RunnerId;
use crate::registry::Registry;

/// What a job wants of a runner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Runners that the source is assigned to.
    pub(crate) runners: &'a [RunnerId],
    /// Package name of the source's bridge.
    pub(crate) bridge: &'a str,
    /// Connections that have failed this job.
    pub(crate) tried: &'a [u64],
}

/// The least loaded connection that fits; among equals the one with the fewest jobs, then the one that has been connected
/// for the shortest time, which is the restarted one.
pub(crate) fn choose(registry: &Registry, wanted: Wanted<'_>) -> Option<Arc<Link>> {
    let fits = |link: &Arc<Link>| link.is_open() && !wanted.tried.contains(&link.id);
    let links = wanted.runners.iter().flat_map(|runner| registry.of(*runner)).filter(fits);
    links.min_by_key(|link| {
        (!link.has_bridge(wanted.bridge), link.load(), link.active_jobs(), std::cmp::Reverse(link.id))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use protocol::{Extensions, HelloAck, JobFrame, JobKind, JobRequest};
    use serde_json::value::RawValue;

    use super::*;
    use crate::capability::CapabilitySet;
    use crate::link::{Announced, Inbox, Kind, Outgoing};
    use crate::model::{self, Runner, TokenHint};
    use crate::token::{TokenHash, TokenKind};

    struct Fleet {
        registry: Registry,
        runners: Vec<RunnerId>,
        links: Vec<Arc<Link>>,
        _outgoing: Vec<tokio::sync::mpsc::Receiver<Outgoing>>,
    }

    impl Fleet {
        fn of(slots: &[u32]) -> Self {
            let registry = Registry::default();
            let (mut runners, mut links, mut kept) = (Vec::new(), Vec::new(), Vec::new());
            for slots in slots {
                let hello = Announced {
                    extensions: Extensions::all(),
                    max_jobs: Some(*slots),
                    capabilities: vec!["b".to_owned()],
                    ..Announced::default()
                };
                let runner = runner();
                let (link, outgoing) = Link::new(registry.next_id(), &runner, TokenHash::of("t"), hello);
                link.greet(HelloAck::default, &[]);
                registry.add(&link);
                runners.push(runner.id);
                links.push(link);
                kept.push(outgoing);
            }
            Self { registry, runners, links, _outgoing: kept }
        }

        fn choose(&self, tried: &[u64]) -> Option<usize> {
            let chosen = choose(&self.registry, Wanted { runners: &self.runners, bridge: "b", tried })?;
            self.links.iter().position(|link| link.id == chosen.id)
        }

        fn give(&self, index: usize, jobs: usize) {
            for job in 0..jobs {
                let already = self.links[index].active_jobs();
                let (inbox, _events) = Inbox::new(&format!("{index}-{already}-{job}"), Kind::Query, true);
                let request = JobRequest {
                    source: "s".to_owned(),
                    kind: JobKind::Test,
                    target: String::new(),
                    options: RawValue::from_string("{}".to_owned()).unwrap(),
                };
                let frame = JobFrame {
                    id: inbox.id.to_string(),
                    request,
                    deadline_ms: 1_000,
                    credit: None,
                    traceparent: None,
                    tracestate: None,
                    attempt: 1,
                };
                self.links[index].place(frame, &inbox).unwrap();
            }
        }
    }

    fn runner() -> Runner {
        Runner {
            id: RunnerId::new(),
            name: "r".to_owned(),
            labels: BTreeMap::new(),
            capabilities: CapabilitySet::default(),
            token_hint: TokenHint { kind: TokenKind::Runner, last4: "last".to_owned() },
            created_at: model::now(),
            revoked_at: None,
            last_seen_at: None,
        }
    }

    #[test]
    fn among_equals_the_one_with_fewer_jobs_then_the_newest_is_taken() {
        let fleet = Fleet::of(&[1_000_000, 1_000_000, 10]);
        assert_eq!(fleet.choose(&[]), Some(2));
        fleet.give(2, 1);
        assert_eq!(fleet.choose(&[]), Some(1));
        // So many slots that one job is no load at all.
        fleet.give(1, 1);
        assert_eq!(fleet.choose(&[]), Some(0));
        fleet.give(0, 2);
        assert_eq!(fleet.choose(&[]), Some(1));
    }

    #[test]
    fn a_runner_without_the_bridge_is_the_last_resort() {
        let fleet = Fleet::of(&[10]);
        let wanted = Wanted { runners: &fleet.runners, bridge: "other", tried: &[] };
        assert!(choose(&fleet.registry, wanted).is_some());
        let hello = Announced { capabilities: vec!["other".to_owned()], ..Announced::default() };
        let second = runner();
        let (able, _outgoing) = Link::new(fleet.registry.next_id(), &second, TokenHash::of("t"), hello);
        able.greet(HelloAck::default, &[]);
        fleet.registry.add(&able);
        let runners = [fleet.runners[0], second.id];
        let wanted = Wanted { runners: &runners, bridge: "other", tried: &[] };
        assert_eq!(choose(&fleet.registry, wanted).unwrap().id, able.id);
    }

    #[test]
    fn a_runner_that_was_not_greeted_yet_gets_nothing() {
        let fleet = Fleet::of(&[]);
        let runner = runner();
        let (link, _outgoing) = Link::new(0, &runner, TokenHash::of("t"), Announced::default());
        fleet.registry.add(&link);
        let wanted = Wanted { runners: &[runner.id], bridge: "b", tried: &[] };
        assert!(choose(&fleet.registry, wanted).is_none());
        link.greet(HelloAck::default, &[]);
        assert!(choose(&fleet.registry, wanted).is_some());
    }

    #[test]
    fn load_is_relative_to_slots() {
        let fleet = Fleet::of(&[10, 100]);
        fleet.give(0, 2);
        fleet.give(1, 10);
        assert_eq!(fleet.choose(&[]), Some(1));
        fleet.give(1, 15);
        assert_eq!(fleet.choose(&[]), Some(0));
    }

    #[test]
    fn draining_closed_and_tried_runners_are_passed_over() {
        let fleet = Fleet::of(&[10, 10, 10]);
        fleet.links[2].drain();
        fleet.give(0, 1);
        assert_eq!(fleet.choose(&[]), Some(1));
        assert_eq!(fleet.choose(&[fleet.links[1].id]), Some(0));
        fleet.links[0].closed.cancel();
        assert_eq!(fleet.choose(&[fleet.links[1].id]), None);
    }

    #[test]
    fn a_runner_that_the_source_is_not_assigned_to_gets_nothing() {
        let fleet = Fleet::of(&[10]);
        assert!(choose(&fleet.registry, Wanted { runners: &[], bridge: "b", tried: &[] }).is_none());
    }
}
