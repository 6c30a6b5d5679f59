//! The gateway: applications ask, runners answer, operators watch.
