//! `cat head tail ls`: what files hold, and what there is.

use crate::exec::grammar::{BARE, Grammar, Operands, Takes, switch, valued};
use crate::exec::reading::PathUse;
use crate::exec::rule::Rule;

/// Lines or bytes that may be asked for.
const MOST: u64 = 10_000_000;

const FILES: Operands = Operands::Paths { usage: PathUse::Read, least: 1 };

pub(super) const CAT: Grammar = Grammar {
    options: &[
        switch(&["-A", "--show-all"]),
        switch(&["-b", "--number-nonblank"]),
        switch(&["-e"]),
        switch(&["-E", "--show-ends"]),
        switch(&["-n", "--number"]),
        switch(&["-s", "--squeeze-blank"]),
        switch(&["-t"]),
        switch(&["-T", "--show-tabs"]),
        switch(&["-u"]),
        switch(&["-v", "--show-nonprinting"]),
    ],
    operands: FILES,
    ..BARE
};

pub(super) const HEAD: Grammar = Grammar {
    options: &[
        valued(&["-n", "--lines"], Takes::Count(MOST)),
        valued(&["-c", "--bytes"], Takes::Count(MOST)),
        switch(&["-q", "--quiet", "--silent"]),
        switch(&["-v", "--verbose"]),
    ],
    operands: FILES,
    bare_number: true,
    ..BARE
};

pub(super) const TAIL: Grammar = Grammar {
    refused: &[
        ("-f", Rule::Follow),
        ("-F", Rule::Follow),
        ("--follow", Rule::Follow),
        ("--retry", Rule::Follow),
        ("--pid", Rule::Follow),
    ],
    ..HEAD
};

pub(super) const LS: Grammar = Grammar {
    options: &[
        switch(&["-1"]),
        switch(&["-a", "--all"]),
        switch(&["-A", "--almost-all"]),
        switch(&["-d", "--directory"]),
        switch(&["-F", "--classify"]),
        switch(&["-g"]),
        switch(&["-h", "--human-readable"]),
        switch(&["-i", "--inode"]),
        switch(&["-l"]),
        switch(&["-n", "--numeric-uid-gid"]),
        switch(&["-o"]),
        switch(&["-r", "--reverse"]),
        switch(&["-s", "--size"]),
        switch(&["-S"]),
        switch(&["-t"]),
        switch(&["-U"]),
    ],
    operands: Operands::Paths { usage: PathUse::List, least: 0 },
    ..BARE
};
