//! Work by real time, for tests whose own time stands still: tokio does not advance a paused clock while a blocking thread is at
//! work.

use std::sync::OnceLock;

use tokio::runtime::Runtime;

/// Does something at the parts by real time.
pub async fn in_real_time<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    tokio::task::spawn_blocking(|| runtime().block_on(work)).await.expect("the work at the part has not panicked")
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread can be had")
    })
}
