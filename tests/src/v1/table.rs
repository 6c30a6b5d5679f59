//! Rows in memory, and as much of the query language as a bridge of version 1 must know.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Value>,
    /// Where nulls stand in ascending order.
    nulls: Ordering,
}

impl Table {
    /// A table of these rows, whose nulls are the least of all values, as in SQLite.
    pub fn new(rows: Vec<Value>) -> Self {
        Self { rows, nulls: Ordering::Less }
    }

    /// The same table with nulls as the greatest of all values, as in PostgreSQL.
    #[must_use]
    pub fn with_nulls_last(self) -> Self {
        Self { nulls: Ordering::Greater, ..self }
    }

    /// How many rows match.
    pub fn count(&self, options: &Value) -> usize {
        self.matching(options).count()
    }

    /// The rows of a query.
    pub fn query(&self, options: &Value) -> Vec<Value> {
        let mut rows: Vec<&Value> = self.matching(options).collect();
        for key in keys(&options["orderBy"]).into_iter().rev() {
            let descending = key["dir"] == "desc";
            let field = key["field"].as_str().unwrap().to_owned();
            rows.sort_by(|left, right| {
                let order = self.order(&left[&field], &right[&field]);
                if descending { order.reverse() } else { order }
            });
        }
        let number = |field: &str| options[field].as_u64().map(|number| usize::try_from(number).unwrap());
        let rows =
            rows.into_iter().skip(number("offset").unwrap_or(0)).take(number("limit").unwrap_or(usize::MAX));
        rows.map(|row| selected(row, &options["select"])).collect()
    }

    fn matching(&self, options: &Value) -> impl Iterator<Item = &Value> {
        let condition = options.get("where").cloned().unwrap_or_else(|| json!({}));
        self.rows.iter().filter(move |row| matches(row, &condition))
    }

    fn order(&self, left: &Value, right: &Value) -> Ordering {
        match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => self.nulls,
            (false, true) => self.nulls.reverse(),
            (false, false) => order(left, right),
        }
    }
}

fn keys(order_by: &Value) -> Vec<&Value> {
    match order_by {
        Value::Null => Vec::new(),
        Value::Array(keys) => keys.iter().collect(),
        single => vec![single],
    }
}

fn selected(row: &Value, select: &Value) -> Value {
    let Some(columns) = select.as_array() else { return row.clone() };
    let column = |name: &Value| {
        let name = name.as_str().unwrap();
        let value = row.get(name).unwrap_or_else(|| panic!("there is no column {name}"));
        (name.to_owned(), value.clone())
    };
    Value::Object(columns.iter().map(column).collect::<Map<_, _>>())
}

fn matches(row: &Value, condition: &Value) -> bool {
    let parts = |list: &Value| list.as_array().unwrap().clone();
    condition.as_object().unwrap().iter().all(|(key, value)| match key.as_str() {
        "$and" => parts(value).iter().all(|part| matches(row, part)),
        "$or" => parts(value).iter().any(|part| matches(row, part)),
        "$not" => !matches(row, value),
        column => passes(row.get(column).unwrap_or_else(|| panic!("there is no column {column}")), value),
    })
}

fn passes(value: &Value, test: &Value) -> bool {
    let Some(operators) = test.as_object() else { return equal(value, test) };
    operators.iter().all(|(operator, other)| {
        let compared = || (!value.is_null() && !other.is_null()).then(|| order(value, other));
        match operator.as_str() {
            "$eq" => equal(value, other),
            "$ne" if other.is_null() => !value.is_null(),
            "$ne" => !value.is_null() && !equal(value, other),
            "$gt" => compared() == Some(Ordering::Greater),
            "$gte" => matches!(compared(), Some(Ordering::Greater | Ordering::Equal)),
            "$lt" => compared() == Some(Ordering::Less),
            "$lte" => matches!(compared(), Some(Ordering::Less | Ordering::Equal)),
            "$in" => other.as_array().unwrap().iter().any(|other| equal(value, other)),
            other => panic!("a bridge of version 1 has no operator {other}"),
        }
    })
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.is_null(), right.is_null()) {
        (false, false) => order(left, right) == Ordering::Equal,
        (left, right) => left && right,
    }
}

/// Numbers among themselves and texts among themselves.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::String(left), Value::String(right)) => left.cmp(right),
        _ => left.as_f64().unwrap().total_cmp(&right.as_f64().unwrap()),
    }
}
