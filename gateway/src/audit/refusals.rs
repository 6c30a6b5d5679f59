//! Refusals of strangers, who can make as many of them as they like.
//!
//! In each minute the first refusals of a kind from one address have rows of their own; the others become one row that
//! says how many they were. So the log tells of every refusal, and grows by a bounded number of rows a minute.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use uuid::Uuid;

use super::AuditRow;
use crate::address::group;
use crate::model::{self, AuditId};

/// How long refusals are gathered before they are written.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Rows of their own that refusals of one kind from one address have in a window, and all refusals together.
const OWN_ROWS: u64 = 30;
const ALL_OWN_ROWS: u64 = 300;
/// Kinds and addresses that are told apart in a window.
const TALLIES: usize = 256;
/// What stands in place of the address when there are too many of them.
const MANY: &str = "many addresses";

/// The refusals of the present window.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    present: Mutex<Present>,
    /// Refusals without a row of their own, ever.
    pub(super) merged: Counter,
}

#[derive(Debug, Default)]
struct Present {
    own_rows: u64,
    tallies: HashMap<Kind, Tally>,
}

/// What is counted together. `None` in place of the address is for all that are not told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kind {
    address: Option<IpAddr>,
    actor: Option<Uuid>,
    action: Cow<'static, str>,
    outcome: Cow<'static, str>,
}

#[derive(Debug, Default)]
struct Tally {
    own_rows: u64,
    merged: u64,
    last: Option<AuditRow>,
}

impl Refusals {
    /// Gives the row back if it is to be written by itself; otherwise it is counted.
    pub(super) fn take(&self, row: AuditRow, address: Option<IpAddr>) -> Option<AuditRow> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = present.own_rows < ALL_OWN_ROWS;
        let tally = present.tally(&row, address);
        if !has_room || tally.own_rows >= OWN_ROWS {
            self.count(tally, row);
            return None;
        }
        tally.own_rows += 1;
        present.own_rows += 1;
        Some(row)
    }

    /// Counts a row that could not be written by itself.
    pub(super) fn merge(&self, row: AuditRow, address: Option<IpAddr>) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = present.tally(&row, address);
        self.count(tally, row);
    }

    /// Ends the window: one row for each kind of which some were counted.
    pub(super) fn flush(&self) -> Vec<AuditRow> {
        let present = std::mem::take(&mut *self.present.lock().unwrap_or_else(PoisonError::into_inner));
        let counted = present.tallies.into_iter().filter_map(|(kind, tally)| {
            let target = kind.address.map_or_else(|| MANY.to_owned(), |address| address.to_string());
            Some(AuditRow {
                id: AuditId::new(),
                at: model::now(),
                target: Some(target),
                lens: None,
                params_hash: None,
                duration_ms: 0,
                occurrences: tally.merged,
                ..tally.last?
            })
        });
        counted.collect()
    }

    fn count(&self, tally: &mut Tally, row: AuditRow) {
        tally.merged += 1;
        tally.last = Some(row);
        self.merged.inc();
    }
}

impl Present {
    fn tally(&mut self, row: &AuditRow, address: Option<IpAddr>) -> &mut Tally {
        let kind = Kind {
            address: address.map(group),
            actor: row.actor.id(),
            action: row.action.clone(),
            outcome: row.outcome.clone(),
        };
        let full = self.tallies.len() >= TALLIES && !self.tallies.contains_key(&kind);
        // Actions and outcomes are a short list of ours, so these few come on top.
        let kind = if full { Kind { address: None, actor: None, ..kind } } else { kind };
        self.tallies.entry(kind).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, action};

    fn refusal(number: usize) -> AuditRow {
        AuditRow::new(Actor::Anonymous, action::CONNECT, "unauthorized", number.to_string())
    }

    fn address(number: usize) -> Option<IpAddr> {
        Some(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes()))
    }

    #[test]
    fn few_refusals_have_rows_of_their_own_and_the_flood_behind_them_has_one() {
        let refusals = Refusals::default();
        let own = (0..1_000).filter(|number| refusals.take(refusal(*number), address(7)).is_some()).count();
        let rows = refusals.flush();
        assert_eq!((own, rows.len()), (30, 1));
        let row = &rows[0];
        assert_eq!((row.occurrences, row.target.as_deref(), &*row.request_id), (970, Some("0.0.0.7"), "999"));
        assert_eq!(refusals.merged.get(), 970);
        assert!(refusals.take(refusal(1), address(7)).is_some(), "the next minute begins anew");
        assert!(refusals.flush().is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_stays_bounded_and_is_counted_to_the_last() {
        let refusals = Refusals::default();
        let own = (0..100_000).filter(|number| refusals.take(refusal(*number), address(*number)).is_some());
        let own = u64::try_from(own.count()).unwrap();
        let rows = refusals.flush();
        assert!(own <= ALL_OWN_ROWS && rows.len() <= TALLIES + 1, "{own} {}", rows.len());
        assert_eq!(own + rows.iter().map(|row| row.occurrences).sum::<u64>(), 100_000);
        assert!(rows.iter().any(|row| row.target.as_deref() == Some(MANY)));
    }

    #[test]
    fn kinds_are_told_apart() {
        let refusals = Refusals::default();
        let other = || AuditRow { outcome: "too_many_connections".into(), ..refusal(0) };
        for _ in 0..40 {
            drop((refusals.take(refusal(0), address(1)), refusals.take(other(), address(1))));
        }
        let mut counted: Vec<_> = refusals.flush().iter().map(|row| row.occurrences).collect();
        counted.sort_unstable();
        assert_eq!(counted, [10, 10]);
    }
}
