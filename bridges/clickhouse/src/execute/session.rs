//! What every statement is told: that it may only read, until when it may run, and what would change its answer.
//!
//! A role may not be allowed to say some of it, or any. What is refused is left out from then on.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bridge_core::Call;

use crate::connect::Extra;
use crate::error::Exception;

/// Settings with one value. A profile may have others, and they would cut answers short or change them in silence.
const SETTINGS: &[(&str, &str)] = &[
    // Only reading, and these settings.
    ("readonly", "2"),
    ("cancel_http_readonly_queries_on_client_close", "1"),
    ("session_timezone", "UTC"),
    ("join_use_nulls", "1"),
    ("transform_null_in", "0"),
    ("count_distinct_implementation", "uniqExact"),
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("set_overflow_mode", "throw"),
    ("distinct_overflow_mode", "throw"),
    ("transfer_overflow_mode", "throw"),
    ("result_overflow_mode", "throw"),
    ("group_by_overflow_mode", "throw"),
    ("sort_overflow_mode", "throw"),
    ("join_overflow_mode", "throw"),
    ("limit", "0"),
    ("offset", "0"),
    // Of JSON that the server writes.
    ("output_format_json_quote_64bit_integers", "0"),
    ("output_format_json_quote_denormals", "0"),
    ("output_format_json_named_tuples_as_objects", "1"),
];
/// In seconds.
const TIMEOUT: &str = "max_execution_time";

/// The settings that a source's role may say.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Refused.
    silent: Mutex<BTreeSet<String>>,
}

impl Session {
    /// What is said with a statement of this call.
    pub(crate) fn settings(&self, call: &Call) -> Vec<Extra> {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let timeout = (TIMEOUT.to_owned(), seconds(call.remaining()));
        let all = SETTINGS.iter().map(own).chain([timeout]);
        all.filter(|(name, _)| !silent.contains(name)).collect()
    }

    /// Whether a refusal is about one of the settings that were sent. Then it is said no more: the one that the refusal
    /// names, or all of them.
    pub(crate) fn give_in(&self, refusal: &Exception, sent: &[Extra]) -> bool {
        if !refusal.is_about_settings() || sent.is_empty() {
            return false;
        }
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        let named = sent.iter().find(|(name, _)| names(&refusal.message, name));
        match named {
            Some((name, _)) => {
                silent.insert(name.clone());
            }
            None => silent.extend(sent.iter().map(|(name, _)| name.clone())),
        }
        true
    }
}

/// Whether a message has `name` as a word.
fn names(message: &str, name: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    // "in readonly mode" stands in every such refusal.
    let told = message.split(" in readonly mode").next().unwrap_or(message);
    told.split(|character| !is_word(character)).any(|word| word == name)
}

/// Rounded up to tenths, so that the caller's own deadline passes first.
fn seconds(left: Duration) -> String {
    let tenths = left.as_millis().div_ceil(100).max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u32, message: &str) -> Exception {
        Exception { code, message: message.to_owned() }
    }

    #[test]
    fn a_setting_that_is_refused_is_said_no_more() {
        let session = Session::default();
        let call = Call::within(Duration::from_secs(5));
        let says = |name: &str| session.settings(&call).iter().any(|(said, _)| said == name);
        let give_in = |code, message| session.give_in(&refusal(code, message), &session.settings(&call));
        assert!(give_in(452, "Setting max_execution_time shouldn't be greater than 1"));
        assert!(!says("max_execution_time") && says("readonly"));
        assert!(give_in(
            115,
            "Setting session_timezone is neither a builtin setting nor started with a prefix"
        ));
        assert!(!says("session_timezone"));
        assert!(give_in(164, "Cannot modify 'join_use_nulls' setting in readonly mode. (READONLY)"));
        assert!(says("readonly") && !says("join_use_nulls"));
        assert!(give_in(164, "Cannot modify 'readonly' setting in readonly mode"));
        assert!(!says("readonly") && says("result_overflow_mode"));
        assert!(give_in(164, "not allowed"));
        assert!(session.settings(&call).is_empty());
        assert!(!give_in(164, "not allowed"));
    }

    #[test]
    fn the_servers_deadline_is_not_before_the_callers() {
        assert_eq!(seconds(Duration::from_millis(29_901)), "30.0");
        assert_eq!(seconds(Duration::from_millis(50)), "0.1");
        assert_eq!(seconds(Duration::ZERO), "0.1");
    }
}
