//! `lakekey revoke`: a new secret everywhere, and every older one deleted at once. Says whom that cuts off and asks first.

use std::fmt::Write;

use lakekey_core::app::{App, Revocation};
use lakekey_core::command::Command;
use lakekey_core::error::{Error, ExitStatus};

use super::Session;
use crate::args::RevokeArgs;
use crate::failure::Failure;
use crate::names;
use crate::text::printable;

pub(crate) async fn revoke(args: &RevokeArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    if !args.yes {
        ask(args, session).await?;
    }
    let foreign = args.foreign;
    session.ask(&args.names, |names| Command::Revoke { names, foreign }).await
}

async fn ask(args: &RevokeArgs, session: &Session) -> Result<(), Failure> {
    let Some(person) = session.person.clone() else {
        return Err(Error::usage(
            "confirmation-needed",
            "`revoke` deletes secrets that may be in use, and there is no terminal to ask on",
        )
        .hint("add `--yes`; `lakekey status NAME` shows which secrets there are")
        .into());
    };
    let config = session.config().await?;
    let known: Vec<_> = config.credentials.iter().map(|credential| credential.name.clone()).collect();
    let names = names::known(&args.names.names, &known)?;
    let surroundings = session.surroundings(&config)?;
    let app = App::new(config, surroundings)?;
    let revocations = Box::pin(app.revocations(&names, args.foreign)).await?;
    session.printer.say(&told(&revocations));
    if person.confirms(&session.printer, "Delete them", false).await? {
        return Ok(());
    }
    Err(Error::failed("declined", "nothing was changed")
        .hint("`lakekey rotate --force` replaces a secret without cutting anybody off")
        .into())
}

fn told(revocations: &[Revocation]) -> String {
    let mut text = String::new();
    for revocation in revocations {
        let Revocation { name, own, foreign, moved, cut_off } = revocation;
        let _ = writeln!(text, "{name}: a new secret is made and sent to {moved} targets; then these are deleted at once:");
        for id in own {
            let _ = writeln!(text, "  secret {}", printable(id.as_str()));
        }
        for id in foreign {
            let _ = writeln!(text, "  secret {} (foreign: whoever uses it is cut off)", printable(id.as_str()));
        }
        if own.is_empty() && foreign.is_empty() {
            let _ = writeln!(text, "  none");
        }
        if !cut_off.is_empty() {
            let _ = writeln!(text, "this cuts off, unless it takes the new secret:");
        }
        for (id, why) in cut_off {
            let _ = writeln!(text, "  {}: {why}", printable(id.as_str()));
        }
        let _ = writeln!(text, "and every program that does not read the store or a copy again");
    }
    text
}
