//! What can be typed after `semilayer-runner plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The commands for those who write plugins.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PluginCommand {
    /// Make a folder with a plugin that builds at once and waits to be written
    New(NewPlugin),
    /// Build the plugin in a folder and show what has become of it
    Build(BuildPlugin),
    /// Hold a plugin to the contract that every bridge keeps
    ///
    /// Without --seed, the source's own data is surveyed: some targets are read as a whole, and what other jobs must answer is
    /// computed from these rows. With --seed, the full program runs over known data that the given command loads.
    Test(TestPlugin),
    /// Show what a plugin is, what it can do and what it wants
    ///
    /// The plugin is asked what it is, in an instance without any network.
    Inspect(InspectPlugin),
}

/// What `plugin new` is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct NewPlugin {
    /// The plugin's package name: @acme/bridge-things, or things
    pub name: String,
    /// The language to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// The folder to make; by default the name's last part, here
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The plugins-sdk folder of a checkout, for Rust: to build against it and not against the released SDK, which is fetched
    /// from its repository
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Rust, with the SDK: small and fast
    Rust,
    /// Python, with componentize-py
    #[value(alias = "py")]
    Python,
    /// JavaScript
    #[value(alias = "javascript")]
    Js,
}

/// What `plugin build` is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BuildPlugin {
    /// The folder with the plugin's Cargo.toml, app.py or package.json
    #[arg(default_value = ".")]
    pub dir: PathBuf,
}

/// What `plugin test` is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct TestPlugin {
    /// The component
    pub file: PathBuf,
    /// A setting of the source; with --seed, {database} in it stands for first or second
    // Named like the flag for the runner's config file, which therefore is none of this command's.
    #[arg(long, value_name = "KEY=VALUE")]
    pub config: Vec<String>,
    /// Settings of the source, JSON or TOML; keeps secrets out of the arguments. --config stands above it
    #[arg(long, value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// A host that the plugin may reach: name, *.name, address or CIDR. Those in its settings it may reach anyway
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow: Vec<String>,
    /// A shell command that loads known data, run once a database; see docs/plugins/testing.md
    #[arg(long, value_name = "COMMAND")]
    pub seed: Option<String>,
    /// What the database behind a seeded run keeps otherwise than it was loaded; see docs/plugins/testing.md
    #[arg(long, value_name = "FORM,…", value_delimiter = ',', requires = "seed")]
    pub keeps: Vec<Keeps>,
    /// A target to survey; without, the first five that have rows
    #[arg(long, value_name = "NAME", conflicts_with = "seed")]
    pub target: Vec<String>,
    /// Rows of a target that are looked at
    #[arg(long, value_name = "COUNT", conflicts_with = "seed")]
    pub rows: Option<u64>,
    /// Run these cases alone
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Print the report as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write the report as JUnit XML, too
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// How a database keeps what it has no better type for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Keeps {
    /// Decimals as doubles
    Doubles,
    /// Instants to the millisecond
    Milliseconds,
    /// UUIDs, dates and times as text
    Text,
}

/// What `plugin inspect` is told.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InspectPlugin {
    /// The component
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split_whitespace()).unwrap().command.unwrap()
    }

    #[test]
    fn what_can_be_typed_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_of_a_test_are_no_config_file_of_the_runner() {
        let line = "semilayer-runner plugin test things.wasm --config a=1 --config b=2 --only X1,X2 --log-level warn";
        let Command::Plugin(PluginCommand::Test(test)) = parse(line) else { panic!("{line}") };
        assert_eq!(
            (test.config, test.only),
            (vec!["a=1".into(), "b=2".into()], vec!["X1".into(), "X2".into()])
        );
        let bare = "semilayer-runner plugin test things.wasm";
        let Command::Plugin(PluginCommand::Test(test)) = parse(bare) else { panic!("{bare}") };
        assert!(test.config.is_empty());
    }

    #[test]
    fn only_a_seeded_run_knows_how_values_were_loaded() {
        let line = "semilayer-runner plugin test things.wasm --seed load --keeps doubles,milliseconds";
        let Command::Plugin(PluginCommand::Test(test)) = parse(line) else { panic!("{line}") };
        assert_eq!(test.keeps, [Keeps::Doubles, Keeps::Milliseconds]);
        let survey = "semilayer-runner plugin test things.wasm --keeps doubles";
        assert!(Cli::try_parse_from(survey.split_whitespace()).is_err());
    }

    #[test]
    fn a_survey_has_targets_and_a_seeded_run_has_its_own() {
        let line = "semilayer-runner plugin test things.wasm --seed load --target a";
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err());
    }

    #[test]
    fn languages_have_the_names_that_people_use() {
        for (name, language) in [("rust", Language::Rust), ("py", Language::Python), ("js", Language::Js)] {
            let line = format!("semilayer-runner plugin new things --lang {name}");
            let Command::Plugin(PluginCommand::New(new)) = parse(&line) else { panic!("{line}") };
            assert_eq!(new.lang, language);
        }
    }
}
