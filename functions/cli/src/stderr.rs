//! Standard error, shared by messages, log lines and progress bars: whoever writes first takes the bars off the screen.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::MultiProgress;

/// Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Stderr(Arc<Mutex<Shared>>);

struct Shared {
    writer: Box<dyn Write + Send>,
    bars: Option<MultiProgress>,
}

impl Stderr {
    pub(crate) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Shared { writer, bars: None })))
    }

    /// From now on these bars are on the screen; `None` when they are gone.
    pub(crate) fn set_bars(&self, bars: Option<MultiProgress>) {
        self.lock().bars = bars;
    }

    /// Nothing that is said here is worth failing for: the answer goes to stdout and the exit status.
    pub(crate) fn say(&self, text: &str) {
        let _ = self.clone().write_all(text.as_bytes());
        let _ = self.clone().flush();
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.lock();
        match shared.bars.clone() {
            Some(bars) => bars.suspend(|| shared.writer.write(bytes)),
            None => shared.writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().writer.flush()
    }
}
