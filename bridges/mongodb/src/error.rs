//! What the server and the way to it can say, and what a caller is told.

use bridge_core::BridgeError;
use mongodb::error::{CommandError, Error, ErrorKind};

/// `Unauthorized`
pub(crate) const UNAUTHORIZED: &str = "13";
/// `NamespaceNotFound`
const NAMESPACE_NOT_FOUND: &str = "26";
/// `MaxTimeMSExpired`: the deadline that we have sent along.
const MAX_TIME_EXPIRED: i32 = 50;
/// `AuthenticationFailed`
const AUTHENTICATION_FAILED: i32 = 18;
/// What a server says that goes away or may not answer now: network errors, shutdown, no primary.
const GONE: [i32; 12] = [6, 7, 89, 91, 189, 9001, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436];

/// A failure of an operation, or of the way to the server.
pub(crate) fn of_driver(error: Error) -> BridgeError {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => of_command(command.clone(), error),
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::BsonSerialization(_)
        | ErrorKind::BsonDeserialization(_)
        | ErrorKind::Bson(_)
        | ErrorKind::InvalidResponse { .. } => {
            let message = format!("MongoDB and its driver do not understand each other: {}", error.kind);
            BridgeError::Query { message, native: None, source: Some(error.into()) }
        }
        other => {
            let message = format!("cannot reach MongoDB: {other}");
            BridgeError::Unreachable { message, source: Some(error.into()) }
        }
    }
}

fn of_command(command: CommandError, error: Error) -> BridgeError {
    let CommandError { code, message, .. } = command;
    match code {
        MAX_TIME_EXPIRED => BridgeError::Timeout,
        AUTHENTICATION_FAILED => BridgeError::Unreachable {
            message: format!("cannot log in to MongoDB: {message}"),
            source: Some(error.into()),
        },
        code if GONE.contains(&code) => BridgeError::Unreachable {
            message: format!("MongoDB is going away: {message}"),
            source: Some(error.into()),
        },
        code => BridgeError::Query { message, native: Some(code.to_string()), source: Some(error.into()) },
    }
}

/// Whether a second attempt over a new connection may do what this one could not.
pub(crate) fn is_network(error: &Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. })
}

/// Whether the server has refused because of the user's privileges.
pub(crate) fn is_unauthorized(error: &BridgeError) -> bool {
    matches!(error, BridgeError::Query { native: Some(code), .. } if code == UNAUTHORIZED)
}

/// The database has no such collection or view.
pub(crate) fn no_such_collection(target: &str) -> BridgeError {
    BridgeError::Query {
        message: format!("the collection {target:?} does not exist"),
        native: Some(NAMESPACE_NOT_FOUND.to_owned()),
        source: None,
    }
}

/// The source was closed while it was asked.
pub(crate) fn closed() -> BridgeError {
    BridgeError::unreachable("the source was closed")
}

/// What the server sent is no BSON of this specification.
pub(crate) fn unreadable(error: mongodb::bson::error::Error) -> BridgeError {
    BridgeError::Query {
        message: "MongoDB sent a document that cannot be read".to_owned(),
        native: None,
        source: Some(error.into()),
    }
}

/// What is nested so deep is no document of a server's.
pub(crate) fn too_deep(limit: usize) -> BridgeError {
    BridgeError::query(format!("a document is nested more than {limit} levels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_collection_is_named() {
        let error = no_such_collection("a\"b");
        assert!(matches!(&error, BridgeError::Query { native: Some(code), .. } if code == "26"));
        assert_eq!(error.to_string(), "the collection \"a\\\"b\" does not exist");
    }

    #[test]
    fn what_the_driver_cannot_reach_is_unreachable() {
        let lost = Error::from(ErrorKind::Io(std::sync::Arc::new(std::io::Error::other("gone"))));
        assert!(is_network(&lost));
        assert!(matches!(of_driver(lost), BridgeError::Unreachable { .. }));
    }
}
