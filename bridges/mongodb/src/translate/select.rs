//! `query` and `read` as a find.

use std::collections::HashSet;

use mongodb::bson::{Document, doc};
use protocol::{Direction, Invalid, OrderBy, Projection, QueryOptions, ReadOptions};

use super::filter::all;
use super::{ID, Key, check_path, matching, never};
use crate::introspect::Fields;

/// A find, and what becomes of its documents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Find {
    pub(crate) filter: Document,
    pub(crate) sort: Document,
    /// The fields to send; all of them without.
    pub(crate) projection: Option<Document>,
    pub(crate) skip: u64,
    /// The documents to send, one more than a page.
    pub(crate) limit: Option<u64>,
    /// Rows of a page, after which the position of the last one is the cursor.
    pub(crate) page: Option<u64>,
    pub(crate) key: Key,
    pub(crate) outputs: Outputs,
}

/// Names of a row, each with the path that its value is at; nothing: the document as it is.
pub(crate) type Outputs = Option<Vec<(String, String)>>;

/// The find of a `query`.
pub(crate) fn query(fields: &Fields, options: &QueryOptions) -> Result<Find, Invalid> {
    let path = |name: &str| fields.named(name).map_err(|it| it.within("where"));
    let filter = matching(&options.filter, &path)?;
    let outputs = outputs(fields, &options.projection)?;
    let mut order = order(fields, &options.order_by)?;
    let mut find = Find {
        filter,
        sort: Document::new(),
        projection: None,
        skip: options.offset,
        limit: options.limit,
        page: None,
        key: Key::default(),
        outputs,
    };
    if let Some(keyset) = &options.keyset {
        let tiebreak = keyset.tiebreak.clone().unwrap_or_else(|| vec![ID.to_owned()]);
        for name in tiebreak {
            fields.check(&name).map_err(|invalid| invalid.within("keyset"))?;
            if order.iter().all(|(ordered, _)| *ordered != name) {
                order.push((name, Direction::Ascending));
            }
        }
        find = paged(find, Key(order.clone()), keyset.cursor.as_deref())?;
    }
    find = bounded(find);
    find.sort = sorting(&order);
    find.projection = find.outputs.as_ref().map(|outputs| projected(outputs, &find.key));
    Ok(find)
}

/// The find of one page of a `read`, in the order of the primary key.
pub(crate) fn read(fields: &Fields, options: &ReadOptions) -> Result<Find, Invalid> {
    let tracking = &options.change_tracking_column;
    let changed = match options.changed_since {
        // Where the column cannot be, everything has changed, as with the published bridges.
        Some(since) if fields.check(tracking).is_ok() => {
            let since = protocol::Scalar::Text(since.to_string());
            let test = protocol::Test::Compare(protocol::Comparison::Greater, since);
            let filter = protocol::Filter::from_where(protocol::Where::field(tracking, test));
            matching(&filter, &|name| fields.named(name)).map_err(|it| it.within("changeTrackingColumn"))?
        }
        _ => Document::new(),
    };
    let find = Find {
        filter: changed,
        sort: doc! {ID: 1},
        projection: None,
        skip: 0,
        limit: Some(options.limit),
        page: None,
        key: Key::default(),
        outputs: outputs(fields, &options.projection)
            .map_err(|invalid| renamed(invalid, "select", "fields"))?,
    };
    let mut find = paged(find, Key::id(), options.cursor.as_deref())?;
    find.projection = find.outputs.as_ref().map(|outputs| projected(outputs, &find.key));
    Ok(find)
}

/// One document more than the page, behind the cursor.
fn paged(mut find: Find, key: Key, cursor: Option<&str>) -> Result<Find, Invalid> {
    if let Some(cursor) = cursor {
        find.filter = all(vec![find.filter, key.after(cursor)?]);
    }
    find.page = find.limit;
    // No row is asked for, so there is none to look ahead to.
    find.limit = find.limit.map(|limit| if limit == 0 { 0 } else { limit.saturating_add(1) });
    find.key = key;
    Ok(bounded(find))
}

/// To the server a limit of 0 is none.
fn bounded(mut find: Find) -> Find {
    if find.limit == Some(0) {
        find.filter = never();
    }
    find
}

fn order(fields: &Fields, order_by: &[OrderBy]) -> Result<Vec<(String, Direction)>, Invalid> {
    let mut order: Vec<(String, Direction)> = Vec::new();
    for OrderBy { field, direction } in order_by {
        fields.check(field).map_err(|invalid| invalid.within("orderBy"))?;
        if order.iter().all(|(ordered, _)| ordered != field) {
            order.push((field.clone(), *direction));
        }
    }
    Ok(order)
}

fn sorting(order: &[(String, Direction)]) -> Document {
    let sign = |direction| if direction == Direction::Ascending { 1 } else { -1 };
    order.iter().map(|(name, direction)| (name.clone(), sign(*direction).into())).collect()
}

/// Names and paths of a projection, checked.
pub(crate) fn outputs(fields: &Fields, projection: &Projection) -> Result<Outputs, Invalid> {
    let renames = matches!(projection, Projection::Renamed(_));
    let Some(pairs) = projection.pairs() else { return Ok(None) };
    let pair = |(output, path): (&str, &str)| {
        let refused = |invalid: Invalid| {
            if renames {
                Invalid::new(format!("project.{output}"), invalid.expected)
            } else {
                invalid.within("select")
            }
        };
        fields.check(path).map_err(refused)?;
        Ok((output.to_owned(), path.to_owned()))
    };
    pairs.into_iter().map(pair).collect::<Result<_, _>>().map(Some)
}

fn projected(outputs: &[(String, String)], key: &Key) -> Document {
    let paths = outputs.iter().map(|(_, path)| path.as_str());
    needed(paths.chain(key.0.iter().map(|(name, _)| name.as_str())))
}

/// The projection that sends these paths. A path below another one is sent with it; asking for both is a mistake to the
/// server.
pub(crate) fn needed<'a>(paths: impl Iterator<Item = &'a str>) -> Document {
    let paths: HashSet<&str> = paths.collect();
    let below = |path: &str| {
        path.match_indices('.').any(|(at, _)| path.get(..at).is_some_and(|it| paths.contains(it)))
    };
    let mut kept: Vec<&str> = paths.iter().copied().filter(|path| !below(path)).collect();
    kept.sort_unstable();
    let mut projection: Document = kept.iter().map(|path| ((*path).to_owned(), 1.into())).collect();
    if !projection.keys().any(|path| path == ID || path.starts_with("_id.")) {
        projection.insert(ID, 0);
    }
    projection
}

fn renamed(invalid: Invalid, from: &str, to: &str) -> Invalid {
    let field = invalid.field.replacen(from, to, 1);
    Invalid { field, ..invalid }
}

/// Refuses a name that is no path, or that the collection cannot have.
pub(crate) fn check_name(name: &str, known: impl FnOnce(&str) -> bool) -> Result<(), Invalid> {
    check_path(name)?;
    if known(name) { Ok(()) } else { Err(Invalid::new(name, "a field that the collection's schema allows")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_names_no_path_twice() {
        let of = |paths: &[&str]| needed(paths.iter().copied());
        assert_eq!(of(&["b", "a.b", "a", "a.b.c"]), doc! {"a": 1, "b": 1, "_id": 0});
        assert_eq!(of(&["_id", "a.b"]), doc! {"_id": 1, "a.b": 1});
        assert_eq!(of(&["_id.x"]), doc! {"_id.x": 1});
        assert_eq!(of(&[]), doc! {"_id": 0});
    }

    #[test]
    fn a_page_looks_one_row_ahead() {
        let find = read(&Fields::open(), &ReadOptions { limit: 5, ..ReadOptions::default() }).unwrap();
        assert_eq!((find.limit, find.page, find.sort), (Some(6), Some(5), doc! {"_id": 1}));
        let none = read(&Fields::open(), &ReadOptions { limit: 0, ..ReadOptions::default() }).unwrap();
        assert_eq!(none.filter, never());
    }

    #[test]
    fn an_order_by_key_ends_with_the_key() {
        let keyset = Some(protocol::Keyset::default());
        let order_by = vec![OrderBy { field: "a".to_owned(), direction: Direction::Descending }];
        let options = QueryOptions { order_by, keyset, limit: Some(2), ..QueryOptions::default() };
        let find = query(&Fields::open(), &options).unwrap();
        assert_eq!(find.sort, doc! {"a": -1, "_id": 1});
        assert_eq!(find.key.0.len(), 2);
    }
}
