//! How a daemon or command of ours ends, as the number that the calling script sees.

use std::process::{ExitCode, Termination};

/// The ways to end. The numbers are part of the outer contract and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done: 0.
    Clean,
    /// A command's answer is no (a check of `doctor` failed, a probe was refused), or a daemon could not go on: 1.
    Failed,
    /// The settings are wrong; every mistake was printed: 2, which clap uses for wrong arguments too.
    Configuration,
    /// The gateway does not know the credentials, and trying again cannot help: 3.
    CredentialsRefused,
    /// The gateway does not speak this protocol version: 4.
    VersionRefused,
    /// The daemon ended so that its supervisor starts it anew: 75, `EX_TEMPFAIL` of sysexits.h.
    RestartWanted,
    /// Whoever read a command's answer has gone: 141, what a shell says of a program that SIGPIPE has ended (128 + 13).
    ReaderGone,
}

impl Exit {
    /// The process exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Configuration => 2,
            Self::CredentialsRefused => 3,
            Self::VersionRefused => 4,
            Self::RestartWanted => 75,
            Self::ReaderGone => 141,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_contract() {
        let codes = [
            Exit::Clean,
            Exit::Configuration,
            Exit::CredentialsRefused,
            Exit::VersionRefused,
            Exit::RestartWanted,
            Exit::ReaderGone,
        ]
        .map(Exit::code);
        assert_eq!(codes, [0, 2, 3, 4, 75, 141]);
    }
}
