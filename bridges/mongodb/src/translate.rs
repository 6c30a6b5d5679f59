//! Requests in MongoDB's own words. Nothing here does IO, and nothing of a request becomes an operator: values stand where
//! the server expects values only, names are checked before they become paths.

mod aggregate;
mod expression;
mod filter;
mod keyset;
mod operand;
mod pattern;
mod select;

use mongodb::bson::{Bson, Document, doc};
use protocol::Invalid;

pub(crate) use aggregate::{BucketPlan, Decode, Part, aggregate, candidates, check_measure, is_reduced};
pub(crate) use filter::{Named, matching};
pub(crate) use keyset::Key;
pub(crate) use operand::Forms;
pub(crate) use select::{Find, Outputs, check_name, needed, outputs, query, read};

/// The primary key of every collection.
pub(crate) const ID: &str = "_id";
/// The longest path that a name may be; the server nests documents no deeper.
const MAX_PATH: usize = 100;

/// Refuses names that are no path of fields: the server would read a part that begins with `$` as an operator.
pub(crate) fn check_path(name: &str) -> Result<(), Invalid> {
    let good = |part: &str| !part.is_empty() && !part.starts_with('$') && !part.contains('\0');
    if !name.split('.').all(good) {
        return Err(Invalid::new(
            name,
            "the path of a field: names joined by dots, none empty or beginning with $",
        ));
    }
    if name.split('.').count() > MAX_PATH {
        return Err(Invalid::new(name, format!("a path of at most {MAX_PATH} names")));
    }
    Ok(())
}

/// A condition that no document meets.
fn never() -> Document {
    doc! {ID: {"$in": []}}
}

/// A path as an aggregation expression reads it. The name has been checked.
fn field(name: &str) -> Bson {
    Bson::String(format!("${name}"))
}

/// A value that no expression is read into.
fn literal(value: impl Into<Bson>) -> Bson {
    Bson::Document(doc! {"$literal": value.into()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_could_take_for_an_operator_is_refused() {
        for name in ["$where", "a.$expr", "", "a..b", ".a", "a.", "a\0b", "$$ROOT"] {
            assert!(check_path(name).is_err(), "{name:?}");
        }
        for name in ["_id", "a.b", "q ? $1", "a.0.b", "ünï 列", "semi;colon--"] {
            assert!(check_path(name).is_ok(), "{name:?}");
        }
        assert!(check_path(&"a.".repeat(200)).is_err());
    }
}
