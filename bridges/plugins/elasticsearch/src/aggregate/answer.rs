//! Buckets as the engine gives them, and as callers get them.

use std::cmp::Ordering;

use bridge_reduce::{Layout, Matcher, Number, Order, Row, Schema, Value, calendar_label, step_label};
use semilayer_plugin::Error;
use semilayer_plugin::options::{AggregateOptions, MeasureKind, Timestamp};
use serde_json::{Map, Value as Json, json};

use super::left;
use super::plan::{How, MeasurePlan, Plan};

/// Whole numbers up to here are doubles of their own: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Buckets so far.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    found: Vec<Bucket>,
    documents: u64,
}

#[derive(Debug)]
struct Bucket {
    /// For each dimension its name for callers and what it is ordered by.
    dimensions: Vec<(Json, Value)>,
    measures: Vec<Json>,
    count: u64,
}

impl Buckets {
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Adds those of one answer, and says how many they were.
    pub(super) fn add(&mut self, plan: &Plan, page: &Json) -> Result<usize, Error> {
        let buckets = page.get("buckets").and_then(Json::as_array).ok_or_else(|| unexpected("buckets"))?;
        for bucket in buckets {
            let count =
                bucket.get("doc_count").and_then(Json::as_u64).ok_or_else(|| unexpected("doc_count"))?;
            let key = |(number, how): (usize, How)| {
                let key = bucket.pointer(&format!("/key/d{number}")).ok_or_else(|| unexpected("key"))?;
                dimension(how, key)
            };
            let dimensions = plan.dimensions.iter().map(|dimension| dimension.how).enumerate().map(key);
            self.found.push(Bucket {
                dimensions: dimensions.collect::<Result<_, _>>()?,
                measures: measures(plan, bucket)?,
                count,
            });
            self.documents += count;
        }
        Ok(buckets.len())
    }

    /// Without dimensions there is one bucket, also of nothing.
    pub(super) fn add_only(&mut self, plan: &Plan, count: u64, answer: &Json) -> Result<(), Error> {
        self.found.push(Bucket { dimensions: Vec::new(), measures: measures(plan, answer)?, count });
        Ok(())
    }

    /// Makes sure that each document is in one bucket: one with several values is in several, one with a value that is too
    /// long for the index in none.
    pub(super) fn check(&self, documents: u64) -> Result<(), Error> {
        match self.documents == documents {
            true => Ok(()),
            false => Err(left("documents with several values, or with values that are not in the index")),
        }
    }

    /// The buckets that were asked for, in their order.
    pub(super) fn finish(self, options: &AggregateOptions, plan: &Plan) -> Result<Vec<Json>, Error> {
        let mut layout = Layout::new(Schema::unknown());
        let having = Matcher::new(&options.having, &mut layout);
        let mut kept: Vec<(Row, Json)> = Vec::with_capacity(self.found.len());
        for bucket in self.found {
            let measured = bucket.measured(plan);
            let row = layout
                .read(&Json::Object(measured.clone()).to_string())
                .map_err(|error| Error::internal(error.to_string()))?;
            if having.matches(&row) {
                kept.push((bucket.order(options, plan, &measured), bucket.json(plan)));
            }
        }
        let order = Order::of_first(options.sort.iter().map(|key| key.direction));
        kept.sort_by(
            |(left, _), (right, _)| {
                if options.sort.is_empty() { Ordering::Equal } else { order.compare(left, right) }
            },
        );
        let most = options.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(kept.into_iter().take(most).map(|(_, json)| json).collect())
    }
}

impl Bucket {
    /// What `having` sees.
    fn measured(&self, plan: &Plan) -> Map<String, Json> {
        let measures =
            plan.measures.iter().zip(&self.measures).map(|(plan, value)| (plan.name.clone(), value.clone()));
        let count = std::iter::once(("count".to_owned(), json!(self.count)));
        measures.chain(count).collect()
    }

    /// What the bucket is ordered by. A key that is nothing orders nothing.
    fn order(&self, options: &AggregateOptions, plan: &Plan, measured: &Map<String, Json>) -> Row {
        let dimension = |name: &str| {
            let at = plan.dimensions.iter().position(|dimension| dimension.name == name)?;
            self.dimensions.get(at).map(|(_, order)| order.clone())
        };
        let value = |key: &str| match measured.get(key) {
            Some(measure) => {
                measure.as_number().and_then(|number| Number::parse(&number.to_string())).map(Value::Number)
            }
            None => dimension(key),
        };
        options.sort.iter().map(|key| value(&key.key).unwrap_or(Value::Null)).collect()
    }

    fn json(self, plan: &Plan) -> Json {
        let names = plan.dimensions.iter().map(|dimension| dimension.name.clone());
        let dims: Map<String, Json> =
            names.zip(self.dimensions.into_iter().map(|(label, _)| label)).collect();
        let names = plan.measures.iter().map(|measure| measure.name.clone());
        let measures: Map<String, Json> = names.zip(self.measures).collect();
        json!({"dims": dims, "measures": measures, "count": self.count})
    }
}

fn dimension(how: How, key: &Json) -> Result<(Json, Value), Error> {
    match how {
        How::Value => match key {
            Json::Number(number) => {
                let value = Number::parse(&number.to_string()).ok_or_else(|| unexpected("key"))?;
                let is_safe = number.as_i64().is_some_and(|number| number.unsigned_abs() < 1 << 53);
                let label = if is_safe { key.clone() } else { json!(number.to_string()) };
                Ok((label, Value::Number(value)))
            }
            Json::String(text) => Ok((key.clone(), Value::Text(text.clone()))),
            _ => Err(unexpected("key")),
        },
        How::Calendar(unit) => {
            let millis =
                key.as_i64().and_then(|millis| millis.checked_mul(1_000)).ok_or_else(|| unexpected("key"))?;
            let instant = Timestamp::from_micros(millis);
            Ok((json!(calendar_label(unit, instant)), Value::Timestamp(instant)))
        }
        How::Step(step) => {
            let number = key.as_f64().and_then(Number::from_f64).ok_or_else(|| unexpected("key"))?;
            let (_, label) = step_label(&number, step).ok_or_else(|| unexpected("key"))?;
            Ok((json!(label), Value::Number(number)))
        }
    }
}

fn measures(plan: &Plan, bucket: &Json) -> Result<Vec<Json>, Error> {
    let measure = |(number, measure): (usize, &MeasurePlan)| {
        let answer = bucket.get(format!("m{number}")).ok_or_else(|| unexpected("measure"))?;
        measured(measure, answer)
    };
    plan.measures.iter().enumerate().map(measure).collect()
}

fn measured(measure: &MeasurePlan, answer: &Json) -> Result<Json, Error> {
    let documents = answer.get("doc_count").and_then(Json::as_u64).ok_or_else(|| unexpected("doc_count"))?;
    if measure.kind == MeasureKind::Count {
        return Ok(json!(documents));
    }
    let number = |name: &str| answer.pointer(&format!("/s/{name}")).and_then(Json::as_f64);
    let count = answer.pointer("/s/count").and_then(Json::as_u64).ok_or_else(|| unexpected("count"))?;
    if count != documents {
        return Err(left("documents with several values"));
    }
    if count == 0 {
        return Ok(Json::Null);
    }
    let (Some(min), Some(max), Some(sum)) = (number("min"), number("max"), number("sum")) else {
        return Err(unexpected("stats"));
    };
    let largest = min.abs().max(max.abs());
    #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 documents nothing is exact anyway")]
    let count = count as f64;
    let is_exact = match measure.kind {
        MeasureKind::Min | MeasureKind::Max => largest <= EXACT,
        _ => largest * count <= EXACT,
    };
    if measure.is_whole && !is_exact {
        return Err(left("numbers beyond 2^53"));
    }
    let value = match measure.kind {
        MeasureKind::Min => min,
        MeasureKind::Max => max,
        MeasureKind::Avg => sum / count,
        _ => sum,
    };
    Ok(whole(value))
}

/// A double as JSON, without a fraction where it has none.
fn whole(value: f64) -> Json {
    let text = bridge_reduce::Number::from_f64(value).map(|number| number.to_string());
    text.and_then(|text| text.parse::<i64>().ok()).map_or(json!(value), |integer| json!(integer))
}

fn unexpected(what: &str) -> Error {
    Error::query_failed(format!("the server's answer lacks what was asked for ({what})"))
}
