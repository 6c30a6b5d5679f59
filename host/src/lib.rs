//! The runner daemon: dials a gateway and runs its jobs where the data lives.
