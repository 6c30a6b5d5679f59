//! The functions that SQL may call.
//!
//! `semilayer_shown(value)`: a value as rows show it, for lists that SQLite makes as JSON, which can hold no bytes.
//!
//! `semilayer_fold(text)`: text without case, for the operators that ignore it.
//!
//! SQLite's own `lower` and `LIKE` know the letters of ASCII only. This one maps character by character as Unicode's
//! lower case does, whatever the language: `I` becomes `i` also where a Turkish reader expects `ı`, and `İ` becomes `i`
//! with a combining dot. It looks at no neighbours, so that folding a pattern and folding the text that it is compared
//! with agree: both sigmas of Greek are one letter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error};

/// Teaches a connection the functions.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("semilayer_fold", 1, flags, call)?;
    connection.create_scalar_function("semilayer_shown", 1, flags, shown)
}

/// Bytes become base64, as in rows.
fn shown(context: &Context<'_>) -> Result<ToSqlOutput<'static>, Error> {
    let shown = match context.get_raw(0) {
        ValueRef::Blob(bytes) => Value::Text(STANDARD.encode(bytes)),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        other => Value::try_from(other).map_err(|error| Error::UserFunctionError(Box::new(error)))?,
    };
    Ok(ToSqlOutput::Owned(shown))
}

/// Values that are not text stay as they are.
fn call(context: &Context<'_>) -> Result<ToSqlOutput<'static>, Error> {
    let folded = match context.get_raw(0) {
        ValueRef::Text(text) => Value::Text(fold(&String::from_utf8_lossy(text))),
        other => Value::try_from(other).map_err(|error| Error::UserFunctionError(Box::new(error)))?,
    };
    Ok(ToSqlOutput::Owned(folded))
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.map(|character| if character == 'ς' { 'σ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_every_script_lose_their_case() {
        assert_eq!(fold("ÜNÏ"), fold("Ünï"));
        assert_eq!(fold("ДОМ"), "дом");
        assert_eq!(fold("ALPHA"), "alpha");
        assert_eq!(fold("!%_\\"), "!%_\\");
    }

    #[test]
    fn the_end_of_a_word_makes_no_difference() {
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert!(fold("ΟΔΟΣ ΑΒΓ").starts_with(&fold("ΟΔΟΣ")));
    }

    #[test]
    fn sql_can_call_it_on_any_value() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let says = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Value>(0)).unwrap();
        assert_eq!(says("SELECT semilayer_fold('ÀB')"), Value::Text("àb".to_owned()));
        assert_eq!(says("SELECT semilayer_fold(5)"), Value::Integer(5));
        assert_eq!(says("SELECT semilayer_fold(NULL)"), Value::Null);
        assert_eq!(says("SELECT semilayer_shown(x'00ff')"), Value::Text("AP8=".to_owned()));
        assert_eq!(says("SELECT semilayer_shown(1.5)"), Value::Real(1.5));
    }
}
