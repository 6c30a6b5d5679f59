//! Measures as they grow, one value at a time.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use protocol::MeasureKind;

use super::{Measured, integer};
use crate::values::{Number, Value};

/// What a hash table costs for an entry beside the entry.
const ENTRY: usize = 16;

/// One measure of one bucket.
#[derive(Debug)]
pub(super) enum Accumulator {
    Count(u64),
    Distinct(HashSet<Value>),
    Sum(Sum),
    Average(Sum),
    /// The value that stands on this side of all others.
    Extreme(Ordering, Option<Value>),
    Percentile(f64, Vec<f64>),
    Top(u32, HashMap<Value, u64>),
    /// The value whose order stands on this side of all others, with its order.
    Edge(Ordering, Option<(Value, Value)>),
}

impl Accumulator {
    pub(super) fn new(kind: MeasureKind) -> Self {
        match kind {
            MeasureKind::Count => Self::Count(0),
            MeasureKind::CountDistinct => Self::Distinct(HashSet::new()),
            MeasureKind::Sum | MeasureKind::Rate => Self::Sum(Sum::default()),
            MeasureKind::Avg => Self::Average(Sum::default()),
            MeasureKind::Min => Self::Extreme(Ordering::Less, None),
            MeasureKind::Max => Self::Extreme(Ordering::Greater, None),
            MeasureKind::Percentile(p) => Self::Percentile(p, Vec::new()),
            MeasureKind::TopK(k) => Self::Top(k, HashMap::new()),
            MeasureKind::First => Self::Edge(Ordering::Less, None),
            MeasureKind::Last => Self::Edge(Ordering::Greater, None),
        }
    }

    /// Takes a value; `order` is what `first` and `last` go by. Says how many bytes it grew by.
    pub(super) fn add(&mut self, value: &Value, order: &Value) -> usize {
        match self {
            Self::Count(count) => {
                *count += 1;
                0
            }
            Self::Distinct(values) if !value.is_null() && !values.contains(value) => {
                values.insert(value.clone());
                value.size() + ENTRY
            }
            Self::Distinct(_) => 0,
            Self::Sum(sum) | Self::Average(sum) => {
                value.number().into_iter().for_each(|number| sum.add(&number));
                0
            }
            Self::Extreme(side, best) => {
                let better = best.as_ref().is_none_or(|best| value.total_order(best) == *side);
                let better = better && !value.is_null();
                if better {
                    grown(best.replace(value.clone()).map(|old| old.size()), value.size())
                } else {
                    0
                }
            }
            Self::Percentile(_, values) => {
                let number = value.number().map(|number| number.as_f64()).filter(|it| it.is_finite());
                values.extend(number);
                number.map_or(0, |_| size_of::<f64>())
            }
            Self::Top(_, counts) if !value.is_null() => match counts.get_mut(value) {
                Some(count) => {
                    *count += 1;
                    0
                }
                None => {
                    counts.insert(value.clone(), 1);
                    value.size() + size_of::<u64>() + ENTRY
                }
            },
            Self::Top(..) => 0,
            Self::Edge(side, best) => {
                let better = best.as_ref().is_none_or(|(at, _)| order.total_order(at) == *side);
                if !better || order.is_null() {
                    return 0;
                }
                let size = order.size() + value.size();
                let old = best.replace((order.clone(), value.clone()));
                grown(old.map(|(order, value)| order.size() + value.size()), size)
            }
        }
    }

    pub(super) fn finish(self) -> Measured {
        let number = |number: Option<Number>| Measured::One(number.map_or(Value::Null, Value::Number));
        match self {
            Self::Count(count) => Measured::One(integer(count)),
            Self::Distinct(values) => Measured::One(integer(values.len() as u64)),
            Self::Sum(sum) => number(sum.total()),
            Self::Average(sum) => number(sum.mean()),
            Self::Extreme(_, best) => Measured::One(best.unwrap_or(Value::Null)),
            Self::Percentile(p, values) => number(percentile(p, values).and_then(Number::from_f64)),
            Self::Top(k, counts) => Measured::Top(top(k, counts)),
            Self::Edge(_, best) => Measured::One(best.map_or(Value::Null, |(_, value)| value)),
        }
    }
}

fn grown(from: Option<usize>, to: usize) -> usize {
    to.saturating_sub(from.unwrap_or(0))
}

/// A sum that is exact as long as it fits into 128 bits at one scale; what does not fit is added as doubles.
#[derive(Debug, Default)]
pub(super) struct Sum {
    count: u64,
    units: i128,
    scale: u32,
    rest: f64,
    /// What doubles lost so far (Neumaier's summation).
    lost: f64,
    inexact: bool,
}

impl Sum {
    fn add(&mut self, number: &Number) {
        self.count += 1;
        if self.add_exactly(number).is_none() {
            self.inexact = true;
            self.add_double(number.as_f64());
        }
    }

    fn add_exactly(&mut self, number: &Number) -> Option<()> {
        let (units, scale) = number.scaled()?;
        let common = scale.max(self.scale);
        let widen = |units: i128, from: u32| units.checked_mul(10_i128.checked_pow(common - from)?);
        let sum = widen(self.units, self.scale)?.checked_add(widen(units, scale)?)?;
        (self.units, self.scale) = (sum, common);
        Some(())
    }

    fn add_double(&mut self, value: f64) {
        let sum = self.rest + value;
        self.lost += if self.rest.abs() >= value.abs() {
            (self.rest - sum) + value
        } else {
            (value - sum) + self.rest
        };
        self.rest = sum;
    }

    /// Nothing for the sum of nothing.
    fn total(&self) -> Option<Number> {
        let exact = Number::of_scaled(self.units, self.scale)?;
        match (self.count, self.inexact) {
            (0, _) => None,
            // Fractions are answered as doubles, as SQL answers them through the bridges.
            (_, false) => match exact {
                Number::Integer(_) => Some(exact),
                Number::Decimal(_) => Number::from_f64(exact.as_f64()),
            },
            (_, true) => Number::from_f64(exact.as_f64() + self.rest + self.lost),
        }
    }

    fn mean(&self) -> Option<Number> {
        #[expect(clippy::cast_precision_loss, reason = "a mean over 2^53 rows is not exact anyway")]
        let count = self.count as f64;
        Number::from_f64(self.total()?.as_f64() / count)
    }
}

/// Interpolated between the two values next to the point.
fn percentile(p: f64, mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = u32::try_from(values.len().checked_sub(1)?).unwrap_or(u32::MAX);
    let point = f64::from(last) * p;
    let (below, above) = (point.floor(), point.ceil());
    let at = |index: f64| values.iter().copied().nth(index_of(index));
    let (low, high) = (at(below)?, at(above)?);
    Some(low + (high - low) * (point - below))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number from 0 to 2^32, as the only caller makes it"
)]
fn index_of(value: f64) -> usize {
    value as usize
}

/// The most frequent values; equals by their own order, so that an answer does not depend on the order of rows.
fn top(k: u32, counts: HashMap<Value, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<(Value, u64)> = counts.into_iter().collect();
    counts.sort_by(|(left, left_count), (right, right_count)| {
        right_count.cmp(left_count).then_with(|| left.total_order(right))
    });
    counts.truncate(usize::try_from(k).unwrap_or(usize::MAX));
    counts.into_iter().map(|(value, count)| (value.text().unwrap_or_default(), count)).collect()
}
