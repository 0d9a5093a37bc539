//! The command line as a whole: arguments and environment in; exit status, stdout and stderr out.

use std::sync::{Mutex, PoisonError};

use insta::assert_snapshot;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("text")
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs `lakekey` with these words and variables in an empty folder.
fn lakekey(line: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let (stdout, stderr) = (Buffer::default(), Buffer::default());
    let surroundings = CliSurroundings {
        environment: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        current_dir: folder.path().to_owned(),
        clock: Clock::wall(),
        random: Random::seeded(1),
        transport: None,
        stdin: None,
        stdout: Box::new(stdout.clone()),
        stderr: Box::new(stderr.clone()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        stop: Box::pin(std::future::pending()),
    };
    let args = ["lakekey"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let status = runtime.block_on(run(args, surroundings));
    format!("exit {}\n--- stdout\n{}--- stderr\n{}", status.code(), stdout.text(), stderr.text())
}

#[test]
fn help_shows_what_exists() {
    assert_snapshot!(lakekey("--help", &[]), @"
    exit 0
    --- stdout
    Rotates Databricks service-principal secrets into Power BI data sources, crash-safe

    Usage: lakekey [OPTIONS] <COMMAND>

    Commands:
      init      Write a commented config, asking on a terminal, from flags elsewhere
      schema    Print the JSON Schema of the config
      validate  Check the config offline and report everything that is wrong with it
      doctor    Look whether a rotation has every permission that it needs; writes nothing anywhere
      discover  List every Databricks data source that the identities can see
      plan      Show what `rotate` would do, target by target; writes nothing anywhere
      rotate    Rotate what is due, resume what is open, retire what is past grace
      reapply   Send the current secret to its targets again
      rollback  Move targets back to the previous secret and hold there until `rotate --force`
      revoke    Break glass: rotate now and delete every older secret at once
      forget    Stop counting a target that is gone or beyond reach
      status    Show where every credential stands
      history   Show the journal: who did what and when
      login     Sign a person in, in a browser or with a device code, for identities that need one
      logout    Forget what sign-ins have left on this machine
      token     Print a fresh Databricks token in the form that `databricks auth token` prints
      exec      Run a command whose Databricks SDK signs in through lakekey for as long as it runs
      serve     Serve the HTTP API, the status page, tokens for local programs and the timer from this machine

    Options:
          --config <PATH>        The config file [env: LAKEKEY_CONFIG, a path or the document itself] [default: lakekey.yaml]
          --output <FORMAT>      How results are written to stdout; csv is for `discover` [env: LAKEKEY_OUTPUT] [default: text] [possible values: text, json, csv]
      -v, --verbose...           Log more to stderr; up to three times [env: LAKEKEY_VERBOSE=0..3]
          --log-format <FORMAT>  How log lines are written [env: LAKEKEY_LOG_FORMAT] [default: text] [possible values: text, json]
      -h, --help                 Print help
      -V, --version              Print version

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
         or a credential is quarantined; every target still holds a live secret
    --- stderr
    ");
}

#[test]
fn every_command_has_examples() {
    for command in [
        "schema", "validate", "discover", "plan", "rotate", "reapply", "forget", "status", "history", "login", "logout", "token",
        "exec", "serve",
    ] {
        let help = lakekey(&format!("{command} --help"), &[]);
        assert!(help.starts_with("exit 0\n") && help.contains(&format!("Examples:\n  lakekey {command}")), "{help}");
    }
    assert_snapshot!(lakekey("rotate --help", &[]), @"
    exit 0
    --- stdout
    Rotate what is due, resume what is open, retire what is past grace

    Usage: lakekey rotate [OPTIONS] [NAME]...

    Arguments:
      [NAME]...  Credentials of the config; none means every one

    Options:
          --config <PATH>        The config file [env: LAKEKEY_CONFIG, a path or the document itself] [default: lakekey.yaml]
          --force                Rotate although not due; an open rotation is resumed instead
          --output <FORMAT>      How results are written to stdout; csv is for `discover` [env: LAKEKEY_OUTPUT] [default: text] [possible values: text, json, csv]
      -v, --verbose...           Log more to stderr; up to three times [env: LAKEKEY_VERBOSE=0..3]
          --log-format <FORMAT>  How log lines are written [env: LAKEKEY_LOG_FORMAT] [default: text] [possible values: text, json]
      -h, --help                 Print help

    Returns when every target has moved, or when nothing more can be done now. It may be stopped
    and started again at any time: the journal remembers.

    Examples:
      lakekey rotate
      lakekey rotate sales-bi --force      rotate now, due or not
    --- stderr
    ");
}

#[test]
fn the_version_is_an_answer() {
    assert_snapshot!(lakekey("--version", &[]), @"
    exit 0
    --- stdout
    lakekey 0.1.0
    --- stderr
    ");
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    assert_snapshot!(lakekey("rotat", &[]), @"
    exit 2
    --- stdout
    --- stderr
    error: unrecognized subcommand 'rotat'

      tip: some similar subcommands exist: 'status', 'rotate'

    Usage: lakekey [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn an_unknown_option_is_wrong_usage() {
    assert_snapshot!(lakekey("rotate --forse", &[]), @"
    exit 2
    --- stdout
    --- stderr
    error: unexpected argument '--forse' found

      tip: a similar argument exists: '--force'

    Usage: lakekey rotate --force [NAME]...

    For more information, try '--help'.
    ");
}

#[test]
fn no_command_is_wrong_usage() {
    assert!(lakekey("", &[]).starts_with("exit 2\n--- stdout\n--- stderr\nRotates"));
    assert_snapshot!(lakekey("", &[("LAKEKEY_OUTPUT", "json")]), @r#"
    exit 2
    --- stdout
    {"error":{"code":"usage","message":"no command is given","hint":"see `lakekey --help`"},"problems":[]}
    --- stderr
    "#);
}

#[test]
fn wrong_usage_is_json_where_json_is_asked_for() {
    assert_snapshot!(lakekey("--output json rotat", &[]), @r#"
    exit 2
    --- stdout
    {"error":{"code":"usage","message":"unrecognized subcommand 'rotat'","hint":"did you mean `rotate` or `status`?"},"problems":[]}
    --- stderr
    "#);
    assert_snapshot!(lakekey("rotate --forse", &[("LAKEKEY_OUTPUT", "json")]), @r#"
    exit 2
    --- stdout
    {"error":{"code":"usage","message":"unexpected argument '--forse' found","hint":"did you mean `--force`?"},"problems":[]}
    --- stderr
    "#);
    assert_snapshot!(lakekey("plan --log-format=yaml --output=json", &[]), @r#"
    exit 2
    --- stdout
    {"error":{"code":"usage","message":"invalid value 'yaml' for '--log-format <FORMAT>' [possible values: text, json]","hint":"see `lakekey --help`"},"problems":[]}
    --- stderr
    "#);
}

#[test]
fn a_wrong_twin_is_wrong_usage() {
    assert_snapshot!(lakekey("status", &[("LAKEKEY_OUTPUT", "xml")]), @"
    exit 2
    --- stdout
    --- stderr
    error: the environment variable LAKEKEY_OUTPUT is `xml`
    hint: set it to `text`, `json` or `csv`
    ");
}

#[test]
fn options_may_stand_before_or_after_the_command() {
    let before = lakekey("--output json --config nowhere.yaml validate", &[]);
    let after = lakekey("validate --config nowhere.yaml --output json", &[]);
    assert_eq!(before, after);
    assert!(before.starts_with("exit 2\n--- stdout\n{\"error\":{\"code\":\"config-invalid\""), "{before}");
}

#[test]
fn validate_reports_every_problem_at_once_and_no_secret() {
    let broken = "version: 1\nclod: public\nstate: file:.lakekey\nidentities:\n  dbx: { auth: oauth-m2m, client_id: a, \
                  client_secret: hunter2 }\ncredentials: {}\n";
    let text = lakekey("validate", &[("LAKEKEY_CONFIG", broken)]);
    assert!(!text.contains("hunter2"), "{text}");
    assert_snapshot!(text, @"
    exit 2
    --- stdout
    --- stderr
    LAKEKEY_CONFIG:2:1: the config has no key `clod` [unknown-key]
      hint: did you mean `cloud`?
    LAKEKEY_CONFIG:5:56: a value stands here where only a reference may [inline-secret]
      hint: write where the value is, as `env:NAME`, `file:PATH`, `akv:VAULT/NAME[/VERSION]`, `awssm:NAME-OR-ARN[#json-key]` or `databricks:HOST/SCOPE/KEY?identity=NAME`; what stood in this file should be replaced at its service
    LAKEKEY_CONFIG:6:14: the config has no credentials [no-credentials]
      hint: add one under `credentials`
    error: the config has 3 problems
    ");
    assert_snapshot!(lakekey("rotate --output json", &[("LAKEKEY_CONFIG", broken)]), @r#"
    exit 2
    --- stdout
    {"error":{"code":"config-invalid","message":"the config has 3 problems","hint":"see `problems`"},"problems":[{"code":"unknown-key","message":"the config has no key `clod`","hint":"did you mean `cloud`?","file":"LAKEKEY_CONFIG","line":2,"column":1},{"code":"inline-secret","message":"a value stands here where only a reference may","hint":"write where the value is, as `env:NAME`, `file:PATH`, `akv:VAULT/NAME[/VERSION]`, `awssm:NAME-OR-ARN[#json-key]` or `databricks:HOST/SCOPE/KEY?identity=NAME`; what stood in this file should be replaced at its service","file":"LAKEKEY_CONFIG","line":5,"column":56},{"code":"no-credentials","message":"the config has no credentials","hint":"add one under `credentials`","file":"LAKEKEY_CONFIG","line":6,"column":14}]}
    --- stderr
    "#);
}

#[test]
fn a_valid_config_names_its_credentials() {
    assert_snapshot!(lakekey("validate", &[("LAKEKEY_CONFIG", VALID)]), @"
    exit 0
    --- stdout
    the config is valid; its credentials: sales-bi
    --- stderr
    ");
    assert_snapshot!(lakekey("validate --output json", &[("LAKEKEY_CONFIG", VALID)]), @r#"
    exit 0
    --- stdout
    {"valid":true,"credentials":["sales-bi"]}
    --- stderr
    "#);
}

#[test]
fn a_name_that_the_config_does_not_have_is_wrong_usage() {
    assert_snapshot!(lakekey("rotate sales", &[("LAKEKEY_CONFIG", VALID)]), @"
    exit 2
    --- stdout
    --- stderr
    error: the config has no credential `sales`
    hint: did you mean `sales-bi`?
    ");
}

const VALID: &str = "
version: 1
state: file:.lakekey
identities:
  dbx: { auth: oauth-m2m, client_id: a, client_secret: env:DBX }
credentials:
  sales-bi:
    workspace: https://adb-1234567890123456.7.azuredatabricks.net
    identity: dbx
    service_principal: pbi-sales
    lifetime: 14d
    rotate_every: 7d
    grace: 24h
    store: file:sales.json
";

#[test]
fn the_schema_is_json_in_every_format() {
    let text = lakekey("schema", &[]);
    assert_eq!(text, lakekey("schema --output json", &[]));
    let json = text.trim_start_matches("exit 0\n--- stdout\n").trim_end_matches("--- stderr\n");
    let schema: serde_json::Value = serde_json::from_str(json).expect("JSON");
    assert!(schema.is_object());
}

#[test]
fn a_stopped_rotation_says_how_to_go_on() {
    let rotate = Verb::Rotate(args::RotateArgs { names: args::Names { names: vec![] }, force: false });
    let error = stopped(&rotate);
    assert_eq!(error.kind().exit_status(), ExitStatus::Unfinished);
    assert_snapshot!(error.problem().hint.as_deref().unwrap_or_default(), @"`lakekey rotate` goes on where this was stopped");
}

#[tokio::test]
async fn work_that_is_dropped_has_said_what_it_did() {
    let stderr = Buffer::default();
    let display = progress::Display::Lines(Stderr::new(Box::new(stderr.clone())));
    let endless = progress::shown(display, async |progress| {
        progress.say(lakekey_core::command::ProgressEvent {
            credential: lakekey_core::ids::CredentialName::new("sales-bi"),
            step: "minted a secret".to_owned(),
            done: 0,
            total: 0,
        });
        std::future::pending::<()>().await;
    });
    let stop = async {
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = endless => {}
        () = stop => {}
    }
    assert_eq!(stderr.text(), "sales-bi: minted a secret\n");
}
