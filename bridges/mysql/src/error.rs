//! What the server and the way to it can say, and what a caller is told.

use bridge_core::BridgeError;

use crate::wire::{ServerError, WireError, number};

/// What a table that has become another one answers: no such table, no such column, and what comparing with a column of
/// another type can say.
pub(crate) const STALE_CATALOG: &[&str] = &["1146", "1054", "1267", "4079"];

/// A failure while connecting or logging in: the source is unreachable, whatever the reason.
pub(crate) fn while_connecting(error: WireError) -> BridgeError {
    BridgeError::Unreachable { message: format!("cannot connect: {error}"), source: Some(error.into()) }
}

/// A failure of a statement.
pub(crate) fn while_running(error: WireError) -> BridgeError {
    match error {
        WireError::Server(server) if is_timeout(&server) => BridgeError::Timeout,
        WireError::Server(server) if server.ends_session() => {
            BridgeError::Unreachable { message: server.to_string(), source: Some(server.into()) }
        }
        WireError::Server(server) => BridgeError::Query {
            message: server.message.clone(),
            native: Some(server.number.to_string()),
            source: Some(server.into()),
        },
        WireError::RowTooLarge { limit, .. } => BridgeError::RowTooLarge { limit },
        WireError::Timeout => BridgeError::Timeout,
        refused @ WireError::Encode(_) => {
            BridgeError::Query { message: refused.to_string(), native: None, source: Some(refused.into()) }
        }
        lost @ (WireError::Dns { .. }
        | WireError::Connect { .. }
        | WireError::Io(_)
        | WireError::Tls(_)
        | WireError::Auth(_)
        | WireError::Protocol(_)
        | WireError::Closed
        | WireError::Busy) => BridgeError::Unreachable {
            message: format!("lost the connection: {lost}"),
            source: Some(lost.into()),
        },
    }
}

/// Whether a fresh connection may do what this one could not: the server has gone away since it was last used.
pub(crate) fn is_stale_connection(error: &WireError) -> bool {
    match error {
        WireError::Closed | WireError::Io(_) => true,
        WireError::Server(server) => server.ends_session(),
        WireError::Dns { .. }
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

/// The time limit that we have set.
fn is_timeout(server: &ServerError) -> bool {
    matches!(server.number, number::STATEMENT_TIMEOUT_MYSQL | number::STATEMENT_TIMEOUT_MARIADB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(number: u16) -> WireError {
        WireError::Server(Box::new(ServerError {
            number,
            state: "HY000".to_owned(),
            message: "why".to_owned(),
        }))
    }

    #[test]
    fn a_statement_timeout_is_the_callers_deadline_and_another_kill_is_not() {
        assert!(matches!(while_running(server(3_024)), BridgeError::Timeout));
        assert!(matches!(while_running(server(1_969)), BridgeError::Timeout));
        let killed = while_running(server(1_317));
        assert!(matches!(killed, BridgeError::Query { native: Some(code), .. } if code == "1317"));
    }

    #[test]
    fn a_server_that_shuts_down_is_unreachable_and_worth_another_connection() {
        assert!(matches!(while_running(server(1_053)), BridgeError::Unreachable { .. }));
        assert!(is_stale_connection(&server(1_053)) && is_stale_connection(&WireError::Closed));
        assert!(!is_stale_connection(&server(1_064)));
    }
}
