//! Finds the config, reads it, and takes it from bytes to a valid [`Config`] or to every problem that it has.

use std::path::{Path, PathBuf};

use super::check::{self, Context};
use super::document::Document;
use super::env_vars::{ALLOWED_HOSTS, CONFIG, Environment};
use super::hosts::{Cloud, HostPolicy};
use super::model::Config;
use super::place::ObjectPlace;
use super::problem::{ConfigProblem, Position, Problems, shown};
use super::{shape, tree};
use crate::ids::hex;

/// Largest document; a config of a thousand credentials has half of it.
const DOCUMENT_BYTES_MAX: u64 = 1024 * 1024;

/// Looked for in the current directory when nothing else is said.
const FILE_DEFAULT: &str = "lakekey.yaml";

/// Where the config comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConfigSource {
    /// The value of `--config`.
    Flag(String),
    /// `LAKEKEY_CONFIG` (a path, an address or the document itself), else `./lakekey.yaml`.
    #[default]
    Environment,
}

impl ConfigSource {
    /// The object that is the document, where it is on S3 or Blob storage.
    pub fn object(&self, environment: &Environment) -> Result<Option<ObjectPlace>, ConfigProblem> {
        let (value, origin) = match self {
            Self::Flag(value) => (value.as_str(), "--config"),
            Self::Environment => (environment.get(CONFIG).unwrap_or_default(), CONFIG),
        };
        if !is_object(value) {
            return Ok(None);
        }
        match ObjectPlace::parse(value).filter(|place| !place.path().is_empty()) {
            Some(place) => Ok(Some(place)),
            None => Err(unread(
                origin,
                "config-not-found",
                format!("{} is not the address of a document", shown(value)),
                "write `s3://bucket/path/lakekey.yaml` or `az://account/container/path/lakekey.yaml`",
            )),
        }
    }
}

/// A document before it is parsed. Not `Debug`: it may hold an inline secret.
struct Raw {
    /// As problems name it.
    file: String,
    bytes: Vec<u8>,
    /// Relative paths start here.
    base: PathBuf,
}

impl Config {
    /// Loads and checks the config. `current_dir` is absolute. The error lists every problem, in the order of the document.
    pub fn load(source: &ConfigSource, environment: &Environment, current_dir: &Path) -> Result<Self, Vec<ConfigProblem>> {
        let raw = read(source, environment, current_dir).map_err(|problem| vec![problem])?;
        Self::of(&raw, environment)
    }

    /// The same of a document that was read from elsewhere; problems name it `origin`.
    pub fn of_document(
        origin: &str,
        document: Vec<u8>,
        environment: &Environment,
        current_dir: &Path,
    ) -> Result<Self, Vec<ConfigProblem>> {
        if document.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(vec![too_large(origin)]);
        }
        Self::of(&Raw { file: origin.to_owned(), bytes: document, base: current_dir.to_owned() }, environment)
    }

    fn of(raw: &Raw, environment: &Environment) -> Result<Self, Vec<ConfigProblem>> {
        let mut problems = Problems::new(raw.file.clone());
        let config = resolve(raw, environment, &mut problems);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => {
                if problems.is_empty() {
                    problems.add(
                        Position::START,
                        "internal",
                        "the config is not understood although no problem was found",
                        "this is a defect of lakekey; please report it",
                    );
                }
                Err(problems.into_sorted())
            }
        }
    }
}

fn resolve(raw: &Raw, environment: &Environment, problems: &mut Problems) -> Option<Config> {
    let Ok(text) = std::str::from_utf8(&raw.bytes) else {
        problems.add(Position::START, "not-utf8", "the config is not UTF-8 text", "save it as UTF-8");
        return None;
    };
    let tree = tree::parse(text, problems)?;
    let (fitted, value) = shape::fit(&tree, problems)?;
    // Its error would quote values; `shape` leaves it no reason for one.
    let document: Document = serde_json::from_value(value).ok()?;
    let hosts = hosts(document.cloud, environment, problems);
    let context = Context { hosts: &hosts?, base: &raw.base, digest: digest(&raw.bytes) };
    check::resolve(&document, &fitted, context, problems)
}

fn hosts(cloud: Cloud, environment: &Environment, problems: &mut Problems) -> Option<HostPolicy> {
    HostPolicy::new(cloud, environment.get(ALLOWED_HOSTS))
        .or_else(|entry| {
            problems.push(ConfigProblem {
                code: "bad-allowed-hosts".to_owned(),
                message: format!("{} in {ALLOWED_HOSTS} is not a host", shown(&entry)),
                hint: Some("write `host`, `host:port` or `*.suffix`, separated by commas".to_owned()),
                file: ALLOWED_HOSTS.to_owned(),
                line: Position::START.line,
                column: Position::START.column,
            });
            // The document's own problems are still wanted.
            HostPolicy::new(cloud, None)
        })
        .ok()
}

fn read(source: &ConfigSource, environment: &Environment, current_dir: &Path) -> Result<Raw, ConfigProblem> {
    let named = match source {
        ConfigSource::Flag(path) => Some((path.as_str(), "--config")),
        ConfigSource::Environment => environment.get(CONFIG).map(|value| (value, CONFIG)),
    };
    let Some((value, origin)) = named else {
        let hint =
            format!("write one with `lakekey init` (`lakekey schema` describes it), or name one with --config or {CONFIG}");
        return read_file(FILE_DEFAULT, current_dir, &hint);
    };
    let inline = origin == CONFIG && (value.contains('\n') || value.trim_start().starts_with('{'));
    if inline {
        let bytes = value.as_bytes().to_vec();
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(too_large(CONFIG));
        }
        return Ok(Raw { file: CONFIG.to_owned(), bytes, base: current_dir.to_owned() });
    }
    read_file(value, current_dir, &format!("{origin} names this file; write it, or name another (`lakekey schema` describes it)"))
}

fn read_file(path: &str, current_dir: &Path, hint: &str) -> Result<Raw, ConfigProblem> {
    use std::io::{ErrorKind, Read};
    let full = current_dir.join(path);
    let mut bytes = Vec::new();
    let outcome = std::fs::File::open(&full).and_then(|file| file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(_) if bytes.len() as u64 > DOCUMENT_BYTES_MAX => Err(too_large(path)),
        Ok(_) => {
            let base = full.parent().unwrap_or(current_dir).to_owned();
            Ok(Raw { file: path.to_owned(), bytes, base })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(unread(path, "config-not-found", format!("there is no config at {}", shown(path)), hint))
        }
        Err(error) => {
            Err(unread(path, "config-unreadable", format!("the config at {} can't be read: {}", shown(path), error.kind()), hint))
        }
    }
}

fn is_object(value: &str) -> bool {
    value.starts_with("s3://") || value.starts_with("az://")
}

fn too_large(file: &str) -> ConfigProblem {
    unread(file, "config-too-large", "the config is larger than 1 MiB".to_owned(), "split it into several deployments")
}

fn unread(file: &str, code: &str, message: String, hint: &str) -> ConfigProblem {
    let Position { line, column } = Position::START;
    ConfigProblem { code: code.to_owned(), message, hint: Some(hint.to_owned()), file: file.to_owned(), line, column }
}

fn digest(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref())
}
