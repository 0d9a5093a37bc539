//! `lakekey serve`: the HTTP API, the status page and the timer in one process on this machine.
//!
//! Three futures side by side, none spawned: the server, who works off what was accepted, and the timer. Asked to stop, the
//! server takes no more, and each run leaves after the step that it is at, giving its lease back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use lakekey_core::api::Api;
use lakekey_core::app::App;
use lakekey_core::clock::Clock;
use lakekey_core::error::{Error, ExitStatus};
use lakekey_core::stop::Stop;
use lakekey_core::timer::{Timetable, wait_until};
use lakekey_core::work::LocalQueue;
use serde::Serialize;
use tokio::net::TcpListener;
use tracing::{info, warn};

use super::Session;
use crate::args::{Format, ServeArgs};
use crate::failure::Failure;
use crate::settings;

#[derive(Serialize)]
struct Ready {
    address: String,
}

pub(crate) async fn serve(args: &ServeArgs, session: &mut Session) -> Result<ExitStatus, Failure> {
    let environment = &session.environment;
    let listen = args.listen.as_deref().or_else(|| environment.get(settings::LISTEN)).unwrap_or(LISTEN);
    let behind_tls = settings::switch(args.behind_tls, settings::BEHIND_TLS, environment)?;
    let schedule = args.schedule.as_deref().or_else(|| environment.get(settings::SCHEDULE)).unwrap_or(SCHEDULE);
    let (address, timetable) = (address(listen, behind_tls)?, Timetable::parse(schedule)?);
    let config = session.config().await?;
    let surroundings = session.surroundings(&config)?;
    let app = Arc::new(App::new(config, surroundings)?);
    let listener = TcpListener::bind(address).await.map_err(|error| unusable(address, error))?;
    let address = listener.local_addr().map_err(|error| unusable(address, error))?;
    ready(session, address)?;

    let (queue, worker) = LocalQueue::new(Arc::clone(&app));
    let router = Api::new(Arc::clone(&app), Arc::new(queue.clone())).router();
    let (switch, stop) = Stop::switch();
    let clock = &session.clock;
    let server = async {
        let asked = stop.clone();
        let server = axum::serve(listener, router).with_graceful_shutdown(async move { asked.asked().await });
        tokio::select! {
            ended = server.into_future() => ended,
            () = grace(&stop, clock) => Ok(()),
        }
    };
    let asked = async {
        (&mut session.stop).await;
        info!("asked to stop");
        switch.ask();
    };
    let (served, (), (), ()) =
        tokio::join!(server, worker.run(stop.clone()), tick(&timetable, &queue, &app, clock, &stop), asked);
    served.map_err(|error| unusable(address, error))?;
    Ok(ExitStatus::Done)
}

/// What a process before this one has left behind, then every tick.
async fn tick(timetable: &Timetable, queue: &LocalQueue, app: &App, clock: &Clock, stop: &Stop) {
    if let Err(error) = queue.resume(app).await {
        warn!(code = error.code(), "could not look for operations that were left behind: {error}");
    }
    loop {
        let Some(next) = timetable.after(clock.now()) else { return stop.asked().await };
        tokio::select! {
            () = wait_until(clock, next) => queue.tick(app).await,
            () = stop.asked() => return,
        }
    }
}

/// How long calls that are being answered may hold up the end.
async fn grace(stop: &Stop, clock: &Clock) {
    stop.asked().await;
    clock.sleep(GRACE).await;
}

fn ready(session: &mut Session, address: SocketAddr) -> Result<(), Error> {
    let address = format!("http://{address}");
    match session.settings.output {
        Format::Text => session.printer.text(&format!("listening on {address}\n")),
        Format::Json => session.printer.json(&Ready { address }),
    }
}

fn address(text: &str, behind_tls: bool) -> Result<SocketAddr, Error> {
    let address: SocketAddr = text.parse().map_err(|_| {
        Error::usage("bad-listen", format!("`{text}` is not an address and a port"))
            .hint("write it like `127.0.0.1:8740` or `[::1]:8740`")
    })?;
    if address.ip().is_loopback() || behind_tls {
        return Ok(address);
    }
    Err(Error::usage("listen-in-the-clear", format!("`{text}` is not loopback, and keys would travel in the clear"))
        .hint("put something that speaks TLS in front and say so with `--behind-tls`, or listen on 127.0.0.1"))
}

fn unusable(address: SocketAddr, error: std::io::Error) -> Error {
    Error::failed("address-unusable", format!("`{address}` can't be listened on"))
        .hint("another program may have the port: name another with `--listen`, or port 0 for a free one")
        .caused_by(error)
}

const LISTEN: &str = "127.0.0.1:8740";
const SCHEDULE: &str = "0 * * * *";
const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on_in_the_clear() {
        for (text, behind_tls, code) in [
            ("127.0.0.1:0", false, None),
            ("[::1]:80", false, None),
            ("0.0.0.0:80", true, None),
            ("0.0.0.0:80", false, Some("listen-in-the-clear")),
            ("[::]:80", false, Some("listen-in-the-clear")),
            ("10.0.0.1:80", false, Some("listen-in-the-clear")),
            ("localhost", false, Some("bad-listen")),
            ("localhost:80", true, Some("bad-listen")),
        ] {
            assert_eq!(address(text, behind_tls).err().map(|error| error.code().to_owned()).as_deref(), code, "{text}");
        }
    }
}
