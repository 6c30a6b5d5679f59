//! What a case of a survey works with: a bridge that was connected for it, and targets whose rows are known.

use std::collections::HashMap;
use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver};
use protocol::{
    AggregateOptions, BatchReadOptions, CountOptions, QueryOptions, ReadOptions, SearchOptions,
    SimilarOptions, SourceConfig,
};
use serde_json::{Value as Json, json};

use super::sample::{Class, Column, Sample, sorted_texts};
use crate::failure::{Failure, Outcome, ensure};
use crate::subject::{Page, buckets, comparable, page, raw};
use crate::wire::Row;

/// Characters of a row that a message repeats.
const SHOWN: usize = 200;

/// A source under survey.
pub struct Site<'a> {
    pub(super) driver: &'a dyn Driver,
    pub(super) config: &'a SourceConfig,
    pub(super) bridge: Box<dyn Bridge>,
    /// The targets that are listed.
    pub(super) listed: &'a [String],
    /// Never empty, and none without rows.
    pub(super) samples: &'a [Sample],
    /// Whether what the case needs is declared.
    pub(super) declared: bool,
    /// What one call may take.
    pub(super) limit: Duration,
}

impl Site<'_> {
    /// A new call with the whole limit.
    pub(super) fn call(&self) -> Call {
        Call::within(self.limit)
    }

    /// Another connection.
    pub(super) async fn connect(&self) -> Outcome<Box<dyn Bridge>> {
        Ok(self.driver.connect(self.config, &self.call()).await?)
    }

    /// The targets of which every row is known.
    pub(super) fn complete(&self) -> Outcome<Vec<&Sample>> {
        let complete: Vec<&Sample> = self.samples.iter().filter(|sample| sample.complete).collect();
        if complete.is_empty() {
            return Err(Failure::Impossible("every target has more rows than the survey reads"));
        }
        Ok(complete)
    }

    /// A column that a case looks for, in a target of which every row is known. Where the case's needs are not declared,
    /// and it must be refused anyway, any column does.
    pub(super) fn column<'s>(
        &'s self,
        find: impl Fn(&'s Sample) -> Option<&'s Column>,
        otherwise: &'static str,
    ) -> Outcome<(&'s Sample, &'s Column)> {
        let complete = self.samples.iter().filter(|sample| sample.complete);
        let found = complete.filter_map(|sample| Some((sample, find(sample)?))).next();
        let any = || self.samples.iter().find_map(|sample| Some((sample, sample.columns.first()?)));
        match found {
            Some(found) => Ok(found),
            None if self.declared => Err(Failure::Impossible(otherwise)),
            None => any().ok_or(Failure::Impossible(otherwise)),
        }
    }

    /// A column of numbers of which some differ.
    pub(super) fn numbers(&self) -> Outcome<(&Sample, &Column)> {
        let several = |column: &&Column| column.values.len() > 1;
        self.column(|sample| sample.of(Class::Number).find(several), "no column has different numbers")
    }

    /// A column with few enough values to group by.
    pub(super) fn groups(&self) -> Outcome<(&Sample, &Column)> {
        let few = |column: &&Column| (2..=200).contains(&column.values.len());
        let classes = [Class::Text, Class::Boolean, Class::Number];
        self.column(
            |sample| classes.into_iter().find_map(|class| sample.of(class).find(few)),
            "no column has between 2 and 200 different values",
        )
    }

    /// `query`.
    pub(super) async fn query(&self, target: &str, options: Json) -> Outcome<Page> {
        let options = QueryOptions::parse(&raw(&options)?)?;
        page(self.bridge.query(&self.call(), target, options).await?).await
    }

    /// `read`.
    pub(super) async fn read(&self, target: &str, options: Json) -> Outcome<Page> {
        let options = ReadOptions::parse(&raw(&options)?)?;
        page(self.bridge.read(&self.call(), target, options).await?).await
    }

    /// `batchRead`.
    pub(super) async fn batch_read(&self, target: &str, options: Json) -> Outcome<Vec<Row>> {
        let options = BatchReadOptions::parse(&raw(&options)?)?;
        Ok(page(self.bridge.batch_read(&self.call(), target, options).await?).await?.rows)
    }

    /// `count`.
    pub(super) async fn count(&self, target: &str, options: Json) -> Outcome<u64> {
        let options = CountOptions::parse(&raw(&options)?)?;
        let counted = self.bridge.count(&self.call(), target, options).await?;
        let exact = self.driver.capabilities().exact_count;
        ensure(counted.approximate != exact, || {
            format!("counts are declared to be exact: {exact}, and this one is not so")
        })?;
        Ok(counted.total)
    }

    /// `aggregate`.
    pub(super) async fn aggregate(&self, target: &str, options: Json) -> Outcome<Vec<Row>> {
        let options = AggregateOptions::parse(&raw(&options)?)?;
        buckets(self.bridge.aggregate(&self.call(), target, options).await?).await
    }

    /// `search`.
    pub(super) async fn search(&self, target: &str, options: Json) -> Outcome<Page> {
        let options = SearchOptions::parse(&raw(&options)?)?;
        page(self.bridge.search(&self.call(), target, options).await?).await
    }

    /// `similar`.
    pub(super) async fn similar(&self, target: &str, options: Json) -> Outcome<Page> {
        let options = SimilarOptions::parse(&raw(&options)?)?;
        page(self.bridge.similar(&self.call(), target, options).await?).await
    }

    /// `query` and `count` find exactly the rows that the oracle finds. Returns how many that are.
    pub(super) async fn finds(&self, sample: &Sample, filter: Json) -> Outcome<usize> {
        let expected = sample.matching(&filter)?;
        let page = self.query(&sample.target, json!({ "where": filter })).await?;
        let got = sorted_texts(&page.rows);
        let what = format!("rows of {} where {filter}", sample.target);
        same_rows(&what, &got, &expected)?;
        let counted = self.count(&sample.target, json!({ "where": filter })).await?;
        self.close_enough(&format!("count of {what}"), counted, got.len())?;
        Ok(got.len())
    }

    /// `aggregate` gives exactly the buckets that the reducer computes, in any order unless sorted.
    pub(super) async fn reduces(&self, sample: &Sample, options: Json) -> Outcome<Vec<Row>> {
        let got = self.aggregate(&sample.target, options.clone()).await?;
        let mut texts = comparable(&got);
        if options.get("sort").is_none() {
            texts.sort();
        }
        let expected = sample.buckets(&options)?;
        same_rows(&format!("buckets of {} by {options}", sample.target), &texts, &expected)?;
        Ok(got)
    }

    /// Exactly equal; within half (but at least 5) where counts are declared to be estimates.
    pub(super) fn close_enough(&self, what: &str, got: u64, expected: usize) -> Outcome {
        let expected = expected as u64;
        let slack = if self.driver.capabilities().exact_count { 0 } else { expected.div_ceil(2).max(5) };
        ensure(got.abs_diff(expected) <= slack, || format!("{what}: got {got}, expected {expected}"))
    }
}

/// The answer must be one of those that are expected. A message shows what is most telling: a row of which there are too
/// few or too many.
pub(super) fn same_rows(what: &str, got: &[String], expected: &[Vec<String>]) -> Outcome {
    if expected.iter().any(|expected| expected == got) {
        return Ok(());
    }
    let expected = expected.first().map(Vec::as_slice).unwrap_or_default();
    let missing = first_beyond(expected, got).map(|row| format!(", missing {row}")).unwrap_or_default();
    let surplus = first_beyond(got, expected).map(|row| format!(", too many {row}")).unwrap_or_default();
    Err(Failure::wrong(format!("{what}: got {}, expected {}{missing}{surplus}", got.len(), expected.len())))
}

/// The first text of which `left` has more than `right`.
fn first_beyond(left: &[String], right: &[String]) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    right.iter().for_each(|text| *counts.entry(text).or_default() += 1);
    let more = |text: &&String| match counts.get_mut(text.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        Some(_) | None => true,
    };
    left.iter().find(more).map(|text| text.chars().take(SHOWN).collect())
}

/// The error of something that must fail.
pub(super) fn refused<T: std::fmt::Debug>(what: &str, outcome: Outcome<T>) -> Outcome<BridgeError> {
    match outcome {
        Err(Failure::Bridge(error)) => Ok(error),
        Err(other) => Err(other),
        Ok(_) => Err(Failure::wrong(format!("{what} was answered"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_a_row_of_which_there_are_too_few_or_too_many() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (got, expected) = (texts(&["a", "b", "b"]), texts(&["a", "a", "b"]));
        let Err(Failure::Wrong(message)) = same_rows("rows", &got, std::slice::from_ref(&expected)) else {
            panic!("they differ");
        };
        assert_eq!(message, "rows: got 3, expected 3, missing a, too many b");
        assert!(same_rows("rows", &got, &[expected, got.clone()]).is_ok());
    }
}
