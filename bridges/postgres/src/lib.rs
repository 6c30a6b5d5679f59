//! The PostgreSQL bridge.

#[cfg_attr(not(test), expect(dead_code, reason = "the bridge on top of this client is not written yet"))]
mod wire;
