//! The answers that a config is made from: a flag, else its twin in the environment, else what a person says, else a
//! default. Where there is nobody to ask, everything that is missing is told at once.

use std::path::Path;

use lakekey_core::config::reference::{Reference, ReferenceError};
use lakekey_core::error::Error;
use lakekey_core::ids::Workspace;

use super::super::Session;
use crate::args::InitArgs;

/// Everything that the document needs.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) name: String,
    pub(super) workspace: String,
    pub(super) service_principal: String,
    pub(super) warehouse: Option<String>,
    pub(super) auth: String,
    pub(super) client_id: String,
    pub(super) secret: String,
    pub(super) tenant_id: Option<String>,
    pub(super) powerbi: Option<PowerBi>,
}

/// Who signs in to Power BI, and what is selected there.
#[derive(Debug)]
pub(super) struct PowerBi {
    pub(super) client_id: String,
    pub(super) secret: String,
    pub(super) select: Select,
}

/// Which data sources.
#[derive(Debug)]
pub(super) enum Select {
    All,
    Dataset { workspace: String, dataset: String },
}

impl Answers {
    /// The variables that the references name.
    pub(super) fn variables(&self) -> Vec<&str> {
        let secrets = std::iter::once(&self.secret).chain(self.powerbi.as_ref().map(|powerbi| &powerbi.secret));
        secrets.filter_map(|reference| reference.strip_prefix("env:")).collect()
    }
}

/// Collects the answers, in the order in which a person would look them up.
pub(super) async fn collect(args: &InitArgs, session: &Session) -> Result<Answers, Error> {
    let mut form = Form { session, missing: Vec::new() };
    let workspace = form.answer(&args.workspace, &WORKSPACE, None).await?;
    let service_principal = form.answer(&args.service_principal, &SERVICE_PRINCIPAL, None).await?;
    let warehouse = form.optional(&args.warehouse, &WAREHOUSE).await?;
    let auth = form.answer(&args.auth, &AUTH, Some("oauth-m2m")).await?;
    let client_id = form.answer(&args.client_id, &CLIENT_ID, None).await?;
    let secret = form.answer(&args.secret, &SECRET, Some("env:DBX_ADMIN_SECRET")).await?;
    let powerbi_client_id = form.optional(&args.powerbi_client_id, &POWERBI_CLIENT_ID).await?;
    let tenant_id = match (&powerbi_client_id, auth.as_str()) {
        (Some(_), _) => Some(form.answer(&args.tenant_id, &TENANT_ID, None).await?),
        (None, "azure-client-secret") => form.optional(&args.tenant_id, &TENANT_ID).await?,
        (None, _) => None,
    };
    let powerbi = match powerbi_client_id {
        Some(client_id) => Some(PowerBi {
            client_id,
            secret: form.answer(&args.powerbi_secret, &POWERBI_SECRET, Some("env:POWERBI_SECRET")).await?,
            select: select(&form.answer(&args.select, &SELECT, Some("all")).await?),
        }),
        None => None,
    };
    let name = form.answer(&args.name, &NAME, Some(&name_from(&service_principal))).await?;
    match form.missing.as_slice() {
        [] => {}
        missing => {
            return Err(Error::usage("answers-missing", format!("there is nobody to ask for {}", missing.join(", ")))
                .hint("give these flags, or run it on a terminal"));
        }
    }
    Ok(Answers { name, workspace, service_principal, warehouse, auth, client_id, secret, tenant_id, powerbi })
}

/// One question, and when its answer will do.
struct Question {
    flag: &'static str,
    variable: &'static str,
    text: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
}

const WORKSPACE: Question = Question {
    flag: "--workspace",
    variable: "LAKEKEY_INIT_WORKSPACE",
    text: "Databricks workspace, as the browser shows it",
    check: |text| Workspace::parse(text).map(drop).map_err(|_| "write `https://HOST`"),
};
const SERVICE_PRINCIPAL: Question = Question {
    flag: "--service-principal",
    variable: "LAKEKEY_INIT_SERVICE_PRINCIPAL",
    text: "service principal whose secret is rotated (display name or application id)",
    check: anything,
};
const WAREHOUSE: Question = Question {
    flag: "--warehouse",
    variable: "LAKEKEY_INIT_WAREHOUSE",
    text: "SQL warehouse that its reports use (the last part of the HTTP path; empty for none)",
    check: |text| {
        let is_id = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if is_id { Ok(()) } else { Err("write the id alone, such as `1234567890abcdef`") }
    },
};
const AUTH: Question = Question {
    flag: "--auth",
    variable: "LAKEKEY_INIT_AUTH",
    text: "how lakekey signs in to Databricks: `oauth-m2m` (a Databricks service principal) or `azure-client-secret` (an Entra app)",
    check: |text| match text {
        "oauth-m2m" | "azure-client-secret" => Ok(()),
        _ => Err("write `oauth-m2m` or `azure-client-secret`; other kinds can be written into the config afterwards"),
    },
};
const CLIENT_ID: Question = Question {
    flag: "--client-id",
    variable: "LAKEKEY_INIT_CLIENT_ID",
    text: "client id that lakekey signs in to Databricks with",
    check: anything,
};
const SECRET: Question = Question {
    flag: "--secret",
    variable: "LAKEKEY_INIT_SECRET",
    text: "where its secret is (`env:NAME` or `file:PATH`; not the secret itself)",
    check: reference,
};
const TENANT_ID: Question =
    Question { flag: "--tenant-id", variable: "LAKEKEY_INIT_TENANT_ID", text: "Entra tenant id", check: anything };
const POWERBI_CLIENT_ID: Question = Question {
    flag: "--powerbi-client-id",
    variable: "LAKEKEY_INIT_POWERBI_CLIENT_ID",
    text: "client id of the Entra app that signs in to Power BI (empty: no data sources yet)",
    check: anything,
};
const POWERBI_SECRET: Question = Question {
    flag: "--powerbi-secret",
    variable: "LAKEKEY_INIT_POWERBI_SECRET",
    text: "where its secret is (`env:NAME` or `file:PATH`; not the secret itself)",
    check: reference,
};
const SELECT: Question = Question {
    flag: "--select",
    variable: "LAKEKEY_INIT_SELECT",
    text: "data sources: `all` on this Databricks workspace, or WORKSPACE/DATASET of Power BI",
    check: |text| match text == "all" || text.split_once('/').is_some_and(|(one, other)| !one.is_empty() && !other.is_empty()) {
        true => Ok(()),
        false => Err("write `all`, or the names of a workspace and a dataset with `/` between"),
    },
};
const NAME: Question = Question {
    flag: "--name",
    variable: "LAKEKEY_INIT_NAME",
    text: "what the credential is called in the config",
    check: anything,
};

/// The config's own check says more.
fn anything(_: &str) -> Result<(), &'static str> {
    Ok(())
}

/// What was written is never repeated: it may be the secret.
fn reference(text: &str) -> Result<(), &'static str> {
    match Reference::parse(text, Path::new("/")) {
        Ok(_) => Ok(()),
        Err(ReferenceError::Inline | ReferenceError::Malformed(_)) => {
            Err("write where the secret is, such as `env:DBX_ADMIN_SECRET` or `file:/run/secrets/dbx`; never the secret itself")
        }
    }
}

/// Asks, and notes what could not be asked for.
struct Form<'a> {
    session: &'a Session,
    missing: Vec<&'static str>,
}

impl Form<'_> {
    async fn answer(&mut self, flag: &Option<String>, question: &Question, default: Option<&str>) -> Result<String, Error> {
        if let Some(given) = self.given(flag, question)? {
            return Ok(given);
        }
        match self.ask(question, default).await? {
            Some(answer) => Ok(answer),
            None => {
                if default.is_none() {
                    self.missing.push(question.flag);
                }
                Ok(default.unwrap_or_default().to_owned())
            }
        }
    }

    async fn optional(&self, flag: &Option<String>, question: &Question) -> Result<Option<String>, Error> {
        if let Some(given) = self.given(flag, question)? {
            return Ok(Some(given));
        }
        let Some(person) = &self.session.person else { return Ok(None) };
        loop {
            match person.ask(&self.session.printer, question.text, None).await? {
                None => return Ok(None),
                Some(answer) => match (question.check)(&answer) {
                    Ok(()) => return Ok(Some(answer)),
                    Err(form) => self.session.printer.say(&format!("  {form}\n")),
                },
            }
        }
    }

    /// From the command line or the environment.
    fn given(&self, flag: &Option<String>, question: &Question) -> Result<Option<String>, Error> {
        let given = flag.as_deref().or_else(|| self.session.environment.get(question.variable));
        let Some(given) = given.map(str::trim).filter(|given| !given.is_empty()) else { return Ok(None) };
        let wrong = |form: &str| {
            Error::usage("answer-refused", format!("{} is not what is needed there", question.flag)).hint(form.to_owned())
        };
        (question.check)(given).map_err(wrong)?;
        Ok(Some(given.to_owned()))
    }

    /// From a person, again until it will do; `None` where there is nobody.
    async fn ask(&self, question: &Question, default: Option<&str>) -> Result<Option<String>, Error> {
        let Some(person) = &self.session.person else { return Ok(None) };
        loop {
            let answer = person.ask(&self.session.printer, question.text, default).await?;
            let Some(answer) = answer.or_else(|| default.map(str::to_owned)) else {
                self.session.printer.say("  this one is needed\n");
                continue;
            };
            match (question.check)(&answer) {
                Ok(()) => return Ok(Some(answer)),
                Err(form) => self.session.printer.say(&format!("  {form}\n")),
            }
        }
    }
}

fn select(text: &str) -> Select {
    match text.split_once('/') {
        Some((workspace, dataset)) => Select::Dataset { workspace: workspace.to_owned(), dataset: dataset.to_owned() },
        None => Select::All,
    }
}

/// A name for the config from that of the principal.
fn name_from(principal: &str) -> String {
    let is_id = principal.len() == 36 && principal.matches('-').count() == 4;
    let mut name: String =
        principal.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    name.truncate(64);
    match name.trim_matches('-') {
        "" => "credential".to_owned(),
        _ if is_id => "credential".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_that_the_config_takes() {
        for (principal, name) in [
            ("pbi-sales", "pbi-sales"),
            ("PBI Sales (prod)", "pbi-sales--prod"),
            ("Köln", "k-ln"),
            ("§§", "credential"),
            ("2c8e0f3a-5d61-4b7e-9a0c-1f2e3d4c5b6a", "credential"),
        ] {
            assert_eq!(name_from(principal), name);
        }
    }

    #[test]
    fn a_secret_is_no_reference_and_is_not_repeated() {
        assert!(reference("env:X").is_ok() && reference("file:/run/x").is_ok() && reference("akv:vault/name").is_ok());
        let refusal = reference("dose0123456789abcdef").expect_err("refused");
        assert!(!refusal.contains("dose0123"));
    }
}
