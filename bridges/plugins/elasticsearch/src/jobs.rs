//! Jobs: from options to a plan, and from a plan to rows.

use std::rc::Rc;

use semilayer_plugin::options::{
    Comparison, Direction, Filter, Keyset, OrderBy, QueryOptions, ReadOptions, Scalar, Test, Where,
};
use semilayer_plugin::{Error, Rows, Tail};
use serde_json::{Map, Value as Json, json};

use crate::connect::{Body, Server, Source};
use crate::execute::{Paging, Plan, Scan, Total};
use crate::introspect::{ID, Index};
use crate::position::Position;
use crate::translate::{Filtered, Loss, Sort, all_of, any_of, order, translate};
use crate::values::{Columns, Residual};

/// Rows by filter, order, limit and offset, or by key.
pub(crate) fn query(
    server: &Server,
    target: &str,
    index: Rc<Index>,
    options: QueryOptions,
) -> Result<Rows, Error> {
    Ok(match plan(server, target, index, options)? {
        Ok(plan) => plan.rows(server),
        Err(nothing) => nothing,
    })
}

/// What to find, or the answer where no row can match.
fn plan(
    server: &Server,
    target: &str,
    index: Rc<Index>,
    options: QueryOptions,
) -> Result<Result<Plan, Rows>, Error> {
    let columns = Columns::of(&options.projection, &index)?;
    let keyed = options.keyset.as_ref().map(|keyset| keyed(server, &options.order_by, keyset));
    let (order_by, paging) = keyed.unwrap_or((options.order_by, Paging::None));
    let sort = order(&order_by, &index, server.flavour().ids_sort())?;
    let cursor = options.keyset.as_ref().and_then(|keyset| keyset.cursor.as_deref());
    let (paging, after) = place(paging, cursor, sort.keys.len(), (target, &index))?;
    let Some(found) = find(server, target, &index, &options.filter)? else {
        return Ok(Err(nothing(options.total)));
    };
    refuse_losses(server, target, &found.query, &sort)?;
    let total = match (options.total, &found.residual) {
        (false, _) => Total::Unasked,
        (true, None) => Total::Asked,
        (true, Some(_)) => Total::Known(scanned(server, target, &index, &found)?),
    };
    Ok(Ok(Plan {
        target: target.to_owned(),
        index,
        query: found.query,
        sort: sort.keys,
        residual: found.residual,
        columns,
        limit: options.limit,
        offset: options.offset,
        total,
        paging,
        after,
        announced: Vec::new(),
    }))
}

/// One page of a scan.
pub(crate) fn read(
    server: &Server,
    target: &str,
    index: Rc<Index>,
    options: ReadOptions,
) -> Result<Rows, Error> {
    // What does not say when it has changed is new each time.
    let since = options.changed_since.filter(|_| index.field(&options.change_tracking_column).is_some());
    let filter = since.map_or_else(Filter::everything, |since| {
        let later = Test::Compare(Comparison::Greater, Scalar::Text(since.to_string()));
        Filter::from_where(Where::field(options.change_tracking_column.clone(), later))
    });
    let keyset = Keyset { tiebreak: None, cursor: options.cursor };
    let query_options = QueryOptions {
        filter,
        limit: Some(options.limit),
        projection: options.projection,
        total: options.total,
        keyset: Some(keyset),
        ..QueryOptions::default()
    };
    Ok(match plan(server, target, index, query_options)? {
        Ok(plan) => {
            let announced = plan.columns.announced(&plan.index);
            Plan { announced, ..plan }.rows(server)
        }
        Err(nothing) => nothing,
    })
}

/// How many rows match.
pub(crate) fn count(server: &Server, target: &str, index: Rc<Index>, filter: &Filter) -> Result<u64, Error> {
    let Some(found) = find(server, target, &index, filter)? else { return Ok(0) };
    if found.residual.is_some() {
        return scanned(server, target, &index, &found);
    }
    let more = Map::new();
    let body = Body { track_total_hits: true, ..Body::new(&found.query, 0, &Source::None, &more) };
    let total = server.search(target, &body)?.total;
    total.ok_or_else(|| Error::query_failed("the server has not said how many documents match"))
}

/// A query, and what is still to be looked at.
pub(crate) struct Found {
    pub(crate) query: Json,
    pub(crate) residual: Option<Residual>,
}

/// Translates a filter; nothing where no row can match. Where values that are too long for the index would make a
/// difference, the server is asked whether there are any.
pub(crate) fn find(
    server: &Server,
    target: &str,
    index: &Index,
    filter: &Filter,
) -> Result<Option<Found>, Error> {
    let mut filtered = translate(filter, index, Loss::None)?;
    if !filtered.losses.is_empty() && any(server, target, &any_of(std::mem::take(&mut filtered.losses)))? {
        filtered = translate(filter, index, Loss::Possible)?;
    }
    let Filtered { query, is_exact, .. } = filtered;
    let Some(query) = query else { return Ok(None) };
    let residual = if is_exact { None } else { Some(Residual::new(filter, index)?) };
    Ok(Some(Found { query, residual }))
}

/// Leaves a job to the runner whose order would be wrong for some rows.
fn refuse_losses(server: &Server, target: &str, query: &Json, sort: &Sort) -> Result<(), Error> {
    if sort.losses.is_empty()
        || !any(server, target, &all_of(vec![query.clone(), any_of(sort.losses.clone())]))?
    {
        return Ok(());
    }
    Err(Error::unsupported_kind("an order by values that are too long for the index"))
}

/// Whether there is any document that matches.
fn any(server: &Server, target: &str, query: &Json) -> Result<bool, Error> {
    let more: Map<String, Json> = std::iter::once(("terminate_after".to_owned(), json!(1))).collect();
    let answer = server.search(target, &Body::new(query, 1, &Source::None, &more))?;
    Ok(!answer.hits.is_empty())
}

/// How many rows match, by a look at each that might.
fn scanned(server: &Server, target: &str, index: &Rc<Index>, found: &Found) -> Result<u64, Error> {
    let plan = Plan {
        target: target.to_owned(),
        index: Rc::clone(index),
        query: found.query.clone(),
        sort: Vec::new(),
        residual: found.residual.clone(),
        columns: Columns::These(Vec::new()),
        limit: None,
        offset: 0,
        total: Total::Unasked,
        paging: Paging::None,
        after: Vec::new(),
        announced: Vec::new(),
    };
    Scan::new(server.clone(), plan).count()
}

fn nothing(total: bool) -> Rows {
    Rows::json(Vec::<Json>::new()).with_tail(Tail { total: total.then_some(0), ..Tail::default() })
}

/// An order without ties, and how its pages follow one another. Documents are told apart by the columns that the caller
/// names, or by their keys, or, where the server does not sort by these, by their place in the scan.
fn keyed(server: &Server, order_by: &[OrderBy], keyset: &Keyset) -> (Vec<OrderBy>, Paging) {
    let mut order_by = order_by.to_vec();
    let ids_sort = server.flavour().ids_sort();
    let ids = [ID.to_owned()];
    let tiebreak = match &keyset.tiebreak {
        Some(columns) => columns.as_slice(),
        None if ids_sort => &ids,
        None => &[],
    };
    for column in tiebreak {
        if !order_by.iter().any(|key| key.field == *column) {
            order_by.push(OrderBy { field: column.clone(), direction: Direction::Ascending });
        }
    }
    let by_place = !ids_sort && keyset.tiebreak.is_none();
    let order = signature(&order_by);
    (order_by, if by_place { Paging::Place { order, open: None } } else { Paging::Values { order } })
}

/// An order as text; that of keys alone is empty.
fn signature(order_by: &[OrderBy]) -> String {
    if let [OrderBy { field, direction: Direction::Ascending }] = order_by
        && field == ID
    {
        return String::new();
    }
    let keys: Vec<String> =
        order_by.iter().map(|key| format!("{} {}", key.direction.as_str(), key.field)).collect();
    keys.join(",")
}

/// Where the page begins.
fn place(
    paging: Paging,
    cursor: Option<&str>,
    keys: usize,
    (target, index): (&str, &Index),
) -> Result<(Paging, Vec<Box<serde_json::value::RawValue>>), Error> {
    let (Some(cursor), Paging::Values { order } | Paging::Place { order, .. }) = (cursor, &paging) else {
        return Ok((paging, Vec::new()));
    };
    let by_place = matches!(paging, Paging::Place { .. });
    // The server itself adds a key where it keeps the place.
    let position = Position::decode(cursor, order, keys + usize::from(by_place))?;
    if position.place.is_some() != by_place
        || position.place.as_ref().is_some_and(|place| !place.is_of(target, index))
    {
        return Err(crate::position::refusal());
    }
    let order = order.clone();
    let paging =
        if by_place { Paging::Place { order, open: position.place } } else { Paging::Values { order } };
    Ok((paging, position.after))
}
