//! Sockets of `/connect` whose dialer is not known yet: few at a time, and few of one address.
//!
//! A stranger costs buffers and ten seconds of patience. Runners with a token in the upgrade are known before they have a
//! socket and do not count.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::address::group;

/// Strangers at a time, altogether.
const ALL: usize = 256;
/// Strangers at a time of one address.
const OF_ONE_ADDRESS: usize = 32;

/// Counts the strangers.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    of_address: HashMap<Option<IpAddr>, usize>,
}

/// A place among the strangers; it is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    address: Option<IpAddr>,
}

impl Strangers {
    /// A place for a stranger from `address`, if there is one.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Stranger> {
        let address = address.map(group);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.of_address.get(&address).copied().unwrap_or(0);
        if counts.all >= ALL || of_address >= OF_ONE_ADDRESS {
            return None;
        }
        counts.all += 1;
        counts.of_address.insert(address, of_address + 1);
        Some(Stranger { strangers: Arc::clone(self), address })
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut counts = self.strangers.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(left) = counts.of_address.get_mut(&self.address) {
            *left -= 1;
            if *left == 0 {
                counts.of_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: usize) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, u8::try_from(last).unwrap()]))
    }

    #[test]
    fn one_address_has_few_places_and_leaves_the_others_to_others() {
        let strangers = Arc::new(Strangers::default());
        let mut held: Vec<_> = (0..OF_ONE_ADDRESS).map(|_| strangers.admit(address(1)).unwrap()).collect();
        assert!(strangers.admit(address(1)).is_none());
        assert!(strangers.admit(address(2)).is_some());
        held.pop();
        assert!(strangers.admit(address(1)).is_some());
    }

    #[test]
    fn many_addresses_share_what_there_is_and_nothing_is_kept_of_those_who_left() {
        let strangers = Arc::new(Strangers::default());
        let held: Vec<_> =
            (0..ALL).map(|number| strangers.admit(address(number / OF_ONE_ADDRESS)).unwrap()).collect();
        assert!(strangers.admit(address(200)).is_none());
        drop(held);
        assert!(strangers.admit(address(200)).is_some());
        assert!(strangers.0.lock().unwrap().of_address.is_empty());
    }
}
