//! `ps top`: what runs.
//!
//! `ps` reads its arguments in several ways and tries another one when they make no sense in the first; in one of them an
//! `e` shows the environment of every process. So its commands are listed here, and the values are words that it knows.

use crate::exec::grammar::{BARE, Grammar, Takes, switch, valued};
use crate::exec::rule::{Denied, Rule, shown};

/// Which processes and which columns: at most one of these words.
const VIEWS: &[&str] = &["aux", "auxf", "auxww", "-A", "-e", "-eF", "-ef", "-efww", "-eo", "-Ao"];

/// Columns that show nothing but what every user may see. No `environ`.
const COLUMNS: &[&str] = &[
    "%cpu", "%mem", "args", "cmd", "comm", "cputime", "etime", "etimes", "gid", "group", "lstart", "ni",
    "nice", "nlwp", "pcpu", "pgid", "pid", "pmem", "ppid", "pri", "psr", "rss", "sid", "start", "stat",
    "state", "thcount", "time", "tty", "uid", "user", "vsz", "wchan",
];

/// Screens of `top`, which are a second and a half apart.
const SCREENS: u64 = 5;

const SORTED: &[&str] = &["%CPU", "%MEM", "COMMAND", "PID", "RES", "TIME+", "USER", "VIRT"];

/// Only in batches, and only so many.
pub(super) const TOP: Grammar = Grammar {
    options: &[
        switch(&["-b"]),
        valued(&["-n"], Takes::Count(SCREENS)),
        switch(&["-c"]),
        switch(&["-H"]),
        switch(&["-i"]),
        valued(&["-o"], Takes::OneOf(SORTED)),
        valued(&["-p"], Takes::Count(4_194_304)),
        valued(&["-w"], Takes::Count(512)),
    ],
    required: &["-b", "-n"],
    ..BARE
};

/// The arguments of `ps`.
pub(super) fn ps(arguments: &[String]) -> Result<Vec<String>, Denied> {
    let mut asked = Asked::default();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        let (name, joined) =
            argument.split_once('=').map_or((argument, None), |(name, value)| (name, Some(value)));
        match (name, joined) {
            ("--no-headers", None) => asked.flags.push("--no-headers"),
            ("-ww", None) => asked.flags.push("-ww"),
            ("--sort", value) => {
                let keys = value.or_else(|| rest.next()).unwrap_or_default();
                asked.sort = Some(words(keys, |key| COLUMNS.contains(&key.trim_start_matches(['+', '-'])))?);
            }
            ("-o", None) => asked.columns(rest.next())?,
            ("-p", None) => asked.processes(rest.next())?,
            (view, None) => asked.view(view, &mut rest)?,
            (other, Some(_)) => return Err(unknown(other)),
        }
    }
    asked.write()
}

/// What was asked of `ps`.
#[derive(Default)]
struct Asked<'a> {
    view: Option<&'static str>,
    columns: Option<&'a str>,
    processes: Option<&'a str>,
    sort: Option<&'a str>,
    flags: Vec<&'static str>,
}

impl<'a> Asked<'a> {
    fn view(&mut self, argument: &str, rest: &mut dyn Iterator<Item = &'a str>) -> Result<(), Denied> {
        let view = VIEWS.iter().copied().find(|view| *view == argument).ok_or_else(|| unknown(argument))?;
        if self.view.is_some() {
            return Err(Denied::new(Rule::Operand, "ps takes one view of the processes"));
        }
        self.view = Some(view.strip_suffix('o').unwrap_or(view));
        if view.ends_with('o') { self.columns(rest.next()) } else { Ok(()) }
    }

    fn columns(&mut self, value: Option<&'a str>) -> Result<(), Denied> {
        self.columns = Some(words(value.unwrap_or_default(), |column| COLUMNS.contains(&column))?);
        Ok(())
    }

    fn processes(&mut self, value: Option<&'a str>) -> Result<(), Denied> {
        let is_pid = |pid: &str| pid.parse::<u32>().is_ok_and(|pid| pid > 0) && !pid.starts_with('+');
        self.processes = Some(words(value.unwrap_or_default(), is_pid)?);
        Ok(())
    }

    /// Only what `ps` takes together, so that it never begins to guess.
    fn write(self) -> Result<Vec<String>, Denied> {
        let fits = match self.view {
            None => true,
            Some("-A" | "-e") => self.processes.is_none(),
            Some(_) => self.processes.is_none() && self.columns.is_none(),
        };
        if !fits {
            return Err(Denied::new(
                Rule::Operand,
                "ps takes -o with -e, -A or -p alone, and -p with no view",
            ));
        }
        let mut written: Vec<String> = self.view.into_iter().map(str::to_owned).collect();
        for (name, value) in [("-p", self.processes), ("-o", self.columns)] {
            written.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_owned()]));
        }
        written.extend(self.sort.map(|keys| format!("--sort={keys}")));
        written.extend(self.flags.into_iter().map(str::to_owned));
        Ok(written)
    }
}

/// Words with commas between them, each of which is known.
fn words(text: &str, known: impl Fn(&str) -> bool) -> Result<&str, Denied> {
    if text.split(',').all(known) {
        return Ok(text);
    }
    Err(Denied::new(Rule::Value, format!("ps does not take {}", shown(text))))
}

fn unknown(argument: &str) -> Denied {
    Denied::new(Rule::Option, format!("ps does not take {}", shown(argument)))
}
