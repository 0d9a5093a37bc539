//! Asking a run to leave: what is under way ends, the lease is given back, and the journal has the rest. A run that nobody
//! can ask goes on until it is done or dropped.

use tokio::sync::watch;

/// What a run looks at before each step.
#[derive(Clone, Debug)]
pub struct Stop(Option<watch::Receiver<bool>>);

/// Asks.
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<bool>);

impl Stop {
    /// Nobody asks.
    pub fn never() -> Self {
        Self(None)
    }

    /// A pair: whoever holds the switch may ask.
    pub fn switch() -> (StopSwitch, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopSwitch(sender), Self(Some(receiver)))
    }

    /// Whether somebody has asked.
    pub fn is_asked(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Ends when somebody asks.
    pub async fn asked(&self) {
        if let Some(mut receiver) = self.0.clone()
            && receiver.wait_for(|asked| *asked).await.is_ok()
        {
            return;
        }
        // A switch that is gone without having been used can't be used any more.
        std::future::pending().await
    }
}

impl StopSwitch {
    /// Asks; for good.
    pub fn ask(&self) {
        self.0.send_replace(true);
    }
}
