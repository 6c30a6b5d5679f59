//! The command line, as a value.

use crate::error::Error;

pub(crate) const USAGE: &str = "\
cargo xtask <task>

  services up [--native|--docker]   start the servers that tests need, or keep the running ones
  services down                     stop them
  services env                      print them as `export` lines
  services status                   say what runs
  test [-p PACKAGE].. [-- FILTER..] start the services and run every test, or those selected
  check                             formatting, lints, licences and fences, documentation, wasm build
  bench [--rows N] [--runs N] [--seconds N] [--only PART,..]
                                    measure release builds against PostgreSQL's own programs; parts are
                                    stream, point, memory, start, size";

const BENCH_PARTS: [&str; 5] = ["stream", "point", "memory", "start", "size"];

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Services(Verb),
    Test(Selection),
    Check,
    /// Words for the benchmark program, which reads them itself.
    Bench(Vec<String>),
}

/// What to do with the services.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Up(Choice),
    Down,
    Env,
    Status,
}

/// Where new servers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Docker where it can pull the images, otherwise the machine's packages.
    Automatic,
    Native,
    Docker,
}

/// Which tests to run; empty means every test of the workspace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) packages: Vec<String>,
    /// Handed to the test runner as they are.
    pub(crate) filters: Vec<String>,
}

impl Selection {
    pub(crate) fn is_everything(&self) -> bool {
        self.packages.is_empty() && self.filters.is_empty()
    }
}

impl Task {
    /// Reads the arguments after `cargo xtask`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Task, Error> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] | ["help" | "--help" | "-h"] => Ok(Task::Help),
            ["services", verb @ ..] => parse_verb(verb).map(Task::Services),
            ["test", selection @ ..] => parse_selection(selection).map(Task::Test),
            ["check"] => Ok(Task::Check),
            ["bench", options @ ..] => parse_bench(options).map(Task::Bench),
            other => Err(unknown(other)),
        }
    }
}

fn parse_verb(words: &[&str]) -> Result<Verb, Error> {
    match words {
        ["up"] => Ok(Verb::Up(Choice::Automatic)),
        ["up", "--native"] => Ok(Verb::Up(Choice::Native)),
        ["up", "--docker"] => Ok(Verb::Up(Choice::Docker)),
        ["down"] => Ok(Verb::Down),
        ["env"] => Ok(Verb::Env),
        ["status"] => Ok(Verb::Status),
        other => Err(unknown(other)),
    }
}

fn parse_selection(words: &[&str]) -> Result<Selection, Error> {
    let mut selection = Selection::default();
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return Ok(selection),
            ["--", filters @ ..] => {
                selection.filters = filters.iter().map(ToString::to_string).collect();
                return Ok(selection);
            }
            ["-p" | "--package", package, tail @ ..] => {
                selection.packages.push((*package).to_owned());
                tail
            }
            other => return Err(unknown(other)),
        };
    }
}

/// Options of `bench` and whether each value is one: what is wrong is said before minutes of building.
fn parse_bench(words: &[&str]) -> Result<Vec<String>, Error> {
    let mut rest = words;
    while let [option, value, tail @ ..] = rest {
        let good = match *option {
            "--rows" | "--runs" | "--seconds" => value.parse().is_ok_and(|number: u32| number > 0),
            "--only" => value.split(',').all(|part| BENCH_PARTS.contains(&part)),
            _ => false,
        };
        if !good {
            return Err(unknown(&[&["bench"], words].concat()));
        }
        rest = tail;
    }
    if rest.is_empty() {
        Ok(words.iter().map(ToString::to_string).collect())
    } else {
        Err(unknown(&[&["bench"], words].concat()))
    }
}

fn unknown(words: &[&str]) -> Error {
    Error::Usage { given: words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, Error> {
        Task::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn filters_after_two_dashes_reach_the_test_runner_unread() {
        let Ok(Task::Test(selection)) = parse("test -p one --package two -- -E test(x) --help") else {
            panic!("not a test task")
        };
        assert_eq!(selection.packages, ["one", "two"]);
        assert_eq!(selection.filters, ["-E", "test(x)", "--help"]);
        assert!(!selection.is_everything());
    }

    #[test]
    fn test_alone_means_everything() {
        assert_eq!(parse("test").unwrap(), Task::Test(Selection::default()));
        assert_eq!(parse("test --").unwrap(), Task::Test(Selection::default()));
        assert!(Selection::default().is_everything());
    }

    #[test]
    fn the_origin_of_the_servers_can_be_chosen() {
        assert_eq!(parse("services up").unwrap(), Task::Services(Verb::Up(Choice::Automatic)));
        assert_eq!(parse("services up --native").unwrap(), Task::Services(Verb::Up(Choice::Native)));
        assert_eq!(parse("services up --docker").unwrap(), Task::Services(Verb::Up(Choice::Docker)));
    }

    #[test]
    fn options_of_the_benchmark_reach_it_in_their_order() {
        let words = parse("bench --runs 2 --only stream,size").unwrap();
        assert_eq!(words, Task::Bench(["--runs", "2", "--only", "stream,size"].map(str::to_owned).to_vec()));
        assert_eq!(parse("bench").unwrap(), Task::Bench(Vec::new()));
    }

    #[test]
    fn what_is_not_known_is_named_in_the_error() {
        let lines = ["services", "services sideways", "test -p", "test stray", "check twice", "frob"];
        let bench = ["bench --runs", "bench --runs 0", "bench --only stream,fast", "bench --size x=1"];
        for line in lines.into_iter().chain(bench) {
            let error = parse(line).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{line}: {error}");
        }
        assert!(parse("services sideways").unwrap_err().to_string().contains("sideways"));
    }
}
