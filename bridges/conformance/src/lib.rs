//! The bridge contract as a program.
