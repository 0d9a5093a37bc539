//! `lakekey init`: writes a commented config, asking on a terminal, from flags without one. Nothing is written that
//! `validate` would refuse, and nothing over a file that is there, unless that is said.

mod answers;
mod document;

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use lakekey_core::config::env_vars::{CONFIG, Environment};
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::error::{Error, ExitStatus};
use serde::Serialize;

use super::Session;
use crate::args::{InitArgs, Names, Output};
use crate::failure::Failure;
use crate::text::printable;

/// The answer.
#[derive(Serialize)]
struct Written<'a> {
    written: String,
    /// Variables that the config refers to and that are not set here.
    unset: Vec<&'a str>,
    next: &'static str,
}

pub(crate) async fn init(args: &InitArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let path = destination(session)?;
    let overwrite = may_overwrite(args.force, &path, session).await?;
    let answers = answers::collect(args, session).await?;
    let document = document::render(&answers);
    check(&document, session)?;
    write(&path, &document, overwrite)?;
    let unset = answers.variables().into_iter().filter(|name| session.environment.get(name).is_none()).collect();
    let written = Written { written: path.display().to_string(), unset, next: "lakekey doctor" };
    match session.settings.output {
        Output::Text | Output::Csv => session.printer.text(&told(&written))?,
        Output::Json => session.printer.json(&written)?,
    }
    match session.person.clone() {
        // Without the secrets there is nothing to look at yet.
        Some(person) if written.unset.is_empty() && session.settings.output == Output::Text => {
            if !person.confirms(&session.printer, "run `lakekey doctor` now?", true).await? {
                return Ok(ExitStatus::Done);
            }
            session.settings.config = Some(written.written);
            super::doctor::doctor(&Names { names: Vec::new() }, session).await
        }
        Some(_) | None => Ok(ExitStatus::Done),
    }
}

/// Where the config goes: the place that every other command will read it from.
fn destination(session: &Session) -> Result<PathBuf, Error> {
    let named = session.settings.config.as_deref().or_else(|| session.environment.get(CONFIG)).unwrap_or(FILE_DEFAULT);
    if named.contains('\n') || named.trim_start().starts_with('{') || named.contains("://") {
        return Err(Error::usage("no-place-for-config", format!("{CONFIG} names no file that could be written"))
            .hint("name a file by `--config`, or take the variable out of the environment"));
    }
    Ok(session.current_dir.join(named))
}

/// Whether a file that is there may be written over. Asked first: nobody answers ten questions for nothing.
async fn may_overwrite(force: bool, path: &Path, session: &Session) -> Result<bool, Error> {
    if force || !path.exists() {
        return Ok(force);
    }
    let shown = printable(&path.display().to_string());
    if let Some(person) = &session.person
        && person.confirms(&session.printer, &format!("`{shown}` is there already; write over it?"), false).await?
    {
        return Ok(true);
    }
    Err(exists(path))
}

fn exists(path: &Path) -> Error {
    Error::usage("config-exists", format!("there is a config at `{}` already; it was left as it is", path.display()))
        .hint("name another file by `--config`, or write over it by `--force`")
}

/// Reads the document as any other command would.
fn check(document: &str, session: &Session) -> Result<(), Failure> {
    let variables = session.environment.get(lakekey_core::config::env_vars::ALLOWED_HOSTS);
    let allowed = variables.map(|hosts| (lakekey_core::config::env_vars::ALLOWED_HOSTS.to_owned(), hosts.to_owned()));
    let environment: Environment = [(CONFIG.to_owned(), document.to_owned())].into_iter().chain(allowed).collect();
    match Config::load(&ConfigSource::Environment, &environment, &session.current_dir) {
        Ok(_) => Ok(()),
        Err(problems) => {
            let first = problems.into_iter().next();
            let (message, hint) = first.map(|problem| (problem.message, problem.hint)).unwrap_or_default();
            let mut error = Error::usage("answer-refused", format!("with these answers the config would be wrong: {message}"));
            if let Some(hint) = hint {
                error = error.hint(hint);
            }
            Err(error.into())
        }
    }
}

fn write(path: &Path, document: &str, overwrite: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true);
    if overwrite {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(document.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return exists(path);
        }
        Error::failed("config-not-written", format!("the config cannot be written to `{}`", path.display()))
            .hint("check that the folder exists and that this user may write to it")
            .caused_by(error)
    })
}

fn told(written: &Written<'_>) -> String {
    let set = match written.unset.as_slice() {
        [] => String::new(),
        unset => format!("set these in the environment: {}\n", unset.join(", ")),
    };
    format!("wrote {}\n{set}next: `lakekey doctor`, then `lakekey plan`, then `lakekey rotate`\n", printable(&written.written))
}

const FILE_DEFAULT: &str = "lakekey.yaml";
