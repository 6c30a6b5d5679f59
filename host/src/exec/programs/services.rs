//! `systemctl journalctl`: what the services of the host do.

use crate::exec::grammar::{BARE, Grammar, Operands, Takes, switch, valued};
use crate::exec::rule::Rule;

/// Lines of a journal.
const LINES: u64 = 100_000;

const LEVELS: &[&str] = &[
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "0", "1", "2", "3", "4", "5", "6",
    "7",
];

/// Those that print the message and who said it. Formats with every field are not among them: the record of a crash has the
/// environment of the process in one.
const FORMATS: &[&str] = &[
    "cat",
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-monotonic",
    "short-precise",
    "short-unix",
];

pub(super) const SYSTEMCTL: &[(&str, Grammar)] = &[(
    "status",
    Grammar {
        options: &[
            switch(&["-a", "--all"]),
            switch(&["-l", "--full"]),
            valued(&["-n", "--lines"], Takes::Count(LINES)),
            switch(&["--no-legend"]),
            switch(&["--no-pager"]),
            valued(&["-o", "--output"], Takes::OneOf(FORMATS)),
        ],
        refused: &[
            ("-H", Rule::Connection),
            ("--host", Rule::Connection),
            ("-M", Rule::Connection),
            ("--machine", Rule::Connection),
            ("--root", Rule::Connection),
            ("--image", Rule::Connection),
        ],
        operands: Operands::Names { least: 0, most: 20 },
        always: &["--no-pager"],
        ..BARE
    },
)];

pub(super) const JOURNALCTL: Grammar = Grammar {
    options: &[
        switch(&["-a", "--all"]),
        valued(&["-b", "--boot"], Takes::Maybe(&["0", "-1", "-2", "-3"])),
        switch(&["--disk-usage"]),
        switch(&["-k", "--dmesg"]),
        switch(&["--list-boots"]),
        valued(&["-n", "--lines"], Takes::Count(LINES)),
        switch(&["--no-hostname"]),
        switch(&["--no-pager"]),
        valued(&["-o", "--output"], Takes::OneOf(FORMATS)),
        valued(&["-p", "--priority"], Takes::OneOf(LEVELS)),
        switch(&["-q", "--quiet"]),
        switch(&["-r", "--reverse"]),
        valued(&["-S", "--since"], Takes::Text),
        valued(&["-t", "--identifier"], Takes::Name),
        valued(&["-U", "--until"], Takes::Text),
        valued(&["-u", "--unit"], Takes::Name),
        switch(&["--utc"]),
        switch(&["-x", "--catalog"]),
    ],
    refused: &[
        ("-f", Rule::Follow),
        ("--follow", Rule::Follow),
        ("--flush", Rule::Changes),
        ("--rotate", Rule::Changes),
        ("--sync", Rule::Changes),
        ("--vacuum-files", Rule::Changes),
        ("--vacuum-size", Rule::Changes),
        ("--vacuum-time", Rule::Changes),
        ("--relinquish-var", Rule::Changes),
        ("--smart-relinquish-var", Rule::Changes),
        ("--cursor-file", Rule::Changes),
        ("--setup-keys", Rule::Changes),
        ("--update-catalog", Rule::Changes),
        ("-D", Rule::Connection),
        ("--directory", Rule::Connection),
        ("--file", Rule::Connection),
        ("-M", Rule::Connection),
        ("--machine", Rule::Connection),
        ("--root", Rule::Connection),
        ("--image", Rule::Connection),
    ],
    always: &["--no-pager"],
    otherwise: Some((&["-n", "--disk-usage", "--list-boots"], &["-n", "1000"])),
    ..BARE
};
