//! What can be typed after `semilayer-runner`.

#[cfg(feature = "plugins")]
mod plugin;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

#[cfg(feature = "plugins")]
pub use self::plugin::{BuildPlugin, InspectPlugin, Keeps, Language, NewPlugin, PluginCommand, TestPlugin};

/// The SemiLayer runner: dials a gateway and runs its jobs where the data lives.
#[derive(Debug, Parser)]
#[command(name = "semilayer-runner", version, about)]
pub struct Cli {
    /// Settings that stand above the environment and the config file.
    #[command(flatten, next_help_heading = "Settings of the runner")]
    pub flags: Flags,
    /// What to do; `start` without.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Whether this is to be the daemon.
    pub fn is_daemon(&self) -> bool {
        matches!(self.command, None | Some(Command::Start))
    }
}

/// The commands.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Connect to the gateway and run jobs until told to stop (the default)
    Start,
    /// Show what the running daemon on this host says of itself: its settings, gateway, plugins and sources
    Status,
    /// Check settings, network, TLS, token and sources, and say what to do
    Doctor {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Open runner-local sources and prove that they answer
    TestSource {
        /// The source; all of them without
        name: Option<String>,
        /// Package name or short form of the source's bridge
        #[arg(long)]
        bridge: Option<String>,
    },
    /// List the bridges that this runner has
    Bridges {
        /// Print JSON with the whole manifests
        #[arg(long)]
        json: bool,
    },
    /// Make, build, test and look at plugins: bridges as WebAssembly components
    #[cfg(feature = "plugins")]
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Ask a running daemon's health port, for images without a shell
    Probe(Probe),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Which question a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct Probe {
    /// Whether the process works
    #[arg(long)]
    pub live: bool,
    /// Whether it is connected and takes jobs
    #[arg(long)]
    pub ready: bool,
}

/// Flags of every command. All are text here: they are parsed together with the environment and the config file, so
/// that every mistake is reported at once.
#[derive(Debug, Clone, Default, Args)]
pub struct Flags {
    /// The runner's id [env: SEMILAYER_RUNNER_ID]
    #[arg(long, global = true, value_name = "ID")]
    pub id: Option<String>,
    /// The runner's token; seen by every user, prefer SEMILAYER_RUNNER_TOKEN_FILE [env: SEMILAYER_RUNNER_TOKEN]
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// The gateway's URL [env: SEMILAYER_GATEWAY_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub gateway: Option<String>,
    /// The config file [env: SEMILAYER_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<String>,
    /// error, warn, info, debug or filter directives [env: SEMILAYER_LOG_LEVEL]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [env: SEMILAYER_LOG_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// The health port, 0 for none [env: SEMILAYER_HEALTH_PORT]
    #[arg(long, global = true, value_name = "PORT")]
    pub health_port: Option<String>,
    /// Where plugins are [env: SEMILAYER_PLUGIN_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub plugin_dir: Option<String>,
    /// Where the runner keeps its state [env: SEMILAYER_STATE_DIR]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<String>,
    /// Jobs that may run at once [env: SEMILAYER_MAX_JOBS]
    #[arg(long, global = true, value_name = "COUNT")]
    pub max_jobs: Option<String>,
    /// How long running jobs may take to finish when the runner stops [env: SEMILAYER_DRAIN_TIMEOUT]
    #[arg(long, global = true, value_name = "DURATION")]
    pub drain_timeout: Option<String>,
    /// What a gateway may run on this host: off, or some of sandbox,readonly,full [env: SEMILAYER_EXEC]
    #[arg(long, global = true, value_name = "MODES")]
    pub exec: Option<String>,
    /// More certificate authorities to trust, PEM [env: SEMILAYER_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Allow ws:// to other hosts than this one
    #[arg(long, global = true)]
    pub insecure_gateway: bool,
    /// Exit with 3 (or 4) instead of trying again when the gateway refuses the credentials (or the version)
    #[arg(long, global = true)]
    pub exit_on_auth_failure: bool,
}
