//! Why a command failed, in words for the terminal.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use runtime::Exit;
use runtime::error::{DialError, TlsError};
use runtime::settings::Mistakes;
use runtime::terminal::{complain, unwritten};
use serde_json::Value;

/// What a shell says of a program that an interrupt has ended: 128 + 2.
const INTERRUPTED: u8 = 130;
/// How `exec` ends when its program did not come to an end of its own, as `docker run` does.
pub(super) const NOT_ENDED: u8 = 125;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] Mistakes),
    /// An argument that only shows its mistake when it is used.
    #[error("{0}")]
    Argument(String),
    /// A file of the command line.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The gateway cannot be reached.
    #[error("cannot reach the gateway: {0}; does it run there (--url, SEMILAYER_GATEWAY_API)?")]
    Dial(#[from] DialError),
    /// The connection broke, or what came back is not HTTP.
    #[error("the gateway did not answer: {0}")]
    Http(#[from] hyper::Error),
    /// The answer took too long.
    #[error("the gateway did not answer in time")]
    TimedOut,
    /// The answer is not what this version of the gateway says.
    #[error("the gateway's answer cannot be read; is this its address?")]
    NotOurs,
    /// Some of the sources that were tested failed. What was wrong with each has been shown.
    #[error("{}", failed_tests(*failed, *tested))]
    Tests {
        /// How many failed.
        failed: usize,
        /// How many were tested.
        tested: usize,
    },
    /// The gateway refused.
    #[error("{}", refusal(.status, .body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The envelope.
        body: Value,
    },
    /// A command was refused by its runner, or did not come to its end.
    #[error("{}", unfinished(.envelope))]
    Command {
        /// The envelope.
        envelope: Value,
    },
    /// A signal came before the answer.
    #[error("interrupted; the command is ended at its runner")]
    Interrupted,
    /// The terminal.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// Complains, and says how the process ends.
    pub(super) fn end(&self) -> ExitCode {
        if let Self::Output(error) = self {
            return unwritten(error).into();
        }
        complain(self);
        self.exit()
    }

    /// The same of `exec`: all codes but a few are its program's.
    pub(super) fn end_exec(&self) -> ExitCode {
        match self {
            Self::Interrupted => self.end(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => self.end(),
            _ => {
                complain(self);
                ExitCode::from(NOT_ENDED)
            }
        }
    }

    /// The same in the words of the command line, where the gateway names a field that was a flag: one of `flags`, otherwise the
    /// flag of that name.
    pub(super) fn by_flag(mut self, flags: &[(&str, &str)]) -> Self {
        let Self::Refused { body, .. } = &mut self else { return self };
        let Some(field) = body.get("field").and_then(Value::as_str).map(str::to_owned) else { return self };
        let known = flags.iter().find(|(name, _)| *name == field).map(|(_, flag)| (*flag).to_owned());
        let flag = known.unwrap_or_else(|| format!("--{field}"));
        for key in ["error", "user_message"] {
            if let Some(Value::String(message)) = body.get_mut(key)
                && let Some(rest) = message.strip_prefix(&format!("{field}:"))
            {
                *message = format!("{flag}:{rest}");
            }
        }
        self
    }

    fn exit(&self) -> ExitCode {
        match self {
            Self::Interrupted => ExitCode::from(INTERRUPTED),
            Self::Settings(_) | Self::Argument(_) | Self::File { .. } | Self::Tls(_) => {
                Exit::Configuration.into()
            }
            Self::Refused { status: 401, .. } => Exit::CredentialsRefused.into(),
            Self::Dial(_)
            | Self::Http(_)
            | Self::TimedOut
            | Self::NotOurs
            | Self::Tests { .. }
            | Self::Refused { .. }
            | Self::Command { .. }
            | Self::Output(_) => Exit::Failed.into(),
        }
    }
}

fn failed_tests(failed: usize, tested: usize) -> String {
    if tested == 1 {
        "the source failed its test".to_owned()
    } else {
        format!("{failed} of {tested} sources failed")
    }
}

/// The message of a failed command, and the rule that refused it.
fn unfinished(envelope: &Value) -> String {
    let text = |key: &str| envelope.get(key).and_then(Value::as_str);
    let message = text("user_message").unwrap_or("the gateway does not say why the command failed");
    match text("rule") {
        Some(rule) => format!("{message} (rule {rule})"),
        None => message.to_owned(),
    }
}

/// The message, and each mistake of a config on a line of its own.
fn refusal(status: &u16, body: &Value) -> String {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if body.get("user_message").is_some() && *status != 401 {
        return unfinished(body);
    }
    let message = text(body, "error");
    let mut shown = if message.is_empty() { format!("refused with status {status}") } else { message };
    for mistake in body.get("mistakes").and_then(Value::as_array).into_iter().flatten() {
        let (path, message) = (text(mistake, "path"), text(mistake, "message"));
        let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
        shown.push_str(&format!("\n  {place}{message}"));
    }
    if *status == 401 {
        shown
            .push_str("\nset SEMILAYER_ADMIN_TOKEN or SEMILAYER_ADMIN_TOKEN_FILE to the one of this gateway");
    }
    if *status == 404 && shown.starts_with("no such route") {
        shown = "this gateway has no such command: is --url (SEMILAYER_GATEWAY_API) right? A path belongs into it only where \
                 a proxy serves the gateway under that path"
            .to_owned();
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_named_by_the_flag_that_it_was() {
        let said = |field: &str, message: &str| {
            let body = json!({"error": message, "code": "bad_request", "field": field});
            CliError::Refused { status: 400, body }.by_flag(&[("from", "--since")]).to_string()
        };
        assert_eq!(said("from", "from: expected a time"), "--since: expected a time");
        assert_eq!(said("limit", "limit: expected a number"), "--limit: expected a number");
        assert_eq!(said("limit", "something else"), "something else");
    }
}
