//! A filter as a query document, in three-valued logic.
//!
//! MongoDB's own logic has two values: `$ne` and `$nor` find documents without the field. So a condition is written as
//! the documents for which it is true, and its negation, pushed down to the tests, as those for which it is false; a
//! document in which a field is null or missing is in neither.

use mongodb::bson::{Bson, Document, doc};
use protocol::{Comparison, Filter, Invalid, Scalar, Test, TextMatch, Where};

use super::operand::{Forms, Over, Range, equals, ranges};
use super::{check_path, never, pattern};

/// The field that a name of a filter stands for.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its path.
    pub(crate) path: String,
    /// In which forms operands are looked for in it.
    pub(crate) forms: Forms,
}

impl Named {
    /// A field of which nothing is known.
    pub(crate) fn any(path: impl Into<String>) -> Self {
        Self { path: path.into(), forms: Forms::default() }
    }
}

/// The query document of a filter. `path` gives the field of each name, or refuses it.
pub(crate) fn matching(
    filter: &Filter,
    path: &impl Fn(&str) -> Result<Named, Invalid>,
) -> Result<Document, Invalid> {
    condition(filter.condition(), true, path)
}

/// Documents for which a condition is `truth`.
fn condition(
    condition_: &Where,
    truth: bool,
    path: &impl Fn(&str) -> Result<Named, Invalid>,
) -> Result<Document, Invalid> {
    let each = |parts: &[Where]| -> Result<Vec<Document>, Invalid> {
        parts.iter().map(|part| condition(part, truth, path)).collect()
    };
    Ok(match (condition_, truth) {
        (Where::Everything, true) => Document::new(),
        (Where::Everything, false) => never(),
        (Where::All(parts), true) | (Where::Any(parts), false) => all(each(parts)?),
        (Where::Any(parts), true) | (Where::All(parts), false) => any(each(parts)?),
        (Where::Not(part), truth) => condition(part, !truth, path)?,
        (Where::Field { name, test }, truth) => {
            let named = path(name)?;
            check_path(&named.path)?;
            field_test(&named, test, truth)
        }
    })
}

/// Documents that meet all of these.
pub(super) fn all(mut parts: Vec<Document>) -> Document {
    parts.retain(|part| !part.is_empty());
    match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => doc! {"$and": parts},
    }
}

/// Documents that meet any of these.
pub(super) fn any(mut parts: Vec<Document>) -> Document {
    match parts.len() {
        0 => never(),
        1 => parts.pop().unwrap_or_default(),
        _ if parts.iter().any(Document::is_empty) => Document::new(),
        _ => doc! {"$or": parts},
    }
}

/// Documents in which a field is null or missing. A list is neither, even when it holds null.
pub(super) fn is_null(name: &str) -> Document {
    doc! {name: {"$eq": null, "$not": {"$type": "array"}}}
}

/// Documents in which a field is something.
pub(super) fn is_something(name: &str) -> Document {
    doc! {"$nor": [is_null(name)]}
}

fn field_test(named: &Named, test: &Test, truth: bool) -> Document {
    let name = named.path.as_str();
    match test {
        Test::Equal(Scalar::Null) => null_test(name, truth),
        Test::NotEqual(Scalar::Null) => null_test(name, !truth),
        Test::Equal(scalar) => among(named, std::slice::from_ref(scalar), truth),
        Test::NotEqual(scalar) => among(named, std::slice::from_ref(scalar), !truth),
        Test::In(scalars) => among(named, scalars, truth),
        Test::NotIn(scalars) => among(named, scalars, !truth),
        Test::Compare(_, Scalar::Null) => never(),
        Test::Compare(comparison, scalar) => {
            let ranges = ranges(*comparison, scalar, named.forms);
            decided(name, any(ranges.iter().map(|range| range_test(name, range)).collect()), truth)
        }
        Test::Text(text_match, operand) => decided(name, text_test(name, *text_match, operand), truth),
        Test::Exists(exists) => null_test(name, *exists != truth),
        Test::Never => constant(!truth),
        Test::Always => constant(truth),
    }
}

fn constant(truth: bool) -> Document {
    if truth { Document::new() } else { never() }
}

fn null_test(name: &str, null: bool) -> Document {
    if null { is_null(name) } else { is_something(name) }
}

/// Documents for which a test that null leaves unknown is `truth`.
fn decided(name: &str, test: Document, truth: bool) -> Document {
    if truth {
        test
    } else {
        doc! {"$nor": [test, is_null(name)]}
    }
}

/// A null among the values: what is not found might have been that one.
fn among(Named { path, forms }: &Named, scalars: &[Scalar], truth: bool) -> Document {
    let name = path.as_str();
    if !truth && scalars.contains(&Scalar::Null) {
        return never();
    }
    let mut values: Vec<Bson> = scalars.iter().flat_map(|scalar| equals(scalar, *forms)).collect();
    let test = match values.len() {
        1 => doc! {name: {"$eq": values.pop()}},
        _ => doc! {name: {"$in": values}},
    };
    decided(name, test, truth)
}

fn range_test(name: &str, range: &Range) -> Document {
    let operator = operator(range.comparison);
    match range.over {
        Over::Family => doc! {name: {operator: range.bound.clone()}},
        Over::Doubles => doc! {name: {operator: range.bound.clone(), "$type": "double"}},
        Over::ExactNumbers => doc! {name: {operator: range.bound.clone(), "$not": {"$type": "double"}}},
    }
}

pub(super) fn operator(comparison: Comparison) -> &'static str {
    comparison.as_str()
}

fn text_test(name: &str, text_match: TextMatch, operand: &str) -> Document {
    let (pattern, options) = pattern::pattern(text_match, operand);
    doc! {name: {"$regex": pattern, "$options": options}}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(json: &str) -> Document {
        matching(&Filter::from_json(json).unwrap(), &|name| Ok(Named::any(name))).unwrap()
    }

    #[test]
    fn equality_finds_what_is_there() {
        assert_eq!(query("{}"), doc! {});
        assert_eq!(query(r#"{"a":"x!"}"#), doc! {"a": {"$eq": "x!"}});
        assert_eq!(query(r#"{"a":5}"#), doc! {"a": {"$in": [5_i64, "5"]}});
        assert_eq!(query(r#"{"a":null}"#), doc! {"a": {"$eq": null, "$not": {"$type": "array"}}});
    }

    #[test]
    fn null_is_neither_in_a_filter_nor_in_its_negation() {
        let is_null = || doc! {"a": {"$eq": null, "$not": {"$type": "array"}}};
        let not_x = doc! {"$nor": [{"a": {"$eq": "x!"}}, (is_null())]};
        assert_eq!(query(r#"{"a":{"$ne":"x!"}}"#), not_x);
        assert_eq!(query(r#"{"$not":{"a":"x!"}}"#), not_x);
        assert_eq!(query(r#"{"$not":{"$not":{"a":"x!"}}}"#), doc! {"a": {"$eq": "x!"}});
        assert_eq!(query(r#"{"a":{"$nin":["x!",null]}}"#), never());
        assert_eq!(query(r#"{"$not":{"a":{"$in":["x!",null]}}}"#), never());
        assert_eq!(query(r#"{"a":{"$gt":null}}"#), never());
        assert_eq!(query(r#"{"$not":{"a":{"$gt":null}}}"#), never());
        assert_eq!(query(r#"{"$not":{"a":null}}"#), doc! {"$nor": [(is_null())]});
    }

    #[test]
    fn negation_takes_all_of_its_fields() {
        assert_eq!(
            query(r#"{"$not":{"a":null,"b":{"$ne":null}}}"#),
            doc! {"$or": [
                {"$nor": [{"a": {"$eq": null, "$not": {"$type": "array"}}}]},
                {"b": {"$eq": null, "$not": {"$type": "array"}}},
            ]}
        );
    }

    #[test]
    fn a_date_is_compared_as_text_and_as_a_date() {
        let at = mongodb::bson::DateTime::from_millis(1_709_164_800_000);
        assert_eq!(
            query(r#"{"a":{"$gte":"2024-02-29"}}"#),
            doc! {"$or": [{"a": {"$gte": "2024-02-29"}}, {"a": {"$gte": at}}]}
        );
    }

    #[test]
    fn two_operators_on_one_field_both_count() {
        let query = query(r#"{"a":{"$contains":"x","$endsWith":"y"}}"#);
        assert_eq!(query.get_array("$and").unwrap().len(), 2);
    }

    #[test]
    fn a_name_that_would_be_an_operator_never_reaches_the_server() {
        // The parser of the protocol refuses these keys where a field may stand …
        for filter in [
            r#"{"$where":"sleep(1)"}"#,
            r#"{"$expr":{"$function":{}}}"#,
            r#"{"$nor":[{"a":1}]}"#,
            r#"{"$and":[{"$where":"1"}]}"#,
            r#"{"a":{"$where":"1"}}"#,
            r#"{"a":{"$not":{"$where":"1"}}}"#,
            r#"{"a":{"$elemMatch":{"$where":"1"}}}"#,
            r#"{"a":{"$eq":{"$where":"1"}}}"#,
            r#"{"$or":[{"$not":{"$text":{"$search":"x"}}}]}"#,
        ] {
            assert!(Filter::from_json(filter).is_err(), "{filter}");
        }
        // … and this bridge refuses them within a path.
        for filter in [r#"{"a.$where":1}"#, r#"{"a..b":1}"#, r#"{"":1}"#] {
            let filter = Filter::from_json(filter).unwrap();
            assert!(matching(&filter, &|name| Ok(Named::any(name))).is_err(), "{filter:?}");
        }
    }

    #[test]
    fn a_value_that_looks_like_an_operator_is_a_value() {
        assert_eq!(query(r#"{"a":"$where!"}"#), doc! {"a": {"$eq": "$where!"}});
    }
}
