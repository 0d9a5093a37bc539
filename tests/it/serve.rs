//! `lakekey serve`: the command line over real sockets, its timer in virtual time, and its end.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lakekey_cli::CliSurroundings;
use lakekey_core::clock::Clock;
use lakekey_core::http::transport::{Transport, TransportError};
use lakekey_core::random::Random;
use lakekey_sim::Fleet;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::fuse::has_effect;
use crate::support::{Bench, InProcess, hours};

const KEY: &str = "operator-key-0123456789abcdef";

/// Hands on each line of stdout.
struct Lines(mpsc::UnboundedSender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(String::from_utf8_lossy(bytes).into_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Tells when the write of this number has been answered.
struct Telling {
    inner: InProcess,
    effects: AtomicUsize,
    at: usize,
    tell: Arc<Notify>,
}

#[async_trait::async_trait]
impl Transport for Telling {
    async fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> Result<http::Response<Bytes>, TransportError> {
        let is_effect = has_effect(&request);
        let answer = self.inner.send(request, timeout).await;
        if is_effect && self.effects.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.tell.notify_one();
        }
        answer
    }
}

/// Runs `lakekey serve` until `stop`, beside `work`, which is given its address.
async fn serve<T>(
    bench: &Bench,
    transport: Arc<dyn Transport>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    work: impl AsyncFnOnce(String) -> T,
) -> (u8, T) {
    bench.write_config();
    let (sender, mut lines) = mpsc::unbounded_channel();
    let surroundings = CliSurroundings {
        environment: bench.environment.iter().cloned().collect(),
        current_dir: bench.folder.path().to_owned(),
        clock: bench.clock.clone(),
        random: Random::system(),
        transport: Some(transport),
        stdin: None,
        stdout: Box::new(Lines(sender)),
        stderr: Box::new(std::io::sink()),
        stdout_is_terminal: false,
        stderr_is_terminal: false,
        width: None,
        stop,
    };
    let arguments = ["lakekey", "serve", "--listen", "127.0.0.1:0", "--output", "json"].map(Into::into).to_vec();
    let work = async {
        let ready: Value = serde_json::from_str(&lines.recv().await.unwrap()).unwrap();
        work(ready["address"].as_str().unwrap().trim_start_matches("http://").to_owned()).await
    };
    let (status, done) = tokio::join!(lakekey_cli::run(arguments, surroundings), work);
    (status.code(), done)
}

async fn call(address: &str, line: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {address}\r\nx-lakekey-key: {KEY}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Reads an operation back to its end.
async fn ended(clock: &Clock, address: &str, id: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..10_000 {
        let (status, operation) = call(address, &format!("GET /api/operations/{id}"), "").await;
        assert_eq!(status, 200, "{operation}");
        if !operation["result"].is_null() || !operation["error"].is_null() {
            return operation;
        }
        last = operation;
        clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("the operation did not end: {last}");
}

fn with_key(bench: &mut Bench) {
    bench.config["api"] = json!({ "keys": { "operator": "env:OPERATOR" } });
    bench.environment.push(("OPERATOR".to_owned(), KEY.to_owned()));
}

fn last_event(bench: &Bench) -> String {
    let files = bench.files("state/journal");
    let mut entries = files.iter().filter(|(name, _)| !name.contains("operations-"));
    let entry: Value = serde_json::from_slice(&entries.next_back().unwrap().1).unwrap();
    entry["event"]["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_refresh_is_started_over_the_network_and_read_back_to_its_end() {
    let mut bench = Bench::new(&Fleet::new(3, 1));
    with_key(&mut bench);
    assert_eq!(bench.run(&["rotate"]).await.status, 0);
    let done = Arc::new(Notify::new());
    let asked = Arc::clone(&done);
    let transport = Arc::new(InProcess(bench.cloud.clone()));
    let (status, operation) = serve(&bench, transport, Box::pin(async move { asked.notified().await }), async |address| {
        assert_eq!(call(&address, "GET /api/health", "").await.0, 200);
        let body = json!({ "refresh": true, "reason": "a report was empty" }).to_string();
        let (status, accepted) = call(&address, "POST /api/credentials/sales-bi/reapply", &body).await;
        assert_eq!(status, 202, "{accepted}");
        let operation = ended(&bench.clock, &address, accepted["id"].as_str().unwrap()).await;
        done.notify_one();
        operation
    })
    .await;
    assert_eq!((status, &operation["state"]), (0, &json!("succeeded")), "{operation:#}");
    assert_eq!(operation["result"]["credentials"][0]["outcome"], "reapplied", "{operation:#}");
}

#[tokio::test]
async fn asked_to_stop_in_mid_rotation_it_gives_the_lease_back_and_the_next_one_ends_the_operation() {
    let mut bench = Bench::new(&Fleet::new(4, 2));
    with_key(&mut bench);
    // From before anything is minted to the middle of the targets.
    for at in [1, 3, 5] {
        let tell = Arc::new(Notify::new());
        let asked = Arc::clone(&tell);
        let inner = InProcess(bench.cloud.clone());
        let transport = Arc::new(Telling { inner, effects: AtomicUsize::new(0), at, tell });
        let stop = Box::pin(async move { asked.notified().await });
        let (status, id) = serve(&bench, transport, stop, async |address| {
            let force = json!({ "force": true }).to_string();
            let (status, accepted) = call(&address, "POST /api/credentials/sales-bi/rotate", &force).await;
            assert_eq!(status, 202, "{accepted}");
            accepted["id"].as_str().unwrap().to_owned()
        })
        .await;
        assert_eq!((status, last_event(&bench).as_str()), (0, "lease-released"), "stopped after write {at}");
        bench.assert_no_outage();

        let done = Arc::new(Notify::new());
        let asked = Arc::clone(&done);
        let transport = Arc::new(InProcess(bench.cloud.clone()));
        let stop = Box::pin(async move { asked.notified().await });
        let (status, operation) = serve(&bench, transport, stop, async |address| {
            let operation = ended(&bench.clock, &address, &id).await;
            done.notify_one();
            operation
        })
        .await;
        assert_eq!((status, &operation["state"]), (0, &json!("succeeded")), "stopped after write {at}: {operation:#}");
        bench.assert_all_hold(operation["result"]["credentials"][0]["secret_id"].as_str().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn the_timer_rotates_what_is_due_and_retires_what_is_past_grace() {
    let mut bench = Bench::new(&Fleet::new(2, 3));
    for (key, time) in [("rotate_every", "12h"), ("lifetime", "1d"), ("grace", "1h")] {
        bench.credential()[key] = json!(time);
    }
    let clock = bench.clock.clone();
    let transport = Arc::new(InProcess(bench.cloud.clone()));
    let most_of_a_day = Box::pin(async move { clock.sleep(hours(17)).await });
    let (status, ()) = serve(&bench, transport, most_of_a_day, async |_| {}).await;
    assert_eq!(status, 0);
    let (_, status) = bench.one(&["status"]).await;
    assert_eq!((&status["generation"], &status["phase"]), (&json!(2), &json!("idle")), "{status:#}");
    let roles: Vec<&Value> = status["secrets"].as_array().unwrap().iter().map(|secret| &secret["role"]).collect();
    assert!(roles.contains(&&json!("current")) && !roles.contains(&&json!("previous")), "{status:#}");
    bench.assert_all_hold(status["secret_id"].as_str().unwrap());
}

#[tokio::test]
async fn an_address_in_use_and_a_wrong_schedule_are_said_before_anything_is_served() {
    let bench = Bench::new(&Fleet::new(1, 4));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (arguments, status, code) in [
        (["serve", "--listen", &address], 1, "address-unusable"),
        (["serve", "--listen", "0.0.0.0:0"], 2, "listen-in-the-clear"),
        (["serve", "--schedule", "hourly"], 2, "bad-schedule"),
    ] {
        let (ended, failure) = bench.json(&arguments).await;
        assert_eq!((ended, &failure["error"]["code"]), (status, &json!(code)), "{arguments:?}");
    }
}
