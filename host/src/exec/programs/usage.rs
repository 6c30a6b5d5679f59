//! `df du free uptime`: how much of the host is in use.

use crate::exec::grammar::{BARE, Grammar, Operands, Takes, switch, valued};
use crate::exec::reading::PathUse;
use crate::exec::rule::Rule;

const FIELDS: &[&str] = &[
    "source", "fstype", "itotal", "iused", "iavail", "ipcent", "size", "used", "avail", "pcent", "file",
    "target",
];

pub(super) const DF: Grammar = Grammar {
    options: &[
        switch(&["-a", "--all"]),
        switch(&["-h", "--human-readable"]),
        switch(&["-H", "--si"]),
        switch(&["-i", "--inodes"]),
        switch(&["-k"]),
        switch(&["-l", "--local"]),
        valued(&["--output"], Takes::Some(FIELDS)),
        switch(&["-P", "--portability"]),
        valued(&["-t", "--type"], Takes::Name),
        switch(&["-T", "--print-type"]),
        switch(&["--total"]),
        valued(&["-x", "--exclude-type"], Takes::Name),
    ],
    refused: &[("--sync", Rule::Changes)],
    operands: Operands::Paths { usage: PathUse::Size, least: 0 },
    ..BARE
};

/// Of one file system and without the files' names below the second level: it says how large something is, and does not
/// list it.
pub(super) const DU: Grammar = Grammar {
    options: &[
        switch(&["-b", "--bytes"]),
        switch(&["-c", "--total"]),
        valued(&["-d", "--max-depth"], Takes::Count(2)),
        switch(&["-h", "--human-readable"]),
        switch(&["-k"]),
        switch(&["-m"]),
        switch(&["-s", "--summarize"]),
        switch(&["-x", "--one-file-system"]),
    ],
    operands: Operands::Paths { usage: PathUse::Size, least: 1 },
    always: &["-x"],
    otherwise: Some((&["-s", "-d"], &["-s"])),
    ..BARE
};

pub(super) const FREE: Grammar = Grammar {
    options: &[
        switch(&["-b", "--bytes"]),
        switch(&["-g", "--gibi"]),
        switch(&["-h", "--human"]),
        switch(&["-k", "--kibi"]),
        switch(&["-l", "--lohi"]),
        switch(&["-m", "--mebi"]),
        switch(&["-t", "--total"]),
        switch(&["-w", "--wide"]),
    ],
    refused: &[
        ("-s", Rule::Follow),
        ("--seconds", Rule::Follow),
        ("-c", Rule::Follow),
        ("--count", Rule::Follow),
    ],
    ..BARE
};

pub(super) const UPTIME: Grammar =
    Grammar { options: &[switch(&["-p", "--pretty"]), switch(&["-s", "--since"])], ..BARE };
