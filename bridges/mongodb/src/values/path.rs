//! Fields by their dotted path, as MongoDB reads one: through documents, and through the documents in a list.

use bridge_core::{BridgeError, RowWriter};
use mongodb::bson::{RawArray, RawBsonRef, RawDocument};

use super::{MAX_DEPTH, Numbers, write};
use crate::error::{too_deep, unreadable};

/// Writes what stands at a path; null where nothing does. Below a list it is a list of what stands there in each of its
/// documents.
pub(crate) fn write_path(
    writer: &mut RowWriter,
    document: &RawDocument,
    path: &str,
    numbers: Numbers,
) -> Result<(), BridgeError> {
    if !write_within(writer, document, path, numbers)? {
        writer.null();
    }
    Ok(())
}

/// What stands at a path through documents; nothing for null and for what is missing. A path that goes on below a list
/// ends at the list.
pub(crate) fn find<'a>(document: &'a RawDocument, path: &str) -> Result<Option<RawBsonRef<'a>>, BridgeError> {
    let (name, rest) = split(path);
    match (document.get(name).map_err(unreadable)?, rest) {
        (None | Some(RawBsonRef::Null | RawBsonRef::Undefined), _) => Ok(None),
        (found, None) => Ok(found),
        (Some(RawBsonRef::Document(inner)), Some(rest)) => find(inner, rest),
        (Some(list @ RawBsonRef::Array(_)), Some(_)) => Ok(Some(list)),
        (Some(_), Some(_)) => Ok(None),
    }
}

fn write_within(
    writer: &mut RowWriter,
    document: &RawDocument,
    path: &str,
    numbers: Numbers,
) -> Result<bool, BridgeError> {
    let (name, rest) = split(path);
    match (document.get(name).map_err(unreadable)?, rest) {
        (Some(value), None) => write(writer, value, numbers).map(|()| true),
        (Some(RawBsonRef::Document(inner)), Some(rest)) => write_within(writer, inner, rest, numbers),
        (Some(RawBsonRef::Array(items)), Some(rest)) => {
            write_each(writer, items, rest, numbers, MAX_DEPTH).map(|()| true)
        }
        _ => Ok(false),
    }
}

fn write_each(
    writer: &mut RowWriter,
    items: &RawArray,
    path: &str,
    numbers: Numbers,
    levels: usize,
) -> Result<(), BridgeError> {
    let levels = levels.checked_sub(1).ok_or_else(|| too_deep(MAX_DEPTH))?;
    writer.begin_array();
    for item in items {
        match item.map_err(unreadable)? {
            RawBsonRef::Document(inner) => {
                write_within(writer, inner, path, numbers)?;
            }
            RawBsonRef::Array(inner) => write_each(writer, inner, path, numbers, levels)?,
            _ => {}
        }
    }
    writer.end_array();
    Ok(())
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{RawDocumentBuf, doc};

    use super::*;

    #[test]
    fn paths_reach_into_documents_and_lists() {
        let document = doc! {"a": {"b": 1, "c": null}, "l": [{"b": 1}, {"x": 2}, 3, {"b": [4]}]};
        let document = RawDocumentBuf::try_from(&document).unwrap();
        for (path, json) in [
            ("a.b", "1"),
            ("a", r#"{"b":1,"c":null}"#),
            ("a.c", "null"),
            ("a.b.c", "null"),
            ("nope.b", "null"),
            ("l.b", "[1,[4]]"),
        ] {
            let mut writer = RowWriter::new(1_000);
            write_path(&mut writer, &document, path, Numbers::Rows).unwrap();
            assert_eq!(writer.into_text(), json, "{path}");
        }
        assert!(matches!(find(&document, "a.b").unwrap(), Some(RawBsonRef::Int32(1))));
        assert!(matches!(find(&document, "l.b").unwrap(), Some(RawBsonRef::Array(_))));
        for missing in ["a.c", "a.b.c", "x"] {
            assert!(find(&document, missing).unwrap().is_none(), "{missing}");
        }
    }
}
