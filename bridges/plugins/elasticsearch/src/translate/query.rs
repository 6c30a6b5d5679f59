//! Conditions in the engine's words, with what is known of them.

use serde_json::{Value as Json, json};

/// A condition, and whether it is exactly what was asked: one that is not finds every row that was asked for, and perhaps
/// others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Query {
    pub(super) condition: Condition,
    pub(super) is_exact: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Everything,
    Nothing,
    These(Json),
}

impl Query {
    pub(super) fn everything() -> Self {
        Self { condition: Condition::Everything, is_exact: true }
    }

    pub(super) fn nothing() -> Self {
        Self { condition: Condition::Nothing, is_exact: true }
    }

    pub(super) fn these(query: Json) -> Self {
        Self { condition: Condition::These(query), is_exact: true }
    }

    /// The same condition as no more than a first look. Where it finds nothing, there is nothing.
    pub(super) fn inexact(self) -> Self {
        let is_exact = self.condition == Condition::Nothing;
        Self { is_exact, ..self }
    }

    /// All of them.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<Self> = parts.into_iter().collect();
        if parts.iter().any(|part| part.condition == Condition::Nothing) {
            return Self::nothing();
        }
        let is_exact = parts.iter().all(|part| part.is_exact);
        let mut queries: Vec<Json> = parts.into_iter().filter_map(Self::into_json).collect();
        let condition = match queries.len() {
            0 => Condition::Everything,
            1 => queries.pop().map_or(Condition::Everything, Condition::These),
            _ => Condition::These(all_of(queries)),
        };
        Self { condition, is_exact }
    }

    /// Any of them.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut is_exact = true;
        let mut queries = Vec::new();
        for part in parts {
            match part.condition {
                Condition::Nothing => {}
                Condition::Everything if part.is_exact => return Self::everything(),
                Condition::Everything => return Self::everything().inexact(),
                Condition::These(query) => {
                    is_exact &= part.is_exact;
                    queries.push(query);
                }
            }
        }
        let condition = match queries.len() {
            0 => Condition::Nothing,
            1 => queries.pop().map_or(Condition::Nothing, Condition::These),
            _ => Condition::These(any_of(queries)),
        };
        Self { condition, is_exact }
    }

    /// These, but not those. What is taken away must be exact: of anything else only these are known.
    pub(super) fn without(self, those: &Self) -> Self {
        if !those.is_exact {
            return self.inexact();
        }
        match (&self.condition, &those.condition) {
            (Condition::Nothing, _) | (_, Condition::Nothing) => self,
            (_, Condition::Everything) => Self::nothing(),
            (Condition::Everything, Condition::These(those)) => {
                Self { condition: Condition::These(none_of(those.clone())), ..self }
            }
            (Condition::These(these), Condition::These(those)) => {
                let query = json!({"bool": {"filter": [these], "must_not": [those]}});
                Self { condition: Condition::These(query), ..self }
            }
        }
    }

    fn into_json(self) -> Option<Json> {
        match self.condition {
            Condition::These(query) => Some(query),
            Condition::Everything | Condition::Nothing => None,
        }
    }
}

/// Rows that match all of these.
pub(crate) fn all_of(queries: Vec<Json>) -> Json {
    json!({"bool": {"filter": queries}})
}

/// Rows that match at least one of these.
pub(crate) fn any_of(queries: Vec<Json>) -> Json {
    json!({"bool": {"should": queries, "minimum_should_match": 1}})
}

/// Rows that do not match this.
pub(super) fn none_of(query: Json) -> Json {
    json!({"bool": {"must_not": [query]}})
}
