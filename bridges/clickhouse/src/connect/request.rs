//! A statement as an HTTP request: settings in the query string, the statement and its parameters in the body.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use uuid::Uuid;

/// What names a statement at the server, so that it can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatementId(Uuid);

impl StatementId {
    pub(crate) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// Stands before the statement. Proxies give statements ids of their own, and then this is what is looked for.
    pub(super) fn mark(self) -> String {
        format!("/* semilayer:{} */ ", self.0.simple())
    }

    /// As the server shows it.
    pub(super) fn text(self) -> String {
        self.0.to_string()
    }

    /// The statement that ends this one.
    pub(super) fn kill(self) -> String {
        let (id, mark) = (self.text(), self.mark());
        format!("KILL QUERY WHERE query_id = '{id}' OR position(query, '{}') = 1 ASYNC", mark.trim_end())
    }
}

/// A setting or a parameter: name and value.
pub(crate) type Extra = (String, String);

/// A statement to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) id: StatementId,
    pub(crate) sql: &'a str,
    /// By slot: `p0`, `p1`, …
    pub(crate) params: &'a [String],
    pub(crate) settings: &'a [Extra],
    /// The format of the answer.
    pub(crate) format: &'static str,
    /// Whether it can be killed.
    pub(crate) marked: bool,
}

impl<'a> Question<'a> {
    /// A statement of ours, answered as text.
    pub(crate) fn plain(sql: &'a str) -> Self {
        Self {
            id: StatementId::new(),
            sql,
            params: &[],
            settings: &[],
            format: "TabSeparatedRaw",
            marked: false,
        }
    }
}

/// The path and query string.
pub(super) fn path_of(question: &Question<'_>, database: &str) -> String {
    let mut path = String::from("/?");
    let mut add = |name: &str, value: &str| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        // Writing into a String does not fail.
        let _infallible = write!(path, "{}{name}={value}", if path.len() > 2 { "&" } else { "" });
    };
    add("database", database);
    add("query_id", &question.id.text());
    add("default_format", question.format);
    for (name, value) in question.settings {
        add(name, value);
    }
    path
}

/// The content type and the body: the statement itself, or a form of it and its parameters, which have no room in a
/// query string.
pub(super) fn body_of(question: &Question<'_>) -> (String, Vec<u8>) {
    let mark = if question.marked { question.id.mark() } else { String::new() };
    let statement = format!("{mark}{}", question.sql);
    if question.params.is_empty() {
        return ("text/plain; charset=utf-8".to_owned(), statement.into_bytes());
    }
    // As good as a key: no value can hold it.
    let boundary = Uuid::new_v4().simple().to_string();
    let mut body =
        String::with_capacity(statement.len() + question.params.iter().map(String::len).sum::<usize>() + 512);
    let mut add = |name: &str, value: &str| {
        let head = "Content-Disposition: form-data; name=";
        let _infallible = write!(body, "--{boundary}\r\n{head}\"{name}\"\r\n\r\n{value}\r\n");
    };
    add("query", &statement);
    for (slot, value) in question.params.iter().enumerate() {
        add(&format!("param_p{slot}"), value);
    }
    let _infallible = write!(body, "--{boundary}--\r\n");
    (format!("multipart/form-data; boundary={boundary}"), body.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_without_parameters_is_its_own_body() {
        let question = Question { marked: true, ..Question::plain("SELECT 1") };
        let (kind, body) = body_of(&question);
        assert_eq!(kind, "text/plain; charset=utf-8");
        let body = String::from_utf8(body).unwrap();
        assert!(body.starts_with("/* semilayer:") && body.ends_with(" */ SELECT 1"), "{body}");
        assert!(question.id.kill().contains(body.split(" SELECT").next().unwrap()));
    }

    #[test]
    fn parameters_travel_in_a_form_and_names_in_the_path_are_encoded() {
        let question = Question {
            params: &["a\"b\r\n--".to_owned()],
            settings: &[("readonly".to_owned(), "2".to_owned())],
            ..Question::plain("SELECT {p0:String}")
        };
        let body = String::from_utf8(body_of(&question).1).unwrap();
        assert!(body.contains("name=\"param_p0\"\r\n\r\na\"b\r\n--\r\n--"), "{body}");
        let path = path_of(&question, "a&b=c d");
        assert!(path.starts_with("/?database=a%26b%3Dc%20d&query_id="), "{path}");
        assert!(path.ends_with("&default_format=TabSeparatedRaw&readonly=2"), "{path}");
    }
}
