//! One file for each command, and what they share: reading the config, asking the app, printing the answer.

pub(crate) mod doctor;
pub(crate) mod forget;
pub(crate) mod history;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod reapply;
pub(crate) mod revoke;
pub(crate) mod rollback;
pub(crate) mod rotate;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod status;
pub(crate) mod validate;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use lakekey_core::app::{App, Surroundings};
use lakekey_core::clock::Clock;
use lakekey_core::command::Command;
use lakekey_core::config::env_vars::Environment;
use lakekey_core::config::{Config, ConfigSource};
use lakekey_core::error::ExitStatus;
use lakekey_core::http::transport::Transport;
use lakekey_core::ids::CredentialName;
use lakekey_core::random::Random;
use lakekey_core::rotation::next::next;
use lakekey_core::runner;
use lakekey_core::storage::{Places, load_config};

use crate::args::{Format, Names};
use crate::failure::Failure;
use crate::person::Person;
use crate::printer::Printer;
use crate::progress::{self, Display};
use crate::settings::Settings;
use crate::{names, transport};

/// What every command works with.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) environment: Environment,
    pub(crate) current_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    /// Whom to ask; `None` where there is nobody.
    pub(crate) person: Option<Person>,
    pub(crate) printer: Printer,
    /// Whether progress bars may be drawn.
    pub(crate) bars: bool,
    /// Ends when somebody asks to stop, for a command that ends by itself then; others are dropped where they are.
    pub(crate) stop: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Session {
    /// The config that the options name.
    pub(crate) async fn config(&self) -> Result<Config, Failure> {
        let source = self.settings.config.clone().map_or(ConfigSource::Environment, ConfigSource::Flag);
        if source.object(&self.environment).is_ok_and(|object| object.is_none()) {
            return Ok(Config::load(&source, &self.environment, &self.current_dir)?);
        }
        let transport = self.transport()?;
        Ok(load_config(&source, &self.environment, &self.current_dir, &transport, &self.clock).await?)
    }

    fn transport(&self) -> Result<Arc<dyn Transport>, Failure> {
        match &self.transport {
            Some(transport) => Ok(Arc::clone(transport)),
            None => Ok(transport::production(&self.environment)?),
        }
    }

    /// Reads the config, checks the names, asks the app, prints its answer. `command` is given the checked names.
    pub(crate) async fn ask(
        &mut self,
        given: &Names,
        command: impl FnOnce(Vec<CredentialName>) -> Command,
    ) -> Result<ExitStatus, Failure> {
        let config = self.config().await?;
        let known: Vec<CredentialName> = config.credentials.iter().map(|credential| credential.name.clone()).collect();
        let command = command(names::known(&given.names, &known)?);
        let surroundings = self.surroundings(&config)?;
        let app = App::new(config, surroundings)?;
        let outcome = progress::shown(self.display(), async |progress| Box::pin(app.run(command, progress)).await).await?;
        Ok(self.printer.outcome(&outcome, self.settings.output)?)
    }

    pub(crate) fn surroundings(&self, config: &Config) -> Result<Surroundings, Failure> {
        let transport = self.transport()?;
        let storage = Arc::new(Places::new(config, &self.environment, &transport, &self.clock)?);
        Ok(Surroundings {
            transport,
            storage,
            clock: self.clock.clone(),
            random: self.random.clone(),
            environment: self.environment.clone(),
            sign_ins: None,
            runner: runner::id(&self.environment, &self.random),
            decide: next,
        })
    }

    fn display(&self) -> Display {
        match (self.bars, self.settings.output) {
            (true, _) => Display::bars(self.printer.stderr.clone()),
            (false, Format::Text) => Display::Lines(self.printer.stderr.clone()),
            (false, Format::Json) => Display::Silent,
        }
    }
}
