//! Which runner gets a job: the least loaded of those that are connected, serve the source, have its bridge, and have
//! not failed this job before.

use std::sync::Arc;

use crate::link::Link;
use crate::model::RunnerId;
use crate::registry::Registry;

/// What a job wants of a runner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Runners that the source is assigned to.
    pub(crate) runners: &'a [RunnerId],
    /// Connections that have failed this job.
    pub(crate) tried: &'a [u64],
}

/// The least loaded connection that fits; among equals the one with the fewest jobs, then the one that has been connected
/// for the shortest time, which is the restarted one.
pub(crate) fn choose(registry: &Registry, wanted: Wanted<'_>) -> Option<Arc<Link>> {
    let fits = |link: &Arc<Link>| link.is_open() && !wanted.tried.contains(&link.id);
    let links = wanted.runners.iter().flat_map(|runner| registry.of(*runner)).filter(fits);
    links.min_by_key(|link| (link.load(), link.active_jobs(), u64::MAX - link.id))
}

#[cfg(test)]
mod tests {
    use protocol::{Extensions, JobFrame, JobKind, JobRequest};
    use serde_json::value::RawValue;

    use super::*;
    use crate::link::{Announced, Inbox, Outgoing};

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
                let runner = RunnerId::new();
                let hello = Announced { extensions: Extensions::all(), ..Announced::default() };
                let (link, outgoing) = Link::new(registry.next_id(), runner, "r".to_owned(), hello, Some(*slots));
                registry.add(&link);
                runners.push(runner);
                links.push(link);
                kept.push(outgoing);
            }
            Self { registry, runners, links, _outgoing: kept }
        }

        fn choose(&self, tried: &[u64]) -> Option<usize> {
            let chosen = choose(&self.registry, Wanted { runners: &self.runners, tried })?;
            self.links.iter().position(|link| link.id == chosen.id)
        }

        fn give(&self, index: usize, jobs: usize) {
            for job in 0..jobs {
                let (inbox, _events) = Inbox::new(&format!("{index}-{job}"), true);
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
        assert!(choose(&fleet.registry, Wanted { runners: &[], tried: &[] }).is_none());
    }
}
