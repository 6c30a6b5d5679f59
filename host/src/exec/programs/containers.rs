//! `docker`: what the containers of the host do. Granted on its own, because `inspect` shows the environment of a container.

use crate::exec::grammar::{BARE, Grammar, Operands, Opt, Takes, switch, valued};
use crate::exec::rule::Rule;

/// Lines of a container's log.
const LINES: u64 = 100_000;

const FORMAT: Opt = valued(&["--format", "-f"], Takes::Template);

pub(super) const DOCKER: &[(&str, Grammar)] = &[
    (
        "ps",
        Grammar {
            options: &[
                switch(&["-a", "--all"]),
                valued(&["--format"], Takes::Template),
                valued(&["-f", "--filter"], Takes::Text),
                valued(&["-n", "--last"], Takes::Count(LINES)),
                switch(&["-l", "--latest"]),
                switch(&["--no-trunc"]),
                switch(&["-q", "--quiet"]),
                switch(&["-s", "--size"]),
            ],
            ..BARE
        },
    ),
    (
        "logs",
        Grammar {
            options: &[
                valued(&["-n", "--tail"], Takes::Count(LINES)),
                valued(&["--since"], Takes::Name),
                switch(&["-t", "--timestamps"]),
                valued(&["--until"], Takes::Name),
            ],
            refused: &[("-f", Rule::Follow), ("--follow", Rule::Follow)],
            operands: Operands::Names { least: 1, most: 1 },
            otherwise: Some((&["-n"], &["-n", "1000"])),
            ..BARE
        },
    ),
    (
        "stats",
        Grammar {
            options: &[
                switch(&["-a", "--all"]),
                valued(&["--format"], Takes::Template),
                switch(&["--no-stream"]),
                switch(&["--no-trunc"]),
            ],
            operands: Operands::Names { least: 0, most: 20 },
            required: &["--no-stream"],
            ..BARE
        },
    ),
    (
        "inspect",
        Grammar {
            options: &[
                FORMAT,
                switch(&["-s", "--size"]),
                valued(&["--type"], Takes::OneOf(&["container", "image", "network", "volume"])),
            ],
            operands: Operands::Names { least: 1, most: 20 },
            ..BARE
        },
    ),
    (
        "images",
        Grammar {
            options: &[
                switch(&["-a", "--all"]),
                switch(&["--digests"]),
                valued(&["--format"], Takes::Template),
                valued(&["-f", "--filter"], Takes::Text),
                switch(&["--no-trunc"]),
                switch(&["-q", "--quiet"]),
            ],
            operands: Operands::Names { least: 0, most: 1 },
            ..BARE
        },
    ),
    ("info", Grammar { options: &[FORMAT], ..BARE }),
    ("version", Grammar { options: &[FORMAT], ..BARE }),
];

/// Options before the subcommand that lead to another engine or to another one's settings.
pub(super) const CONNECTION: &[&str] = &[
    "-H",
    "--host",
    "-c",
    "--context",
    "--config",
    "--tls",
    "--tlscacert",
    "--tlscert",
    "--tlskey",
    "--tlsverify",
];
