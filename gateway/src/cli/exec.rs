//! `exec`: a command on a runner, as if it were run here. Its output comes as it is written, its exit code is ours.

use std::io::Write;
use std::process::ExitCode;

use clap::builder::RangedI64ValueParser;
use clap::{Args, value_parser};
use runtime::signals::Stops;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, pairs};
use crate::shell::request::MAX_TIMEOUT_SECS;

const USAGE: &str = "semilayer-gateway exec [OPTIONS] <TARGET> [OPTIONS] [--] <PROGRAM> [ARGUMENT]...
       semilayer-gateway exec [OPTIONS] <TARGET> --command <TEXT>";
const EXITS: &str = "The exit code is the program's own; 125 when there is none (refused, offline, its time over, the gateway not \
    reachable, wrong options), 130 after an interrupt, 141 when the reader of the output has gone";
/// What the fields of the request are on the command line.
const FLAGS: [(&str, &str); 7] = [
    ("target", "TARGET"),
    ("argv", "PROGRAM"),
    ("timeout_secs", "--timeout"),
    ("sandbox.image", "--image"),
    ("sandbox.network", "--network"),
    ("sandbox.memory", "--memory"),
    ("sandbox.cpus", "--cpus"),
];

/// A command for a runner.
#[derive(Debug, Args)]
#[command(after_help = EXITS, override_usage = USAGE)]
pub struct Command {
    /// Name or id of the runner, with or without runner: before it
    target: String,
    /// The program and its arguments; options of exec stand before the program
    #[arg(
        trailing_var_arg = true,
        value_name = "PROGRAM",
        required_unless_present = "command",
        conflicts_with = "command"
    )]
    argv: Vec<String>,
    /// One line of text in place of a program and its arguments
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Seconds that it may take, 1 to 3600 [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = timeout(), allow_negative_numbers = true)]
    timeout: Option<u32>,
    /// readonly, full or sandbox [default: the strongest that is allowed]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Run it in a container of this image
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Network of the container [default: none]
    #[arg(long, value_name = "NETWORK")]
    network: Option<String>,
    /// Memory of the container, such as 512m
    #[arg(long, value_name = "BYTES")]
    memory: Option<String>,
    /// Processors of the container, such as 0.5
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<f64>,
    /// A variable; may be given more than once
    #[arg(long = "env", value_name = "KEY=VALUE")]
    variables: Vec<String>,
}

/// Runs it to its end. The code is the program's own; a signal to us ends the program.
pub(super) async fn run(command: Command, client: &Client, output: Output<'_>) -> Result<ExitCode, CliError> {
    let body = command.body()?;
    let mut stops = Stops::listen()?;
    let mut shown = Shown { output, envelope: None };
    tokio::select! {
        done = client.events(&["exec"], &body, |name, data| shown.event(name, data)) => {
            done.map_err(|error| error.by_flag(&FLAGS))?;
        }
        // Letting go of the connection is what ends the command.
        _ = stops.next() => return Err(CliError::Interrupted),
    }
    shown.end()
}

impl Command {
    fn body(&self) -> Result<Value, CliError> {
        let sandbox: Map<String, Value> = [
            ("image", self.image.as_deref().map(Value::from)),
            ("network", self.network.as_deref().map(Value::from)),
            ("memory", self.memory.as_deref().map(Value::from)),
            ("cpus", self.cpus.map(Value::from)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect();
        let mut body = json!({"target": self.target, "env": pairs("--env", &self.variables)?});
        let fields = [
            ("command", self.command.as_deref().map(Value::from)),
            ("argv", self.command.is_none().then(|| json!(self.argv))),
            ("timeout_secs", self.timeout.map(Value::from)),
            ("mode", self.mode.as_deref().map(Value::from)),
            ("sandbox", (!sandbox.is_empty()).then_some(Value::Object(sandbox))),
        ];
        if let Value::Object(body) = &mut body {
            body.extend(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        }
        Ok(body)
    }
}

/// As the gateway takes it.
fn timeout() -> RangedI64ValueParser<u32> {
    value_parser!(u32).range(1..=i64::from(MAX_TIMEOUT_SECS))
}

/// What has come of it until now.
struct Shown<'a> {
    output: Output<'a>,
    envelope: Option<Value>,
}

impl Shown<'_> {
    fn event(&mut self, name: &str, data: Value) -> Result<(), CliError> {
        match name {
            "chunk" if !self.output.json => self.piece(&data)?,
            "done" | "error" => self.envelope = Some(data),
            _ => {}
        }
        Ok(())
    }

    /// Passes output on as it is: it is the program's, as if it were run here.
    fn piece(&mut self, piece: &Value) -> Result<(), CliError> {
        let text = piece.get("data").and_then(Value::as_str).unwrap_or_default();
        let to: &mut dyn Write = match piece.get("stream").and_then(Value::as_str) {
            Some("stderr") => &mut std::io::stderr(),
            _ => &mut *self.output.out,
        };
        if let Some(bytes) = piece.get("omitted_bytes").and_then(Value::as_u64) {
            writeln!(to, "\n[… {bytes} bytes left out …]")?;
        }
        to.write_all(text.as_bytes())?;
        Ok(to.flush()?)
    }

    fn end(self) -> Result<ExitCode, CliError> {
        let envelope = self.envelope.ok_or(CliError::NotOurs)?;
        if self.output.json {
            writeln!(self.output.out, "{envelope:#}")?;
        }
        if envelope.get("ok") == Some(&Value::Bool(true)) {
            let code = envelope.pointer("/data/exit_code").and_then(Value::as_i64);
            // Codes beyond a byte are those of other systems; none of them is success.
            return Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)));
        }
        Err(CliError::Command { envelope })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command as Commands, Remote};

    fn body(arguments: &[&str]) -> Result<serde_json::Value, String> {
        let arguments = ["semilayer-gateway", "exec"].iter().chain(arguments);
        match Cli::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
            Commands::Remote(Remote::Exec(asked)) => asked.command.body().map_err(|error| error.to_string()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arguments_become_the_body_of_the_request() {
        assert_eq!(
            body(&["edge", "--timeout", "5", "--", "ls", "-l"]).unwrap(),
            serde_json::json!({"target": "edge", "env": {}, "argv": ["ls", "-l"], "timeout_secs": 5})
        );
        let boxed =
            ["edge", "--image", "busybox", "--memory", "64m", "--env", "A=b=c", "--command", "id; id"];
        assert_eq!(
            body(&boxed).unwrap(),
            serde_json::json!({"target": "edge", "env": {"A": "b=c"}, "command": "id; id",
                "sandbox": {"image": "busybox", "memory": "64m"}})
        );
        assert!(body(&["edge", "--env", "A", "--", "ls"]).unwrap_err().contains("--env"));
    }

    #[test]
    fn a_program_stands_behind_two_dashes_or_without_them_and_its_options_are_its_own() {
        let argv = |line: &str| {
            let body = body(&line.split_whitespace().collect::<Vec<_>>())
                .map_err(|error| format!("{line}: {error}"));
            let body = body.unwrap();
            (body["argv"].clone(), body.get("timeout_secs").cloned())
        };
        let df = serde_json::json!(["df", "-h", "--json", "/"]);
        for line in ["edge -- df -h --json /", "edge df -h --json /"] {
            assert_eq!(argv(line), (df.clone(), None), "{line}");
        }
        for line in [
            "edge --timeout 5 -- df -h --json /",
            "edge --timeout 5 df -h --json /",
            "--timeout 5 edge df -h --json /",
            "--timeout=5 edge -- df -h --json /",
        ] {
            assert_eq!(argv(line), (df.clone(), Some(5.into())), "{line}");
        }
        assert_eq!(argv("edge df --timeout 5").0, serde_json::json!(["df", "--timeout", "5"]));
        assert_eq!(argv("edge -- -x").0, serde_json::json!(["-x"]));
        assert_eq!(argv("edge -- sh -- -x").0, serde_json::json!(["sh", "--", "-x"]));
        assert_eq!(argv("edge sh -- -x").0, serde_json::json!(["sh", "--", "-x"]));
        assert!(body(&["edge", "--timeot", "5", "df"]).unwrap_err().contains("--timeout"));
        assert!(body(&["edge", "--command", "ls", "df"]).is_err() && body(&["edge", "--"]).is_err());
    }

    #[test]
    fn a_time_is_one_that_the_gateway_takes() {
        for good in ["1", "3600"] {
            assert!(body(&["edge", "--timeout", good, "ls"]).is_ok(), "{good}");
        }
        for bad in ["0", "3601", "30000", "-1", "x"] {
            let refused = body(&["edge", "--timeout", bad, "ls"]).unwrap_err();
            assert!(refused.contains("--timeout"), "{refused}");
        }
        let long = body(&["edge", "--timeout", "30000", "ls"]).unwrap_err();
        assert!(long.contains("30000 is not in 1..=3600"), "{long}");
    }

    #[test]
    fn there_is_one_command() {
        assert!(body(&["edge"]).is_err() && body(&["edge", "--command", "ls", "--", "ls"]).is_err());
    }
}
