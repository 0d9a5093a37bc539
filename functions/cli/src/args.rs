//! The command line as clap reads it. What a flag means when it is absent is decided in `settings.rs`, not here: its twin in
//! the environment comes from the caller, so that tests and the demo run the very commands without touching the process.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Rotates Databricks service-principal secrets into Power BI data sources, crash-safe
#[derive(Debug, Parser)]
#[command(
    name = "lakekey",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = TOP_HELP
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Options of every command; they may stand before or after it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The config file [env: LAKEKEY_CONFIG, a path or the document itself] [default: lakekey.yaml]
    #[arg(long, value_name = "PATH", global = true)]
    pub(crate) config: Option<String>,
    /// How results are written to stdout [env: LAKEKEY_OUTPUT] [default: text]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) output: Option<Format>,
    /// Log more to stderr; up to three times [env: LAKEKEY_VERBOSE=0..3]
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// How log lines are written [env: LAKEKEY_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) log_format: Option<Format>,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // No docs on the values: they would make clap spread the help over twice the lines.
    Text,
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print the JSON Schema of the config
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Check the config offline and report everything that is wrong with it
    #[command(after_help = VALIDATE_HELP)]
    Validate,
    /// Show what `rotate` would do, target by target; writes nothing anywhere
    #[command(after_help = PLAN_HELP)]
    Plan(Names),
    /// Rotate what is due, resume what is open, retire what is past grace
    #[command(after_help = ROTATE_HELP)]
    Rotate(RotateArgs),
    /// Send the current secret to its targets again
    #[command(after_help = REAPPLY_HELP)]
    Reapply(ReapplyArgs),
    /// Stop counting a target that is gone or beyond reach
    #[command(after_help = FORGET_HELP)]
    Forget(ForgetArgs),
    /// Show where every credential stands
    #[command(after_help = STATUS_HELP)]
    Status(Names),
    /// Show the journal: who did what and when
    #[command(after_help = HISTORY_HELP)]
    History(HistoryArgs),
    /// Serve the HTTP API, the status page and the timer from this machine
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
}

/// Which credentials.
#[derive(Args, Debug)]
pub(crate) struct Names {
    /// Credentials of the config; none means every one
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Rotate although not due; an open rotation is resumed instead
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ReapplyArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Refresh the datasets of the targets too [env: LAKEKEY_REFRESH]
    #[arg(long)]
    pub(crate) refresh: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ForgetArgs {
    /// The credential
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The target's id, as `plan` and `rotate` show it
    #[arg(value_name = "TARGET")]
    pub(crate) target: String,
}

#[derive(Args, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Check the hash chain and, with a state key, the signatures [env: LAKEKEY_VERIFY]
    #[arg(long)]
    pub(crate) verify: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Where to listen; loopback, unless `--behind-tls` [env: LAKEKEY_LISTEN] [default: 127.0.0.1:8740]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Something in front speaks TLS, so another address than loopback is safe [env: LAKEKEY_BEHIND_TLS]
    #[arg(long)]
    pub(crate) behind_tls: bool,
    /// When the timer rotates what is due, in UTC [env: LAKEKEY_SCHEDULE] [default: "0 * * * *"]
    #[arg(long, value_name = "CRON")]
    pub(crate) schedule: Option<String>,
}

const TOP_HELP: &str = "\
Examples:
  lakekey validate                     check ./lakekey.yaml
  lakekey plan sales-bi                see what a rotation would do
  lakekey rotate                       rotate what is due, resume what is open
  lakekey status --output json         where everything stands, for scripts

Exit status:
  0  all is as asked, also while a previous secret lives out its grace
  1  failed before anything changed
  2  wrong usage or config
  3  not finished: a rotation is open, a target is parked, another runner holds the lease,
     or a credential is quarantined; every target still holds a live secret";

const SCHEMA_HELP: &str = "\
Examples:
  lakekey schema > lakekey.schema.json
  # then, as the first line of lakekey.yaml, for editors:
  # yaml-language-server: $schema=lakekey.schema.json";

const VALIDATE_HELP: &str = "\
Examples:
  lakekey validate
  lakekey validate --config prod.yaml
  lakekey validate --output json       every problem with file, line and column";

const PLAN_HELP: &str = "\
Examples:
  lakekey plan
  lakekey plan sales-bi
  lakekey plan --output json";

const ROTATE_HELP: &str = "\
Returns when every target has moved, or when nothing more can be done now. It may be stopped
and started again at any time: the journal remembers.

Examples:
  lakekey rotate
  lakekey rotate sales-bi --force      rotate now, due or not";

const FORGET_HELP: &str = "\
A target that lakekey cannot reach any more keeps every old secret alive that it may still hold,
until that secret expires. This takes it out of the count, until it is selected again.

Examples:
  lakekey forget sales-bi powerbi:7f1c0e55-…/70540d95-…";

const REAPPLY_HELP: &str = "\
For targets that somebody has changed. While a rotation is open this exits with 3 and leaves
the work to `lakekey rotate`.

Examples:
  lakekey reapply sales-bi
  lakekey reapply sales-bi --refresh";

const STATUS_HELP: &str = "\
Examples:
  lakekey status
  lakekey status sales-bi              with the secrets of its service principal
  lakekey status --output json";

const HISTORY_HELP: &str = "\
Examples:
  lakekey history sales-bi
  lakekey history --verify             exits with 3 where the chain does not hold";

const SERVE_HELP: &str = "\
Goes on until Ctrl-C or SIGTERM; then what is under way ends and leases are given back.
The API answers those who send a key of `api.keys` in the header x-lakekey-key.

Examples:
  lakekey serve
  lakekey serve --schedule '*/15 * * * *'
  lakekey serve --listen 0.0.0.0:8740 --behind-tls
  curl -X POST -H \"x-lakekey-key: $LAKEKEY_OPERATOR_KEY\" \\
    http://127.0.0.1:8740/api/credentials/sales-bi/reapply";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn clap_finds_no_fault_with_the_definition() {
        super::Cli::command().debug_assert();
    }
}
