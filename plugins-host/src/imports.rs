//! What a guest may ask the runner itself: interface `host`.

use crate::bindings::host::{CallInfo, Host, Level};
use crate::bindings::types;
use crate::state::State;

impl types::Host for State {}

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.log.line(level, &message);
        Ok(())
    }

    fn log_enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        Ok(self.log.enabled(level))
    }

    fn call(&mut self) -> wasmtime::Result<CallInfo> {
        let remaining = self.call.remaining().as_millis();
        Ok(CallInfo {
            remaining_ms: Some(u64::try_from(remaining).unwrap_or(u64::MAX)),
            cancelled: self.call.is_cancelled(),
            row_limit: u64::try_from(self.call.row_limit()).unwrap_or(u64::MAX),
        })
    }

    fn is_cancelled(&mut self) -> wasmtime::Result<bool> {
        Ok(self.call.is_cancelled())
    }
}
