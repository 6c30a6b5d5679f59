//! What the server and the way to it can say, and what a caller is told.

use bridge_core::{BridgeError, with_causes};

use crate::wire::{ServerError, WireError};

/// A failure while connecting or logging in: the source is unreachable, whatever the reason.
pub(crate) fn while_connecting(error: WireError) -> BridgeError {
    let message = match &error {
        WireError::Server(server) if is_login(server) => format!("the login was refused: {server}"),
        other => with_causes(other),
    };
    BridgeError::Unreachable {
        message: format!("cannot connect to Redis: {message}"),
        source: Some(error.into()),
    }
}

/// A failure of a command.
pub(crate) fn while_running(error: WireError) -> BridgeError {
    match error {
        WireError::Server(server) => refused(server),
        WireError::TooLarge { limit } => BridgeError::RowTooLarge { limit },
        WireError::Timeout => BridgeError::Timeout,
        lost @ (WireError::Dns { .. }
        | WireError::Connect { .. }
        | WireError::Io(_)
        | WireError::Tls(_)
        | WireError::Protocol(_)
        | WireError::Cluster
        | WireError::Sentinel
        | WireError::Closed) => BridgeError::Unreachable {
            message: format!("lost the connection to Redis: {}", with_causes(&lost)),
            source: Some(lost.into()),
        },
    }
}

/// Whether a fresh connection may do what this one could not: the server has gone away since it was last used.
pub(crate) fn is_stale_connection(error: &WireError) -> bool {
    matches!(error, WireError::Closed | WireError::Io(_))
}

/// Error replies. `NOPERM` names the command that the user may not run.
fn refused(server: ServerError) -> BridgeError {
    let message = match server.code.as_str() {
        "NOAUTH" | "LOADING" | "MASTERDOWN" => {
            return BridgeError::Unreachable {
                message: format!("Redis does not answer: {server}"),
                source: Some(server.into()),
            };
        }
        "MOVED" | "ASK" | "CLUSTERDOWN" => {
            format!("{server} (the server is part of a cluster, which this bridge does not read)")
        }
        _ => server.to_string(),
    };
    BridgeError::Query { message, native: Some(server.code.clone()), source: Some(server.into()) }
}

fn is_login(server: &ServerError) -> bool {
    ["WRONGPASS", "NOAUTH"].contains(&server.code.as_str()) || server.message.contains("AUTH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(line: &str) -> WireError {
        WireError::Server(ServerError::parse(line.as_bytes()))
    }

    #[test]
    fn a_refused_login_is_unreachable_and_says_so() {
        let error = while_connecting(server("WRONGPASS invalid username-password pair or user is disabled."));
        assert!(matches!(error, BridgeError::Unreachable { .. }));
        assert!(
            error.to_string().starts_with("cannot connect to Redis: the login was refused: WRONGPASS"),
            "{error}"
        );
    }

    #[test]
    fn a_forbidden_command_is_named() {
        let error = while_running(server("NOPERM this user has no permissions to run the 'scan' command"));
        assert!(error.to_string().contains("'scan'"), "{error}");
        assert!(matches!(error, BridgeError::Query { native: Some(code), .. } if code == "NOPERM"));
    }

    #[test]
    fn a_node_of_a_cluster_says_that_it_is_one() {
        let error = while_running(server("MOVED 3999 127.0.0.1:6381"));
        assert!(error.to_string().contains("part of a cluster"), "{error}");
    }
}
