//! The list of native drivers.
