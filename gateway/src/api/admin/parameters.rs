//! The parameters behind a route's question mark. Whatever is wrong is a 400 that names the parameter.

use std::str::FromStr;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use protocol::Timestamp;
use runtime::spelling::closest;

use crate::api::Api;
use crate::api::error::ApiError;
use crate::model::RunnerId;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// Pairs as axum hands them over.
pub(super) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The parameters of a request, each of them known and there once.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Refuses what is not among `known`.
    pub(super) fn read(pairs: Pairs, known: &[&str]) -> Result<Self, ApiError> {
        let Query(pairs) = pairs.map_err(|_| ApiError::invalid("query", "pairs such as limit=10"))?;
        let mut given: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                return Err(unknown(&name, known));
            }
            if given.iter().any(|(other, _)| *other == name) {
                return Err(ApiError::invalid(&name, "to be there once"));
            }
            given.push((name, value));
        }
        Ok(Self(given))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.iter().find_map(|(given, value)| (given == name).then(|| value.clone()))
    }

    pub(super) fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, ApiError> {
        self.parsed_by(name, expected, |text| text.parse().ok())
    }

    pub(super) fn parsed_by<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| ApiError::invalid(name, expected))
    }

    /// A word of a short list.
    pub(super) fn word(&self, name: &str, known: &[&str]) -> Result<Option<String>, ApiError> {
        match self.text(name) {
            Some(word) if !known.contains(&word.as_str()) => Err(unknown_word(name, &word, known)),
            word => Ok(word),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        self.parsed_by(name, "a time such as 2026-01-31T12:00:00Z", Timestamp::parse)
    }

    /// `runner`, the id or the name of one. A deleted runner is still found by its id.
    pub(super) fn runner(&self, api: &Api) -> Result<Option<RunnerId>, ApiError> {
        self.parsed_by("runner", "the id or the name of a runner", |runner| {
            let named = || api.control.snapshot().runner_named(runner).map(|runner| runner.id);
            runner.parse().ok().or_else(named)
        })
    }

    /// `limit`, rows of a page.
    pub(super) fn limit(&self) -> Result<u32, ApiError> {
        let in_range = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        Ok(self.parsed_by("limit", "a number from 1 to 1000", in_range)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// `cursor`, where the page before has ended.
    pub(super) fn cursor<T: FromStr>(&self) -> Result<Option<T>, ApiError> {
        self.parsed("cursor", "nextCursor of the page before")
    }
}

fn unknown_word(name: &str, word: &str, known: &[&str]) -> ApiError {
    let hint = closest(word, known).map(|meant| format!("; did you mean {meant}?"));
    ApiError::invalid(name, &format!("one of {}{}", known.join(", "), hint.unwrap_or_default()))
}

fn unknown(name: &str, known: &[&str]) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    match closest(name, known) {
        Some(meant) => ApiError::invalid(&shown, &format!("no such parameter; did you mean {meant}?")),
        None => ApiError::invalid(&shown, &format!("one of the parameters {}", known.join(", "))),
    }
}
