//! What the options come to: flag, else its `LAKEKEY_` twin, else the default. The one place that knows the twins.

use std::ffi::OsString;

use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;

use crate::args::{By, Format, Options, Output};

/// The options of every command, resolved.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The value of `--config`; its twin is the config loader's business.
    pub(crate) config: Option<String>,
    pub(crate) output: Output,
    pub(crate) log_format: Format,
    /// 0 logs warnings, 1 information, 2 and 3 more.
    pub(crate) verbosity: u8,
}

impl Settings {
    pub(crate) fn resolve(options: Options, environment: &Environment) -> Result<Self, Error> {
        Ok(Self {
            config: options.config,
            output: output(options.output, environment)?,
            log_format: format(options.log_format, LOG_FORMAT, environment)?,
            verbosity: if options.verbose > 0 { options.verbose } else { verbosity(environment)? },
        })
    }
}

/// How to answer when the command line can't be parsed: what `--output` seems to ask for, else its twin.
pub(crate) fn guess_output(args: &[OsString], environment: &Environment) -> Output {
    let mut words = args.iter().filter_map(|word| word.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let value = if word == "--output" { words.next() } else { word.strip_prefix("--output=") };
        match value {
            Some("json") => return Output::Json,
            Some(_) => return Output::Text,
            None => {}
        }
    }
    output(None, environment).unwrap_or(Output::Text)
}

/// A switch of one command: the flag, else its twin.
pub(crate) fn switch(flag: bool, name: &str, environment: &Environment) -> Result<bool, Error> {
    match (flag, environment.get(name)) {
        (true, _) => Ok(true),
        (false, None | Some("0" | "false" | "no")) => Ok(false),
        (false, Some("1" | "true" | "yes")) => Ok(true),
        (false, Some(value)) => Err(wrong(name, value, "`true` or `false`")),
    }
}

/// How `discover` looks: the flag, else its twin.
pub(crate) fn by(flag: Option<By>, environment: &Environment) -> Result<Option<By>, Error> {
    match (flag, environment.get(DISCOVER_BY)) {
        (Some(by), _) => Ok(Some(by)),
        (None, None) => Ok(None),
        (None, Some("workspaces")) => Ok(Some(By::Workspaces)),
        (None, Some("scanner")) => Ok(Some(By::Scanner)),
        (None, Some(value)) => Err(wrong(DISCOVER_BY, value, "`workspaces` or `scanner`")),
    }
}

fn output(flag: Option<Output>, environment: &Environment) -> Result<Output, Error> {
    match (flag, environment.get(OUTPUT)) {
        (Some(output), _) => Ok(output),
        (None, None | Some("text")) => Ok(Output::Text),
        (None, Some("json")) => Ok(Output::Json),
        (None, Some("csv")) => Ok(Output::Csv),
        (None, Some(value)) => Err(wrong(OUTPUT, value, "`text`, `json` or `csv`")),
    }
}

fn format(flag: Option<Format>, name: &str, environment: &Environment) -> Result<Format, Error> {
    match (flag, environment.get(name)) {
        (Some(format), _) => Ok(format),
        (None, None | Some("text")) => Ok(Format::Text),
        (None, Some("json")) => Ok(Format::Json),
        (None, Some(value)) => Err(wrong(name, value, "`text` or `json`")),
    }
}

fn verbosity(environment: &Environment) -> Result<u8, Error> {
    match environment.get(VERBOSE) {
        None => Ok(0),
        Some(value) => value.parse().map_err(|_| wrong(VERBOSE, value, "a number from 0 to 3")),
    }
}

fn wrong(name: &str, value: &str, expected: &str) -> Error {
    Error::usage("usage", format!("the environment variable {name} is `{value}`")).hint(format!("set it to {expected}"))
}

const OUTPUT: &str = "LAKEKEY_OUTPUT";
const LOG_FORMAT: &str = "LAKEKEY_LOG_FORMAT";
const VERBOSE: &str = "LAKEKEY_VERBOSE";
/// Twin of `reapply --refresh`.
pub(crate) const REFRESH: &str = "LAKEKEY_REFRESH";
/// Twin of `discover --by`.
const DISCOVER_BY: &str = "LAKEKEY_DISCOVER_BY";
/// Twin of `serve --listen`.
pub(crate) const LISTEN: &str = "LAKEKEY_LISTEN";
/// Twin of `serve --behind-tls`.
pub(crate) const BEHIND_TLS: &str = "LAKEKEY_BEHIND_TLS";
/// Twin of `serve --schedule`.
pub(crate) const SCHEDULE: &str = "LAKEKEY_SCHEDULE";
/// Twin of `token --host` and `exec --host`.
pub(crate) const HOST: &str = "LAKEKEY_HOST";
/// Twin of `token --identity`.
pub(crate) const IDENTITY: &str = "LAKEKEY_IDENTITY";
/// Twin of `login --device-code`.
pub(crate) const DEVICE_CODE: &str = "LAKEKEY_DEVICE_CODE";
/// Twin of `login --no-browser`.
pub(crate) const NO_BROWSER: &str = "LAKEKEY_NO_BROWSER";
/// The Databricks SDKs' own.
pub(crate) const DATABRICKS_HOST: &str = "DATABRICKS_HOST";
/// Twin of `history --verify`.
pub(crate) const VERIFY: &str = "LAKEKEY_VERIFY";

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn options(output: Option<Output>, verbose: u8) -> Options {
        Options { config: None, output, verbose, log_format: None }
    }

    #[test]
    fn a_flag_wins_over_its_twin_and_the_twin_over_the_default() {
        let json = environment(&[("LAKEKEY_OUTPUT", "json"), ("LAKEKEY_VERBOSE", "2")]);
        let settings = Settings::resolve(options(Some(Output::Text), 1), &json).expect("valid");
        assert_eq!((settings.output, settings.verbosity), (Output::Text, 1));
        let settings = Settings::resolve(options(None, 0), &json).expect("valid");
        assert_eq!((settings.output, settings.verbosity, settings.log_format), (Output::Json, 2, Format::Text));
        let settings = Settings::resolve(options(None, 0), &environment(&[])).expect("valid");
        assert_eq!((settings.output, settings.verbosity), (Output::Text, 0));
    }

    #[test]
    fn a_twin_with_a_wrong_value_is_wrong_usage() {
        for (name, value) in [("LAKEKEY_OUTPUT", "xml"), ("LAKEKEY_LOG_FORMAT", "JSON"), ("LAKEKEY_VERBOSE", "much")] {
            let error = Settings::resolve(options(None, 0), &environment(&[(name, value)])).expect_err("wrong");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(switch(false, REFRESH, &environment(&[(REFRESH, "maybe")])).is_err());
    }

    #[test]
    fn a_switch_can_be_set_in_the_environment() {
        let set = environment(&[(REFRESH, "true"), (VERIFY, "0")]);
        assert!(switch(false, REFRESH, &set).expect("valid"));
        assert!(!switch(false, VERIFY, &set).expect("valid"));
        assert!(switch(true, VERIFY, &set).expect("valid"));
    }

    #[test]
    fn the_output_of_a_broken_command_line_is_guessed() {
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let none = environment(&[]);
        let json = environment(&[("LAKEKEY_OUTPUT", "json")]);
        assert_eq!(guess_output(&args(&["lakekey", "rotat", "--output", "json"]), &none), Output::Json);
        assert_eq!(guess_output(&args(&["lakekey", "--output=json", "rotat"]), &none), Output::Json);
        assert_eq!(guess_output(&args(&["lakekey", "rotat"]), &json), Output::Json);
        assert_eq!(guess_output(&args(&["lakekey", "--output", "text", "rotat"]), &json), Output::Text);
        assert_eq!(guess_output(&args(&["lakekey", "rotat", "--", "--output=json"]), &none), Output::Text);
    }
}
