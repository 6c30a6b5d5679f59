//! Arrays, as nested JSON lists.

use bridge_core::RowWriter;

use super::{BadValue, Scalar, text};

/// PostgreSQL's own limit (`MAXDIM`).
const MAX_DIMENSIONS: usize = 6;
const BAD: BadValue = BadValue("array");

/// Writes the binary form: dimensions, a flag, the element's type, a length and a bound per dimension, elements.
pub(super) fn write_binary(element: Scalar, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let mut rest = Rest(bytes);
    let dimensions = usize::try_from(rest.integer()?).map_err(|_| BAD)?;
    let _has_nulls = rest.integer()?;
    let _element_type = rest.integer()?;
    if dimensions > MAX_DIMENSIONS {
        return Err(BAD);
    }
    let mut lengths = Vec::with_capacity(dimensions);
    for _ in 0..dimensions {
        lengths.push(usize::try_from(rest.integer()?).map_err(|_| BAD)?);
        let _lower_bound = rest.integer()?;
    }
    // An empty array has no dimensions; one that says otherwise must not make us write brackets without end.
    if lengths.is_empty() || lengths.contains(&0) {
        out.begin_array();
        out.end_array();
        return Ok(());
    }
    write_dimension(element, &lengths, &mut rest, out)?;
    if rest.0.is_empty() || out.is_row_too_large() { Ok(()) } else { Err(BAD) }
}

fn write_dimension(
    element: Scalar,
    lengths: &[usize],
    rest: &mut Rest<'_>,
    out: &mut RowWriter,
) -> Result<(), BadValue> {
    let Some((length, inner)) = lengths.split_first() else {
        return match rest.element()? {
            Some(bytes) => element.write(bytes, out),
            None => {
                out.null();
                Ok(())
            }
        };
    };
    out.begin_array();
    for _ in 0..*length {
        // A length that lies ends here: every element takes bytes.
        write_dimension(element, inner, rest, out)?;
        // The digits of a numeric are told by a few bytes, and there may be many of those.
        if out.is_row_too_large() {
            break;
        }
    }
    out.end_array();
    Ok(())
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn integer(&mut self) -> Result<i32, BadValue> {
        let (integer, rest) = self.0.split_first_chunk::<4>().ok_or(BAD)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*integer))
    }

    fn element(&mut self) -> Result<Option<&'a [u8]>, BadValue> {
        let length = self.integer()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| BAD)?;
        let (element, rest) = self.0.split_at_checked(length).ok_or(BAD)?;
        self.0 = rest;
        Ok(Some(element))
    }
}

/// Writes the text form, `{a,"b c",NULL,{…}}`, perhaps behind bounds as in `[0:1]={…}`; elements are strings.
pub(super) fn write_text(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let literal = text(bytes)?;
    let literal = if literal.starts_with('[') { literal.split_once('=').ok_or(BAD)?.1 } else { literal };
    let mut characters = literal.chars().peekable();
    write_list(&mut characters, 0, out)?;
    if characters.next().is_none() { Ok(()) } else { Err(BAD) }
}

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn write_list(characters: &mut Characters<'_>, depth: usize, out: &mut RowWriter) -> Result<(), BadValue> {
    if depth >= MAX_DIMENSIONS || characters.next() != Some('{') {
        return Err(BAD);
    }
    out.begin_array();
    if characters.next_if_eq(&'}').is_none() {
        loop {
            write_item(characters, depth, out)?;
            match characters.next() {
                Some(',') => {}
                Some('}') => break,
                _ => return Err(BAD),
            }
        }
    }
    out.end_array();
    Ok(())
}

fn write_item(characters: &mut Characters<'_>, depth: usize, out: &mut RowWriter) -> Result<(), BadValue> {
    match characters.peek() {
        Some('{') => write_list(characters, depth + 1, out),
        Some('"') => {
            characters.next();
            out.text(&quoted(characters)?);
            Ok(())
        }
        _ => {
            let mut item = String::new();
            while let Some(character) = characters.next_if(|character| !matches!(character, ',' | '}')) {
                item.push(if character == '\\' { characters.next().ok_or(BAD)? } else { character });
            }
            if item.eq_ignore_ascii_case("null") {
                out.null()
            } else {
                out.text(&item)
            }
            Ok(())
        }
    }
}

fn quoted(characters: &mut Characters<'_>) -> Result<String, BadValue> {
    let mut item = String::new();
    loop {
        match characters.next().ok_or(BAD)? {
            '"' => return Ok(item),
            '\\' => item.push(characters.next().ok_or(BAD)?),
            character => item.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut RowWriter) -> Result<(), BadValue>) -> Result<String, BadValue> {
        let mut writer = RowWriter::new(10_000);
        writer.begin_row();
        writer.object_key("v");
        write(&mut writer)?;
        writer.end_row().unwrap();
        let row = writer.take().unwrap().rows;
        Ok(row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned())
    }

    fn literal(text: &str) -> Result<String, BadValue> {
        written(|out| write_text(text.as_bytes(), out))
    }

    #[test]
    fn text_literals_are_read_with_quotes_escapes_nulls_and_bounds() {
        assert_eq!(literal("{}").unwrap(), "[]");
        assert_eq!(
            literal(r#"{a,"b c",NULL,"NULL","q\"\\",""}"#).unwrap(),
            r#"["a","b c",null,"NULL","q\"\\",""]"#
        );
        assert_eq!(literal("[0:1]={{1,2},{3,4}}").unwrap(), r#"[["1","2"],["3","4"]]"#);
    }

    #[test]
    fn broken_literals_are_refused() {
        for text in ["", "{", "{a", "a}", "{a}}", "{\"a}", "{a\\", "{{{{{{{1}}}}}}}"] {
            assert_eq!(literal(text), Err(BAD), "{text}");
        }
    }

    #[test]
    fn binary_arrays_nest_and_know_nulls() {
        let mut bytes = Vec::new();
        for integer in [2_i32, 1, 23, 2, 1, 2, 1, 4, 1, -1, 4, 3, 4, 4] {
            bytes.extend(integer.to_be_bytes());
        }
        assert_eq!(written(|out| write_binary(Scalar::Int4, &bytes, out)).unwrap(), "[[1,null],[3,4]]");
        let empty: Vec<u8> = [0_i32, 0, 23].iter().flat_map(|integer| integer.to_be_bytes()).collect();
        assert_eq!(written(|out| write_binary(Scalar::Int4, &empty, out)).unwrap(), "[]");
    }

    #[test]
    fn binary_arrays_that_lie_about_their_length_are_refused() {
        for integers in
            [&[1_i32, 0, 23, i32::MAX, 1][..], &[1, 0, 23, -1, 1], &[7, 0, 23], &[1, 0, 23, 1, 1, 100, 0]]
        {
            let bytes: Vec<u8> = integers.iter().flat_map(|integer| integer.to_be_bytes()).collect();
            assert_eq!(written(|out| write_binary(Scalar::Int4, &bytes, out)), Err(BAD), "{integers:?}");
        }
    }
}
