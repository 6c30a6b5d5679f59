use bridge_core::BridgeError;
use protocol::{Invalid, RequestError};

/// Why a case did not pass.
#[derive(Debug)]
pub enum Failure {
    /// The bridge answered with an error.
    Bridge(BridgeError),
    /// The bridge answered, and the answer is wrong.
    Wrong(String),
    /// The fixture could not do its part.
    Fixture(String),
    /// The engine has no such thing, says the fixture.
    Impossible(&'static str),
}

/// How a case ends.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The answer is wrong.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::Wrong(message.into())
    }
}

impl From<BridgeError> for Failure {
    fn from(error: BridgeError) -> Self {
        Self::Bridge(error)
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        Self::Bridge(error.into())
    }
}

impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Self {
        Self::Bridge(error.into())
    }
}

/// Fails unless the condition holds.
pub(crate) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::Wrong(otherwise())) }
}

/// Fails unless both are equal.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    ensure(got == expected, || format!("{what}: got {got:?}, expected {expected:?}"))
}
