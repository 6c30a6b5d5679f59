//! Search: the server's full text where an index covers what is asked, otherwise words contained in the text, ranked
//! here over a scan in the order of the primary key.

use std::collections::HashSet;

use bridge_core::{BridgeError, Call, Columns, RowBatch, RowStream, RowWriter, answer_rows};
use bridge_reduce::scan::Best;
use bridge_reduce::{Number, Order, Ranker, Value};
use mongodb::bson::{Document, RawBsonRef, RawDocument, doc};
use mongodb::options::FindOptions;
use protocol::{
    Direction, Filter, Invalid, RawObject, SCORE, SearchMethod, SearchOptions, Tail, Test, TextMatch, Where,
};

use super::{Operation, all, each, start};
use crate::connect::Pool;
use crate::error::unreadable;
use crate::execute::{MongoRows, Shape};
use crate::introspect::Collection;
use crate::translate::{Find, ID, Key, Named, Outputs, matching, needed, outputs};
use crate::values::{self, Numbers};

/// What the best rows may take together while the rest is looked at.
const MEMORY: usize = 64 * 1024 * 1024;

/// Answers a search.
pub(crate) async fn search(
    pool: &Pool,
    call: &Call,
    target: &str,
    collection: &Collection,
    options: &SearchOptions,
) -> Result<RowStream, BridgeError> {
    let path = |name: &str| collection.fields.named(name).map_err(|it| it.within("where"));
    let filter = matching(&options.filter, &path)?;
    let shown = outputs(&collection.fields, &options.projection)?;
    check_fields(collection, options)?;
    if options.limit == 0 {
        return Ok(answer_rows(Vec::new(), tail(SearchMethod::Containment)));
    }
    if is_indexed(pool, call, target, options).await? {
        return Ok(full_text(pool, call, target, options, filter, shown));
    }
    let batches = contained(pool, call, target, collection, options, filter, shown).await?;
    Ok(answer_rows(batches, tail(SearchMethod::Containment)))
}

fn tail(method: SearchMethod) -> Tail {
    Tail { method: Some(method), ..Tail::default() }
}

fn check_fields(collection: &Collection, options: &SearchOptions) -> Result<(), Invalid> {
    for (index, field) in options.fields.iter().flatten().enumerate() {
        let known = collection.fields.check(field).is_ok() && collection.may_be_text(field);
        if !known {
            return Err(Invalid::new(format!("fields[{index}]"), "a field of text"));
        }
    }
    Ok(())
}

/// Whether a text index looks into exactly the fields that are asked for, or into what it likes when none are.
async fn is_indexed(
    pool: &Pool,
    call: &Call,
    target: &str,
    options: &SearchOptions,
) -> Result<bool, BridgeError> {
    let indexes = match all(pool, call, Operation::Indexes { collection: target.to_owned() }).await {
        Ok(indexes) => indexes,
        // A view has no indexes, and a user may not be allowed to see them.
        Err(BridgeError::Query { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    for index in &indexes {
        let Ok(weights) = index.get_document("weights") else { continue };
        let fields = weights.iter().map(|field| field.map(|(name, _)| name.as_str()));
        let fields: HashSet<&str> = fields.collect::<Result<_, _>>().map_err(unreadable)?;
        let asked = options.fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect());
        if asked.is_none_or(|asked: HashSet<&str>| asked == fields) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn full_text(
    pool: &Pool,
    call: &Call,
    target: &str,
    options: &SearchOptions,
    filter: Document,
    shown: Outputs,
) -> RowStream {
    let score = doc! {"$meta": "textScore"};
    let mut projection =
        shown.as_ref().map(|shown| needed(shown.iter().map(|(_, path)| path.as_str()))).unwrap_or_default();
    projection.insert(SCORE, score.clone());
    let outputs = shown.map(|mut shown| {
        shown.retain(|(name, _)| name != SCORE);
        shown.push((SCORE.to_owned(), SCORE.to_owned()));
        shown
    });
    let find = Find {
        filter: doc! {"$and": [{"$text": {"$search": &options.query}}, filter]},
        sort: doc! {SCORE: score, ID: 1},
        projection: Some(projection),
        skip: 0,
        limit: Some(options.limit),
        page: None,
        key: Key::default(),
        outputs,
    };
    let shape = Shape::of(&find);
    let batches = start(pool, call, find.into_operation(target));
    Box::new(MongoRows::new(pool, call, batches, shape, None).found_by(SearchMethod::FullText))
}

async fn contained(
    pool: &Pool,
    call: &Call,
    target: &str,
    collection: &Collection,
    options: &SearchOptions,
    filter: Document,
    shown: Outputs,
) -> Result<Vec<RowBatch>, BridgeError> {
    let looked_into = options.fields.clone().or_else(|| collection.text_fields());
    let mut conditions = vec![filter];
    if let Some(fields) = &looked_into {
        conditions.push(holds_a_word(fields, &options.words())?);
    }
    let projection = looked_into.as_ref().zip(shown.as_ref()).map(|(fields, shown)| {
        needed(fields.iter().map(String::as_str).chain(shown.iter().map(|(_, path)| path.as_str())))
    });
    let find = FindOptions::builder().sort(doc! {ID: 1}).projection(projection).build();
    let operation = Operation::Find {
        collection: target.to_owned(),
        filter: doc! {"$and": conditions},
        options: Box::new(find),
    };
    let ranker = Ranker::new(options);
    // Rows of equal score stay in the order of their keys, in which they come.
    let by_score = Order::of_first([Direction::Descending]);
    let mut best = Best::new(by_score, usize::try_from(options.limit).unwrap_or(usize::MAX), MEMORY);
    let row = Row { shown: &shown, limit: call.row_limit };
    each(pool, call, operation, |document| {
        let texts = texts(document, options.fields.as_deref())?;
        let Some(score) = ranker.score(&RawObject::from_text(&texts)?)? else { return Ok(()) };
        let rank = vec![Number::from_f64(score).map_or(Value::Null, Value::Number)];
        if best.wants(&rank) {
            best.take(rank, row.json(document, score)?)?;
        }
        Ok(())
    })
    .await?;
    Ok(best.into_sorted().into_iter().map(|row| RowBatch { rows: row.text, count: 1 }).collect())
}

fn holds_a_word(fields: &[String], words: &[String]) -> Result<Document, Invalid> {
    let test =
        |field: &String, word: &String| Where::field(field, Test::Text(TextMatch::Contains, word.clone()));
    let tests = fields.iter().flat_map(|field| words.iter().map(move |word| test(field, word))).collect();
    matching(&Filter::from_where(Where::Any(tests)), &|name| Ok(Named::any(name)))
}

/// The texts of a document for the ranker: of these fields, or all at its top.
fn texts(document: &RawDocument, fields: Option<&[String]>) -> Result<String, BridgeError> {
    let mut writer = RowWriter::new(usize::MAX);
    writer.begin_row();
    match fields {
        Some(fields) => {
            for field in fields {
                if let Some(text @ RawBsonRef::String(_)) = values::find(document, field)? {
                    writer.object_key(field);
                    values::write(&mut writer, text, Numbers::Rows)?;
                }
            }
        }
        None => {
            for element in document {
                let (name, value) = element.map_err(unreadable)?;
                if matches!(value, RawBsonRef::String(_)) {
                    writer.object_key(name.as_str());
                    values::write(&mut writer, value, Numbers::Rows)?;
                }
            }
        }
    }
    writer.end_row()?;
    Ok(writer.into_text())
}

/// How a row is shown.
struct Row<'a> {
    shown: &'a Outputs,
    limit: usize,
}

impl Row<'_> {
    fn json(&self, document: &RawDocument, score: f64) -> Result<String, BridgeError> {
        let mut writer = RowWriter::new(self.limit);
        writer.begin_row();
        match self.shown {
            Some(outputs) => {
                let columns = Columns::new(outputs.iter().map(|(name, _)| name.as_str()));
                for (index, (name, path)) in outputs.iter().enumerate() {
                    if name != SCORE {
                        writer.key(&columns, index);
                        values::write_path(&mut writer, document, path, Numbers::Rows)?;
                    }
                }
            }
            None => {
                for element in document {
                    let (name, value) = element.map_err(unreadable)?;
                    if name.as_str() != SCORE {
                        writer.object_key(name.as_str());
                        values::write(&mut writer, value, Numbers::Rows)?;
                    }
                }
            }
        }
        writer.object_key(SCORE);
        writer.double(score);
        writer.end_row()?;
        Ok(writer.into_text())
    }
}
