//! Where a panic happened, and never what it said: a payload may hold a row, a password or a token.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::panic::PanicHookInfo;

thread_local! {
    static LAST_LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
    static REPORTING: Cell<bool> = const { Cell::new(false) };
}

/// Replaces the process's panic hook by one that logs the place and drops the text.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(report));
}

/// Takes the place of this thread's latest panic, if the hook is installed and there was one.
pub(crate) fn take_location() -> Option<String> {
    LAST_LOCATION.with(|last| last.borrow_mut().take())
}

fn report(info: &PanicHookInfo<'_>) {
    // A panic inside the logger would come here again and end the process.
    if REPORTING.replace(true) {
        return;
    }
    let location = info.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
    LAST_LOCATION.with(|last| *last.borrow_mut() = Some(location.clone()));
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        tracing::error!(location, thread, "panicked");
    } else {
        // Nobody is left to tell when stderr is closed.
        drop(writeln!(std::io::stderr(), "panicked at {location} in thread {thread}"));
    }
    REPORTING.set(false);
}
