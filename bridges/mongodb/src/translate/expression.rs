//! A filter as an aggregation expression, for measures that count only some rows of their bucket. The logic is that of
//! [`filter`](super::filter): what is true and what is false are written apart, null is in neither.

use mongodb::bson::{Bson, Document, doc};
use protocol::{Comparison, Filter, Invalid, Scalar, Test, TextMatch, Where};

use super::filter::operator;
use super::operand::{Forms, Over, Range, equals, ranges};
use super::{check_path, field, literal, pattern};

/// The expression that is true for matching documents; nothing when all match.
pub(super) fn expression(filter: &Filter) -> Result<Option<Bson>, Invalid> {
    if filter.is_everything() {
        return Ok(None);
    }
    condition(filter.condition(), true).map(Some)
}

fn condition(condition_: &Where, truth: bool) -> Result<Bson, Invalid> {
    let each = |parts: &[Where]| -> Result<Vec<Bson>, Invalid> {
        parts.iter().map(|part| condition(part, truth)).collect()
    };
    Ok(match (condition_, truth) {
        (Where::Everything, truth) => Bson::Boolean(truth),
        (Where::All(parts), true) | (Where::Any(parts), false) => doc! {"$and": each(parts)?}.into(),
        (Where::Any(parts), true) | (Where::All(parts), false) => doc! {"$or": each(parts)?}.into(),
        (Where::Not(part), truth) => condition(part, !truth)?,
        (Where::Field { name, test }, truth) => {
            check_path(name)?;
            field_test(&field(name), test, truth)
        }
    })
}

fn field_test(field: &Bson, test: &Test, truth: bool) -> Bson {
    match test {
        Test::Equal(Scalar::Null) => null_test(field, truth),
        Test::NotEqual(Scalar::Null) => null_test(field, !truth),
        Test::Equal(scalar) => among(field, std::slice::from_ref(scalar), truth),
        Test::NotEqual(scalar) => among(field, std::slice::from_ref(scalar), !truth),
        Test::In(scalars) => among(field, scalars, truth),
        Test::NotIn(scalars) => among(field, scalars, !truth),
        Test::Compare(_, Scalar::Null) => false.into(),
        Test::Compare(comparison, scalar) => {
            let ranges = ranges(*comparison, scalar, Forms::default());
            let tests: Vec<Bson> = ranges.iter().map(|range| range_test(field, range).into()).collect();
            decided(field, doc! {"$or": tests}.into(), truth)
        }
        Test::Text(text_match, operand) => {
            decided(field, text_test(field, *text_match, operand).into(), truth)
        }
        Test::Exists(exists) => null_test(field, *exists != truth),
        Test::Never => (!truth).into(),
        Test::Always => truth.into(),
    }
}

/// Missing is below null, and so is nothing else that a document holds.
pub(super) fn is_null(field: &Bson) -> Document {
    doc! {"$lte": [field.clone(), null]}
}

pub(super) fn is_something(field: &Bson) -> Document {
    doc! {"$gt": [field.clone(), null]}
}

fn null_test(field: &Bson, null: bool) -> Bson {
    if null { is_null(field).into() } else { is_something(field).into() }
}

fn decided(field: &Bson, test: Bson, truth: bool) -> Bson {
    if truth { test } else { doc! {"$and": [is_something(field), {"$not": [test]}]}.into() }
}

fn among(field: &Bson, scalars: &[Scalar], truth: bool) -> Bson {
    if !truth && scalars.contains(&Scalar::Null) {
        return false.into();
    }
    let values: Vec<Bson> = scalars.iter().flat_map(|scalar| equals(scalar, Forms::default())).collect();
    decided(field, doc! {"$in": [field.clone(), literal(values)]}.into(), truth)
}

/// Expressions compare across types, so the family is asked for. What is not a number is below all that are.
fn range_test(field: &Bson, range: &Range) -> Document {
    let comparison: Bson =
        doc! {operator(range.comparison): [field.clone(), literal(range.bound.clone())]}.into();
    let family: Bson = doc! {"$in": [{"$type": field.clone()}, literal(family(range))]}.into();
    let below = matches!(range.comparison, Comparison::Less | Comparison::LessOrEqual);
    if below && is_number(&range.bound) {
        let number: Bson = doc! {"$gte": [field.clone(), f64::NEG_INFINITY]}.into();
        return doc! {"$and": [comparison, family, number]};
    }
    doc! {"$and": [comparison, family]}
}

fn is_number(value: &Bson) -> bool {
    matches!(value, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_))
}

fn family(range: &Range) -> Vec<Bson> {
    let names: &[&str] = match (range.over, &range.bound) {
        (Over::Doubles, _) => &["double"],
        (Over::ExactNumbers, _) => &["int", "long", "decimal"],
        (Over::Family, bound) if is_number(bound) => &["int", "long", "double", "decimal"],
        (Over::Family, Bson::ObjectId(_)) => &["objectId"],
        (Over::Family, Bson::DateTime(_)) => &["date"],
        (Over::Family, Bson::Binary(_)) => &["binData"],
        (Over::Family, Bson::Boolean(_)) => &["bool"],
        (Over::Family, _) => &["string", "symbol"],
    };
    names.iter().map(|name| Bson::from(*name)).collect()
}

fn text_test(field: &Bson, text_match: TextMatch, operand: &str) -> Document {
    let (pattern, options) = pattern::pattern(text_match, operand);
    let is_text = doc! {"$eq": [{"$type": field.clone()}, "string"]};
    let matches =
        doc! {"$regexMatch": {"input": field.clone(), "regex": literal(pattern), "options": options}};
    doc! {"$cond": [is_text, matches, false]}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Bson {
        expression(&Filter::from_json(json).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn negation_leaves_null_out() {
        let test = doc! {"$in": ["$a", {"$literal": ["x!"]}]};
        assert_eq!(of(r#"{"a":"x!"}"#), test.clone().into());
        assert_eq!(
            of(r#"{"a":{"$ne":"x!"}}"#),
            doc! {"$and": [{"$gt": ["$a", null]}, {"$not": [test]}]}.into()
        );
        assert_eq!(of(r#"{"a":null}"#), doc! {"$lte": ["$a", null]}.into());
        assert_eq!(of(r#"{"$not":{"a":{"$in":[1,null]}}}"#), Bson::Boolean(false));
    }

    #[test]
    fn values_stand_where_no_expression_is_read() {
        let written = of(r#"{"a":{"$gt":"$secret"}}"#).to_string();
        assert!(written.contains(r#"{ "$literal": "$secret" }"#), "{written}");
        let written = of(r#"{"a":{"$contains":"$x"}}"#).to_string();
        assert!(written.contains("$literal"), "{written}");
    }
}
