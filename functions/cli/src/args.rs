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
    /// How results are written to stdout; csv is for `discover` [env: LAKEKEY_OUTPUT] [default: text]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub(crate) output: Option<Output>,
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

/// For people, for programs, or as a list for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
    Csv,
}

/// How `discover` looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Workspaces,
    Scanner,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a commented config, asking on a terminal, from flags elsewhere
    #[command(after_help = INIT_HELP)]
    Init(Box<InitArgs>),
    /// Print the JSON Schema of the config
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Check the config offline and report everything that is wrong with it
    #[command(after_help = VALIDATE_HELP)]
    Validate,
    /// Look whether a rotation has every permission that it needs; writes nothing anywhere
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Names),
    /// List every Databricks data source that the identities can see
    #[command(after_help = DISCOVER_HELP)]
    Discover(DiscoverArgs),
    /// Show what `rotate` would do, target by target; writes nothing anywhere
    #[command(after_help = PLAN_HELP)]
    Plan(Names),
    /// Rotate what is due, resume what is open, retire what is past grace
    #[command(after_help = ROTATE_HELP)]
    Rotate(RotateArgs),
    /// Send the current secret to its targets again
    #[command(after_help = REAPPLY_HELP)]
    Reapply(ReapplyArgs),
    /// Move targets back to the previous secret and hold there until `rotate --force`
    #[command(after_help = ROLLBACK_HELP)]
    Rollback(Names),
    /// Break glass: rotate now and delete every older secret at once
    #[command(after_help = REVOKE_HELP)]
    Revoke(RevokeArgs),
    /// Stop counting a target that is gone or beyond reach
    #[command(after_help = FORGET_HELP)]
    Forget(ForgetArgs),
    /// Show where every credential stands
    #[command(after_help = STATUS_HELP)]
    Status(Names),
    /// Show the journal: who did what and when
    #[command(after_help = HISTORY_HELP)]
    History(HistoryArgs),
    /// Sign a person in, in a browser or with a device code, for identities that need one
    #[command(after_help = LOGIN_HELP)]
    Login(LoginArgs),
    /// Forget what sign-ins have left on this machine
    #[command(after_help = LOGOUT_HELP)]
    Logout(SignInArgs),
    /// Print a fresh Databricks token in the form that `databricks auth token` prints
    #[command(after_help = TOKEN_HELP)]
    Token(TokenArgs),
    /// Run a command whose Databricks SDK signs in through lakekey for as long as it runs
    #[command(after_help = EXEC_HELP)]
    Exec(ExecArgs),
    /// Answers as the Databricks CLI does, for SDKs that call it
    #[command(hide = true)]
    Auth(AuthArgs),
    /// The version of the Databricks CLI whose `auth token` this understands
    #[command(hide = true)]
    Version,
    /// Serve the HTTP API, the status page, tokens for local programs and the timer from this machine
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
pub(crate) struct InitArgs {
    /// The Databricks workspace, as the browser shows it [env: LAKEKEY_INIT_WORKSPACE]
    #[arg(long, value_name = "URL")]
    pub(crate) workspace: Option<String>,
    /// Display name or application id of the principal whose secret is rotated [env: LAKEKEY_INIT_SERVICE_PRINCIPAL]
    #[arg(long, value_name = "NAME")]
    pub(crate) service_principal: Option<String>,
    /// Id of the SQL warehouse that reports use; new secrets are proved on it [env: LAKEKEY_INIT_WAREHOUSE]
    #[arg(long, value_name = "ID")]
    pub(crate) warehouse: Option<String>,
    /// How lakekey signs in to Databricks: oauth-m2m or azure-client-secret [env: LAKEKEY_INIT_AUTH]
    #[arg(long, value_name = "KIND")]
    pub(crate) auth: Option<String>,
    /// Client id that lakekey signs in to Databricks with [env: LAKEKEY_INIT_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// Where its secret is, such as env:DBX_ADMIN_SECRET; never the secret itself [env: LAKEKEY_INIT_SECRET]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) secret: Option<String>,
    /// The Entra tenant [env: LAKEKEY_INIT_TENANT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) tenant_id: Option<String>,
    /// Client id of the Entra app that signs in to Power BI; none writes no targets [env: LAKEKEY_INIT_POWERBI_CLIENT_ID]
    #[arg(long, value_name = "ID")]
    pub(crate) powerbi_client_id: Option<String>,
    /// Where its secret is, such as env:POWERBI_SECRET [env: LAKEKEY_INIT_POWERBI_SECRET]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) powerbi_secret: Option<String>,
    /// The data sources: all, or WORKSPACE/DATASET of Power BI [env: LAKEKEY_INIT_SELECT] [default: all]
    #[arg(long, value_name = "WHAT")]
    pub(crate) select: Option<String>,
    /// What the credential is called in the config [env: LAKEKEY_INIT_NAME] [default: made from the principal]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Write over a config that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DiscoverArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// How to look: workspaces or scanner; without it the scanner where it is open [env: LAKEKEY_DISCOVER_BY]
    #[arg(long, value_name = "HOW")]
    pub(crate) by: Option<By>,
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
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) names: Names,
    /// Delete secrets that lakekey neither made nor adopted too
    #[arg(long)]
    pub(crate) foreign: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
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

/// Whose sign-in, and where.
#[derive(Args, Debug)]
pub(crate) struct SignInArgs {
    /// Which identity of the config [env: LAKEKEY_IDENTITY]
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// The workspace [env: LAKEKEY_HOST] [default: that of `broker:` or of the first credential]
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    #[command(flatten)]
    pub(crate) who: SignInArgs,
    /// Show a code to enter in any browser; Entra only [env: LAKEKEY_DEVICE_CODE]
    #[arg(long)]
    pub(crate) device_code: bool,
    /// Print the address and open nothing [env: LAKEKEY_NO_BROWSER]
    #[arg(long)]
    pub(crate) no_browser: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// The workspace [env: LAKEKEY_HOST, else DATABRICKS_HOST]
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Who signs in [env: LAKEKEY_IDENTITY] [default: the one that `broker:` names for the host]
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// The host is that of this profile in ~/.databrickscfg [env: DATABRICKS_CONFIG_PROFILE]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Take none that was handed out before
    #[arg(long)]
    pub(crate) force_refresh: bool,
}

/// As SDKs call `databricks auth token`.
#[derive(Args, Debug)]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    pub(crate) verb: AuthVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthVerb {
    /// As `lakekey token`
    Token(TokenArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    /// Which host of `broker:` is the command's [env: LAKEKEY_HOST] [default: DATABRICKS_HOST, else the first]
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// The command and its arguments
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
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
  lakekey init                         write a config, by a few questions
  lakekey validate                     check ./lakekey.yaml
  lakekey doctor                       see what is missing for a rotation, and how to give it
  lakekey plan sales-bi                see what a rotation would do
  lakekey rotate                       rotate what is due, resume what is open
  lakekey status --output json         where everything stands, for scripts

Exit status:
  0  all is as asked, also while a previous secret lives out its grace
  1  failed before anything changed
  2  wrong usage or config
  3  not finished: a rotation is open, a target is parked, another runner holds the lease,
     or a credential is quarantined; every target still holds a live secret";

const INIT_HELP: &str = "\
Writes ./lakekey.yaml, or where --config or LAKEKEY_CONFIG says, and nothing over a file that is
there. On a terminal it asks for what no flag gives, and then offers to run `lakekey doctor`.
Secrets are given as references only: where they are, not what they are.

Examples:
  lakekey init
  lakekey init --workspace https://adb-1234567890123456.7.azuredatabricks.net \\
    --service-principal pbi-sales --warehouse 1234567890abcdef \\
    --client-id 2c8e0f3a-5d61-4b7e-9a0c-1f2e3d4c5b6a --secret env:DBX_ADMIN_SECRET \\
    --tenant-id 63ed1b7c-0a52-4f0e-8f6f-6a1f2d3c4b5a \\
    --powerbi-client-id 725c9d8e-7f60-4a1b-b2c3-d4e5f6071829 --powerbi-secret env:POWERBI_SECRET
  lakekey doctor";

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

const DOCTOR_HELP: &str = "\
Signs in everywhere and looks at every permission, gateway, store and copy that a rotation needs.
What is missing is named with the grant that mends it. Nothing is changed.

Examples:
  lakekey doctor
  lakekey doctor sales-bi
  lakekey doctor --output json

Exit status:
  0  every check passed; warnings (passed, yet with a hint) are among them
  1  a check failed, so that a rotation would fail or leave something out
  2  wrong usage or config";

const DISCOVER_HELP: &str = "\
Looks as the identities of the credentials' `targets` do: workspace by workspace, or with admin
rights by the scanner, which shows workspaces too in which they have no role. Changes nothing.
--output csv is the mapping list that `targets.mapping` takes.

Examples:
  lakekey discover
  lakekey discover --output json       with owners, gateways and why something is not covered
  lakekey discover sales-bi --output csv > mapping.csv
  lakekey discover --by workspaces     without asking the scanner";

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
  lakekey reapply sales-bi --refresh   and refresh the datasets of its targets";

const ROLLBACK_HELP: &str = "\
Works while the previous secret lives: during a rotation, and until grace has passed after it.
A rotation that is open is given up. No timer rotates afterwards, until `lakekey rotate --force`;
the secret that was given up is deleted when grace has passed.

Examples:
  lakekey rollback sales-bi
  lakekey rotate sales-bi --force      when the reason is mended";

const REVOKE_HELP: &str = "\
For a secret that has leaked. A rotation that is open is given up; a new secret is made, proved and
sent to every target, with a few tries for each; then every older secret of lakekey's is deleted,
whether or not each target has moved. Says first which secrets go and whom that cuts off, and asks.
Tokens that were issued with an old secret may last up to an hour.

Examples:
  lakekey revoke sales-bi
  lakekey revoke sales-bi --yes        without asking, for scripts
  lakekey revoke sales-bi --foreign    every other secret of the service principal too";

const STATUS_HELP: &str = "\
Examples:
  lakekey status
  lakekey status sales-bi              with the secrets of its service principal
  lakekey status --output json";

const HISTORY_HELP: &str = "\
Examples:
  lakekey history sales-bi
  lakekey history --verify             exits with 3 where the chain does not hold";

const LOGIN_HELP: &str = "\
A browser is opened where there is one, and its address printed in any case; it comes back to a port
of this machine, 8020 to 8040. Without a display, identities of Entra show a code instead. What stays
is a refresh token: in the keyring of the session where there is one, else in a file of this user's.

Examples:
  lakekey login                        the one identity that needs a person
  lakekey login --identity me --host https://adb-1234567890123456.7.azuredatabricks.net
  lakekey login --identity me --device-code";

const LOGOUT_HELP: &str = "\
Without --identity every sign-in of the config's is forgotten. Tokens that were handed out last until
they expire, an hour at most.

Examples:
  lakekey logout
  lakekey logout --identity me";

const TOKEN_HELP: &str = "\
Prints JSON, whatever --output says: access_token, token_type and expiry, good for a minute at least.
Whoever sees it can use it. SDKs that can call the Databricks CLI call this in its place when
DATABRICKS_CLI_PATH names this program.

Examples:
  lakekey token --host https://adb-1234567890123456.7.azuredatabricks.net
  lakekey token --host https://adb-1234567890123456.7.azuredatabricks.net --identity dbx-admin
  DATABRICKS_CLI_PATH=$(which lakekey) DATABRICKS_AUTH_TYPE=databricks-cli python3 report.py";

const EXEC_HELP: &str = "\
The command is given DATABRICKS_HOST, DATABRICKS_AUTH_TYPE=metadata-service and an address on
loopback, with a secret in it, where its SDK gets tokens; other sign-ins of Databricks are taken out
of its environment. Signals are passed on, and its exit status is that of lakekey.

Examples:
  lakekey exec -- python3 report.py
  lakekey exec --host https://adb-1234567890123456.7.azuredatabricks.net -- databricks clusters list";

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
