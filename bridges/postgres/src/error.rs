//! What the server and the way to it can say, and what a caller is told.

use bridge_core::{BridgeError, with_causes};

use crate::wire::{ServerError, WireError};

/// `query_canceled`: by `statement_timeout`, by a cancel request of ours, or by an administrator.
const QUERY_CANCELED: &str = "57014";
/// What a table that has become another one answers: undefined table, column or operator, changed result type, other
/// datatype, a label that an enum has lost.
pub(crate) const STALE_CATALOG: &[&str] = &["42P01", "42703", "42883", "0A000", "42804", "22P02"];

/// A failure while connecting or logging in: the source is unreachable, whatever the reason.
pub(crate) fn while_connecting(title: &str, error: WireError) -> BridgeError {
    let message = match &error {
        WireError::Server(server) => server.to_string(),
        other => with_causes(other),
    };
    BridgeError::Unreachable {
        message: format!("cannot connect to {title}: {message}"),
        source: Some(error.into()),
    }
}

/// A failure of a statement.
pub(crate) fn while_running(title: &str, error: WireError) -> BridgeError {
    match error {
        WireError::Server(server) if server.code == QUERY_CANCELED => canceled(*server),
        WireError::Server(server) if ends_session(&server) => {
            BridgeError::Unreachable { message: server.to_string(), source: Some(server.into()) }
        }
        WireError::Server(server) => refused(*server),
        WireError::RowTooLarge { limit, .. } => BridgeError::RowTooLarge { limit },
        WireError::Timeout => BridgeError::Timeout,
        WireError::Encode(source) => {
            let message = format!("the statement cannot be sent to {title}");
            BridgeError::Query { message, native: None, source: Some(source.into()) }
        }
        lost @ (WireError::Dns(_)
        | WireError::Connect { .. }
        | WireError::Io(_)
        | WireError::Tls(_)
        | WireError::Auth(_)
        | WireError::Protocol(_)
        | WireError::Closed
        | WireError::Busy) => BridgeError::Unreachable {
            message: format!("lost the connection to {title}: {}", with_causes(&lost)),
            source: Some(lost.into()),
        },
    }
}

/// Whether a fresh connection may do what this one could not: the server has gone away since it was last used.
pub(crate) fn is_stale_connection(error: &WireError) -> bool {
    match error {
        WireError::Closed | WireError::Io(_) => true,
        WireError::Server(server) => ends_session(server),
        WireError::Dns(_)
        | WireError::Connect { .. }
        | WireError::Tls(_)
        | WireError::Auth(_)
        | WireError::Protocol(_)
        | WireError::RowTooLarge { .. }
        | WireError::Encode(_)
        | WireError::Timeout
        | WireError::Busy => false,
    }
}

/// Shutdown, crash and termination by an administrator (class 57P), and every error that ends the session.
fn ends_session(server: &ServerError) -> bool {
    server.is_fatal() || server.code.starts_with("57P")
}

/// The timeout that we have set is the caller's deadline; any other cancel is somebody else's.
fn canceled(server: ServerError) -> BridgeError {
    if server.routine.as_deref() == Some("ProcessInterrupts") && server.message.contains("statement timeout")
    {
        return BridgeError::Timeout;
    }
    refused(server)
}

fn refused(server: ServerError) -> BridgeError {
    let mut message = server.message.clone();
    if let Some(hint) = &server.hint {
        message.push_str(" (");
        message.push_str(hint);
        message.push(')');
    }
    BridgeError::Query { message, native: Some(server.code.clone()), source: Some(server.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: &str, message: &str) -> WireError {
        let error = ServerError {
            severity: "ERROR".to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            routine: Some("ProcessInterrupts".to_owned()),
            ..ServerError::default()
        };
        WireError::Server(Box::new(error))
    }

    #[test]
    fn a_statement_timeout_is_the_callers_deadline_and_another_cancel_is_not() {
        let timeout =
            while_running("PostgreSQL", server("57014", "canceling statement due to statement timeout"));
        assert!(matches!(timeout, BridgeError::Timeout));
        let user = while_running("PostgreSQL", server("57014", "canceling statement due to user request"));
        assert!(matches!(user, BridgeError::Query { .. }));
    }

    #[test]
    fn a_server_that_goes_away_is_unreachable() {
        let gone = while_running(
            "PostgreSQL",
            server("57P01", "terminating connection due to administrator command"),
        );
        assert!(matches!(gone, BridgeError::Unreachable { .. }));
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let refused = while_running("PostgreSQL", server("42P01", "relation \"x\" does not exist"));
        assert!(matches!(&refused, BridgeError::Query { native: Some(code), .. } if code == "42P01"));
        assert_eq!(refused.to_string(), "relation \"x\" does not exist");
    }
}
