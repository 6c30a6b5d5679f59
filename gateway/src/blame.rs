//! Failures of a job in the words of the lens that it was for.
//!
//! A runner speaks of columns and tables, an application only knows fields. The names in a request were checked against the
//! lens before the job was made, so a column that the source does not have is a mistake of the lens and not of its
//! caller. Whoever has a public key may be anybody: they hear that something failed, and the log has the source's words.

use std::sync::Arc;

use protocol::{ErrorCode, ErrorFrame, Extensions, JobKind, JobRequest, UnsupportedOperator};

use crate::api::error::ApiError;
use crate::dispatch::Plan;
use crate::lens::Lens;
use crate::model::KeyKind;

/// How a bridge says that it does not have a column (its messages are `path: expected …`).
const A_COLUMN: &str = "a column of ";
/// Text from a runner is cut here before it reaches a caller.
const MAX_MESSAGE: usize = 4_000;

/// A plan whose failures are told in the words of a lens.
pub(crate) struct InWordsOf {
    lens: Arc<Lens>,
    caller: KeyKind,
    plan: Arc<dyn Plan>,
}

impl InWordsOf {
    /// `plan` is one for `lens`, asked by a key of the kind `caller`.
    pub(crate) fn new(lens: &Arc<Lens>, caller: KeyKind, plan: Arc<dyn Plan>) -> Self {
        Self { lens: Arc::clone(lens), caller, plan }
    }
}

impl Plan for InWordsOf {
    fn kind(&self) -> JobKind {
        self.plan.kind()
    }

    fn request(&self, extensions: Extensions) -> Result<JobRequest, ApiError> {
        self.plan.request(extensions)
    }

    fn explain(&self, code: Option<ErrorCode>, error: &ErrorFrame) -> Option<ApiError> {
        let explained = explain(&self.lens, self.caller, code, error);
        if explained.is_some() {
            tracing::info!(
                lens = self.lens.name,
                code = error.code,
                reason = error.message,
                "runner refused a job"
            );
        }
        explained
    }
}

/// The failure in the lens's words; nothing when the runner's own will do.
fn explain(lens: &Lens, caller: KeyKind, code: Option<ErrorCode>, error: &ErrorFrame) -> Option<ApiError> {
    if code == Some(ErrorCode::BadRequest)
        && let Some(explained) = wrong_field(lens, caller, &error.message)
    {
        return Some(explained);
    }
    match caller {
        KeyKind::Secret => None,
        KeyKind::Public => withheld(lens, code, error),
    }
}

/// A field that the bridge does not take: because of the lens, or because of the request.
fn wrong_field(lens: &Lens, caller: KeyKind, message: &str) -> Option<ApiError> {
    let message =
        message.char_indices().nth(MAX_MESSAGE).and_then(|(end, _)| message.get(..end)).unwrap_or(message);
    let (path, expected) = message.split_once(": expected ")?;
    let (part, name) = path.split_once('.')?;
    let missing = expected.starts_with(A_COLUMN);
    match part {
        // These name the field of the answer, the others the column.
        "project" if missing => {
            Some(no_column(lens, caller, lens.field(name).map(|field| &*field.name), None))
        }
        "where" | "orderBy" | "select" | "keyset" if missing => {
            Some(no_column(lens, caller, field_of(lens, name), Some(name)))
        }
        "where" => {
            let (field, rest) = field_at(lens, name)?;
            Some(ApiError::invalid(&format!("where.{field}{rest}"), expected))
        }
        _ => None,
    }
}

/// 422: the lens names a column that its source does not have.
fn no_column(lens: &Lens, caller: KeyKind, field: Option<&str>, column: Option<&str>) -> ApiError {
    let place = match field {
        Some(field) => format!("lens \"{}\", field \"{field}\"", lens.name),
        None => format!("lens \"{}\"", lens.name),
    };
    let column = column.or_else(|| lens.field(field?).map(|field| field.column.as_str()));
    let message = match (caller, column) {
        (KeyKind::Secret, Some(column)) => format!("{place}: the source has no column \"{column}\""),
        (KeyKind::Secret, None) | (KeyKind::Public, _) => format!("{place}: does not fit its source"),
    };
    let failure = ApiError::coded(ErrorCode::SourceQueryFailed, message).with("lens", lens.name.as_str());
    match field {
        Some(field) => failure.with("field", field),
        None => failure,
    }
}

fn field_of<'l>(lens: &'l Lens, column: &str) -> Option<&'l str> {
    lens.fields.iter().find(|field| field.column == column).map(|field| field.name.as_str())
}

/// The field whose column `path` begins with, and what stands behind it. The longest column counts: names may hold dots.
fn field_at<'l, 'p>(lens: &'l Lens, path: &'p str) -> Option<(&'l str, &'p str)> {
    let begins = |column: &str| {
        path.strip_prefix(column).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let fitting = lens.fields.iter().filter_map(|field| Some((field, begins(&field.column)?)));
    fitting.max_by_key(|(field, _)| field.column.len()).map(|(field, rest)| (field.name.as_str(), rest))
}

/// What anybody may hear of a failure whose message may name tables, variables or hosts.
fn withheld(lens: &Lens, code: Option<ErrorCode>, error: &ErrorFrame) -> Option<ApiError> {
    let says = |code, what: &str| Some(ApiError::coded(code, format!("lens \"{}\": {what}", lens.name)));
    match code {
        None => says(ErrorCode::RunnerFailed, "the runner failed"),
        Some(code @ ErrorCode::BadRequest) => says(code, "the source does not take this request"),
        Some(code @ ErrorCode::UnsupportedKind) => says(code, "the source does not offer this"),
        Some(code @ ErrorCode::SourceQueryFailed) => says(code, "the source refused the query"),
        Some(
            code @ (ErrorCode::SourceUnreachable
            | ErrorCode::SourceNotConfigured
            | ErrorCode::UnknownBridge
            | ErrorCode::PluginFailed),
        ) => says(code, "its source cannot be used now"),
        Some(code @ ErrorCode::UnsupportedOperator) => Some(unsupported(lens, code, error)),
        Some(
            ErrorCode::QueryTimeout
            | ErrorCode::Cancelled
            | ErrorCode::RowTooLarge
            | ErrorCode::RunnerBusy
            | ErrorCode::RunnerDraining
            | ErrorCode::NoRunnersOnline
            | ErrorCode::RunnerFailed
            | ErrorCode::PolicyDenied
            | ErrorCode::TargetNotFound
            | ErrorCode::Internal,
        ) => None,
    }
}

/// The published message and fields, with the lens for a target.
fn unsupported(lens: &Lens, code: ErrorCode, error: &ErrorFrame) -> ApiError {
    let short =
        |text: &Option<String>| text.as_deref().map(|text| text.chars().take(200).collect::<String>());
    let Some(op) = short(&error.op) else {
        return ApiError::coded(
            code,
            format!("lens \"{}\": the source does not know an operator", lens.name),
        );
    };
    let bridge = short(&error.bridge);
    let operator = match &bridge {
        Some(bridge) => UnsupportedOperator::new(&op).on(&lens.name, bridge),
        None => UnsupportedOperator::new(&op),
    };
    let failure = ApiError::coded(code, operator.to_string()).with("op", operator.op);
    match bridge {
        Some(bridge) => failure.with("target", lens.name.as_str()).with("bridge", bridge),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, parse, stored_lens};
    use crate::model::SourceId;

    fn lens() -> Lens {
        let declared = r#"{"source":"shop","table":"secret_orders","primaryKey":"id","fields":{
            "id":{"type":"number","from":"order.id"},
            "order":{"type":"text"},
            "at":{"type":"date","from":"plced"}}}"#;
        stored_lens("orders", SourceId::new(), parse(declared, Format::Json).unwrap()).unwrap()
    }

    fn frame(message: &str) -> ErrorFrame {
        ErrorFrame {
            id: "7".to_owned(),
            code: "x".to_owned(),
            message: message.to_owned(),
            op: None,
            target: None,
            bridge: None,
        }
    }

    fn said(caller: KeyKind, code: ErrorCode, message: &str) -> Option<(u16, String)> {
        let explained = explain(&lens(), caller, Some(code), &frame(message))?;
        Some((explained.status().as_u16(), explained.message().to_owned()))
    }

    #[test]
    fn a_column_that_the_source_does_not_have_is_the_lenses_fault() {
        for path in ["project.at", "where.plced", "orderBy.plced", "select.plced"] {
            let message = format!("{path}: expected a column of secret_orders");
            let secret = said(KeyKind::Secret, ErrorCode::BadRequest, &message).unwrap();
            let wanted = r#"lens "orders", field "at": the source has no column "plced""#;
            assert_eq!(secret, (422, wanted.to_owned()), "{path}");
            let public = said(KeyKind::Public, ErrorCode::BadRequest, &message).unwrap();
            assert_eq!(public, (422, r#"lens "orders", field "at": does not fit its source"#.to_owned()));
        }
        let key =
            said(KeyKind::Secret, ErrorCode::BadRequest, "keyset.tenant: expected a column of x").unwrap();
        assert_eq!(key, (422, r#"lens "orders": the source has no column "tenant""#.to_owned()));
    }

    #[test]
    fn a_wrong_value_is_the_callers_fault_and_named_by_the_field() {
        for (path, field) in [
            ("where.plced.$gt", "where.at.$gt"),
            ("where.order.id.$in[3]", "where.id.$in[3]"),
            ("where.order.$gt", "where.order.$gt"),
        ] {
            let said = said(KeyKind::Public, ErrorCode::BadRequest, &format!("{path}: expected a number"));
            assert_eq!(said, Some((400, format!("{field}: expected a number"))));
        }
        assert_eq!(said(KeyKind::Secret, ErrorCode::BadRequest, "limit: expected a number"), None);
    }

    #[test]
    fn who_has_a_public_key_hears_of_no_table() {
        for code in ErrorCode::ALL {
            for message in ["no such table: secret_orders", "target: expected secret_orders"] {
                let Some((status, message)) = said(KeyKind::Public, code, message) else { continue };
                assert_eq!(status, code.http_status(), "{code}");
                assert!(!message.contains("secret_orders"), "{code}: {message}");
            }
            assert_eq!(said(KeyKind::Secret, code, "no such table: secret_orders"), None);
        }
        let operator = ErrorFrame {
            op: Some("$near".to_owned()),
            target: Some("secret_orders".to_owned()),
            bridge: Some("b".to_owned()),
            ..frame("Bridge does not support where operator \"$near\" on target \"secret_orders\" (b)")
        };
        let said =
            explain(&lens(), KeyKind::Public, Some(ErrorCode::UnsupportedOperator), &operator).unwrap();
        assert_eq!(
            said.body().to_string(),
            r#"{"bridge":"b","code":"unsupported_operator","error":"Bridge does not support where operator \"$near\" on target \"orders\" (b)","op":"$near","target":"orders"}"#
        );
    }
}
