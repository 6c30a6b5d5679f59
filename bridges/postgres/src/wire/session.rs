//! The settings of a session, which statements may not change for good.
//!
//! A view can call `set_config`, and what it sets outlives its statement. Servers report changes of the settings that
//! matter (`default_transaction_read_only` since PostgreSQL 14); one that was changed is set again together with the
//! next statement. Where the server does not report a guarded one, it is set with every statement.

use super::ConnectOptions;

/// What the session should be like, and whether it has to be told.
#[derive(Debug)]
pub(super) struct Session {
    wanted: Vec<(String, String)>,
    /// Guarded settings that the server has not reported.
    unreported: Vec<&'static str>,
    is_told: bool,
}

impl Session {
    pub(super) fn new(options: &ConnectOptions) -> Self {
        let encoding = ("client_encoding".to_owned(), "UTF8".to_owned());
        Self {
            wanted: options.parameters.iter().cloned().chain([encoding]).collect(),
            unreported: options.guarded.to_vec(),
            is_told: options.parameters_at_start,
        }
    }

    /// Notes what the server says a setting is.
    pub(super) fn reported(&mut self, name: &str, value: &str) {
        self.unreported.retain(|guarded| !guarded.eq_ignore_ascii_case(name));
        let wanted = self.wanted.iter().find(|(wanted, _)| wanted.eq_ignore_ascii_case(name));
        if wanted.is_some_and(|(_, wanted)| !wanted.eq_ignore_ascii_case(value)) {
            self.is_told = false;
        }
    }

    /// A statement that makes the session what it should be, where that is in doubt.
    pub(super) fn restoring(&self) -> Option<String> {
        if self.is_told && self.unreported.is_empty() {
            return None;
        }
        let is_due = |name: &str| {
            !self.is_told || self.unreported.iter().any(|guarded| guarded.eq_ignore_ascii_case(name))
        };
        let settings = self.wanted.iter().filter(|(name, _)| is_due(name));
        let calls: Vec<_> = settings.map(|(name, value)| set_config(name, value)).collect();
        Some(format!("SELECT {}", calls.join(", ")))
    }

    /// The statement has run.
    pub(super) fn restored(&mut self) {
        self.is_told = true;
    }
}

fn set_config(name: &str, value: &str) -> String {
    format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
}

/// Read alike whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Endpoint;

    fn session(at_start: bool) -> Session {
        let endpoint = Endpoint::Unix { path: "/nowhere".into() };
        let mut options = ConnectOptions::new(endpoint, "someone", "somewhere");
        options.parameters = vec![
            ("default_transaction_read_only".to_owned(), "on".to_owned()),
            ("DateStyle".to_owned(), "ISO, YMD".to_owned()),
        ];
        options.guarded = &["default_transaction_read_only"];
        options.parameters_at_start = at_start;
        Session::new(&options)
    }

    #[test]
    fn only_a_changed_setting_is_set_again_and_then_all_are() {
        let mut session = session(true);
        session.reported("default_transaction_read_only", "on");
        session.reported("datestyle", "iso, ymd");
        session.reported("server_version", "15.1");
        assert_eq!(session.restoring(), None);
        session.reported("DateStyle", "German, DMY");
        assert_eq!(session.restoring().unwrap().matches("set_config").count(), 3);
        session.restored();
        assert_eq!(session.restoring(), None);
    }

    #[test]
    fn a_guarded_setting_that_is_not_reported_is_set_each_time() {
        let mut session = session(true);
        let read_only = "SELECT pg_catalog.set_config(E'default_transaction_read_only', E'on', false)";
        for _ in 0..2 {
            assert_eq!(session.restoring().as_deref(), Some(read_only));
            session.restored();
        }
    }

    #[test]
    fn settings_that_did_not_travel_with_the_login_follow_it() {
        assert!(session(false).restoring().is_some());
    }

    #[test]
    fn a_value_stays_a_value() {
        assert_eq!(literal("a'b\\"), "E'a''b\\\\'");
    }
}
