//! Signals that lakekey passes on to a command that it runs. What a terminal sends (Ctrl-C, Ctrl-\) reaches the command by
//! itself, since both belong to the terminal's foreground: it is passed on only where there is no such terminal.

#[cfg(unix)]
pub(crate) use unix::Signals;

#[cfg(unix)]
mod unix {
    use lakekey_core::error::Error;
    use rustix::process::{Pid, Signal, getpgrp, kill_process};
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    /// The signals that are passed on; while one exists, none of them ends lakekey.
    pub(crate) struct Signals {
        interrupt: Stream,
        quit: Stream,
        terminate: Stream,
        hang_up: Stream,
        user_1: Stream,
        user_2: Stream,
    }

    /// A signal that came.
    pub(crate) struct Caught(Signal);

    impl Signals {
        pub(crate) fn take() -> Result<Self, Error> {
            let stream = |kind| {
                signal(kind)
                    .map_err(|error| Error::failed("signals", "signals can't be listened for").hint("try again").caused_by(error))
            };
            Ok(Self {
                interrupt: stream(SignalKind::interrupt())?,
                quit: stream(SignalKind::quit())?,
                terminate: stream(SignalKind::terminate())?,
                hang_up: stream(SignalKind::hangup())?,
                user_1: stream(SignalKind::user_defined1())?,
                user_2: stream(SignalKind::user_defined2())?,
            })
        }

        /// The next signal that is to be passed on.
        pub(crate) async fn next(&mut self) -> Caught {
            loop {
                let (caught, from_terminal) = tokio::select! {
                    _ = self.interrupt.recv() => (Signal::INT, is_foreground()),
                    _ = self.quit.recv() => (Signal::QUIT, is_foreground()),
                    _ = self.terminate.recv() => (Signal::TERM, false),
                    _ = self.hang_up.recv() => (Signal::HUP, false),
                    _ = self.user_1.recv() => (Signal::USR1, false),
                    _ = self.user_2.recv() => (Signal::USR2, false),
                };
                if !from_terminal {
                    return Caught(caught);
                }
            }
        }
    }

    impl Caught {
        /// A process that has ended meanwhile needs no signal.
        pub(crate) fn pass_on(&self, to: Option<u32>) {
            let to = to.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            if let Some(to) = to {
                let _ = kill_process(to, self.0);
            }
        }
    }

    /// Whether a terminal sends this process its signals.
    fn is_foreground() -> bool {
        let terminal = std::fs::File::open("/dev/tty");
        terminal.is_ok_and(|terminal| rustix::termios::tcgetpgrp(&terminal).is_ok_and(|group| group == getpgrp()))
    }
}

/// Elsewhere consoles send what they send to every process that is attached to them.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
pub(crate) struct Caught;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn take() -> Result<Self, lakekey_core::error::Error> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Caught {
        let _ = tokio::signal::ctrl_c().await;
        Caught
    }
}

#[cfg(not(unix))]
impl Caught {
    pub(crate) fn pass_on(&self, _: Option<u32>) {}
}
