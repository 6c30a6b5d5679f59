//! The command line, as a value.

use std::path::PathBuf;

use crate::error::Error;

pub(crate) const USAGE: &str = "\
cargo xtask <task>

  services up [--native|--docker] [--only NAME,..]
                                    start the servers that tests need, or keep the running ones
  services down                     stop them
  services restart NAME             start one again, with its data and at its port
  services env                      print them as `export` lines
  services status                   say what runs, and what of docker-compose.test.yml does not
  services <verb> --folder FOLDER   the same for servers of one's own, kept in a folder: for tests that
                                    hurt a server
  test [-p PACKAGE].. [-- FILTER..] start the services and run every test, or those selected
  guests                            build the plugins of this workspace as components
  check                             formatting, lints, licences and fences, documentation, wasm build
  bench [--rows N] [--runs N] [--seconds N] [--only PART,..] [--engine NAME,..]
                                    measure release builds against the databases' own programs, plugins
                                    against native code, and sandboxed runs against docker; parts are stream,
                                    point, memory, start, size, engines, plugins, sandbox; engines are
                                    postgres, mysql, mariadb, mongodb, redis, clickhouse";

const BENCH_PARTS: [&str; 8] =
    ["stream", "point", "memory", "start", "size", "engines", "plugins", "sandbox"];
const BENCH_ENGINES: [&str; 6] = ["postgres", "mysql", "mariadb", "mongodb", "redis", "clickhouse"];

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Help,
    Services(Verb),
    Test(Selection),
    Guests,
    Check,
    /// Words for the benchmark program, which reads them itself.
    Bench(Vec<String>),
}

/// What to do with the services.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Up(Request),
    Down(Place),
    Restart(Place, String),
    Env(Place),
    Status(Place),
}

/// Which servers should run, and where they come from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) place: Place,
    pub(crate) choice: Choice,
    /// Names of services; empty means all that tests need.
    pub(crate) only: Vec<String>,
}

/// Whose servers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those in the user's cache folder, which all tests share.
    #[default]
    Cache,
    /// Others, with everything about them in this folder.
    Folder(PathBuf),
}

/// Where new servers come from.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Docker where it can pull the images, otherwise the machine's packages.
    #[default]
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
            ["guests"] => Ok(Task::Guests),
            ["check"] => Ok(Task::Check),
            ["bench", options @ ..] => parse_bench(options).map(Task::Bench),
            other => Err(unknown(other)),
        }
    }
}

fn parse_verb(words: &[&str]) -> Result<Verb, Error> {
    match words {
        ["up", options @ ..] => parse_request(options).map(Verb::Up),
        ["restart", name, place @ ..] => Ok(Verb::Restart(parse_place(place)?, (*name).to_owned())),
        ["down", place @ ..] => parse_place(place).map(Verb::Down),
        ["env", place @ ..] => parse_place(place).map(Verb::Env),
        ["status", place @ ..] => parse_place(place).map(Verb::Status),
        other => Err(unknown(other)),
    }
}

fn parse_request(words: &[&str]) -> Result<Request, Error> {
    let mut request = Request::default();
    let mut rest = words;
    loop {
        rest = match rest {
            [] => return Ok(request),
            ["--native", tail @ ..] if request.choice == Choice::Automatic => {
                request.choice = Choice::Native;
                tail
            }
            ["--docker", tail @ ..] if request.choice == Choice::Automatic => {
                request.choice = Choice::Docker;
                tail
            }
            ["--only", names, tail @ ..] => {
                request.only.extend(names.split(',').map(str::to_owned));
                tail
            }
            ["--folder", folder, tail @ ..] => {
                request.place = Place::Folder(folder.into());
                tail
            }
            other => return Err(unknown(other)),
        };
    }
}

fn parse_place(words: &[&str]) -> Result<Place, Error> {
    match words {
        [] => Ok(Place::Cache),
        ["--folder", folder] => Ok(Place::Folder(folder.into())),
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
            "--engine" => value.split(',').all(|name| BENCH_ENGINES.contains(&name)),
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
        let up = |line: &str| match parse(line) {
            Ok(Task::Services(Verb::Up(request))) => request,
            other => panic!("{other:?}"),
        };
        assert_eq!(up("services up"), Request::default());
        assert_eq!(up("services up --native").choice, Choice::Native);
        assert_eq!(up("services up --docker").choice, Choice::Docker);
        let own = up("services up --only mysql,redis --folder /somewhere --native");
        assert_eq!(own.only, ["mysql", "redis"]);
        assert_eq!(own.place, Place::Folder("/somewhere".into()));
    }

    #[test]
    fn a_folder_of_servers_is_named_the_same_way_for_every_verb() {
        let place = || Place::Folder("/somewhere".into());
        for (line, verb) in [
            ("down", Verb::Down(place())),
            ("restart mysql", Verb::Restart(place(), "mysql".to_owned())),
            ("env", Verb::Env(place())),
            ("status", Verb::Status(place())),
        ] {
            assert_eq!(parse(&format!("services {line} --folder /somewhere")).unwrap(), Task::Services(verb));
        }
        assert_eq!(parse("services down").unwrap(), Task::Services(Verb::Down(Place::Cache)));
    }

    #[test]
    fn options_of_the_benchmark_reach_it_in_their_order() {
        let words = parse("bench --runs 2 --only stream,size").unwrap();
        assert_eq!(words, Task::Bench(["--runs", "2", "--only", "stream,size"].map(str::to_owned).to_vec()));
        let words = parse("bench --only engines --engine mongodb,redis").unwrap();
        assert_eq!(
            words,
            Task::Bench(["--only", "engines", "--engine", "mongodb,redis"].map(str::to_owned).to_vec())
        );
        assert_eq!(parse("bench").unwrap(), Task::Bench(Vec::new()));
    }

    #[test]
    fn what_is_not_known_is_named_in_the_error() {
        let lines = [
            "services",
            "services sideways",
            "services up --native --docker",
            "services down stray",
            "test -p",
            "test stray",
            "check twice",
            "guests memory",
            "frob",
        ];
        let bench = [
            "bench --runs",
            "bench --runs 0",
            "bench --only stream,fast",
            "bench --engine oracle",
            "bench --size x=1",
        ];
        for line in lines.into_iter().chain(bench) {
            let error = parse(line).unwrap_err();
            assert!(matches!(error, Error::Usage { .. }), "{line}: {error}");
        }
        assert!(parse("services sideways").unwrap_err().to_string().contains("sideways"));
    }
}
