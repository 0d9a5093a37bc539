//! `lakekey-sim`: serves a simulated cloud on loopback, prints one line of JSON when it is ready (the contract's `sim`),
//! and goes on until a kill, Ctrl-C, or, where its standard input is a pipe, the end of that: it dies with its parent.
//!
//! ```text
//! lakekey-sim [--targets N] [--seed S] [--latency MS] [--faults SPEC] [--folder PATH]
//! ```

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use lakekey_sim::{Fleet, Rule, Settings, serve, sim_line};
use tokio::sync::oneshot;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Options::read(env::args().skip(1)) {
        Ok(options) => run(options).await.map_err(|error| error.to_string()),
        Err(usage) => Err(usage),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Nothing is left to tell it to when stderr is closed too.
            writeln!(io::stderr(), "lakekey-sim: {why}").ok();
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> io::Result<()> {
    let settings = Settings {
        latency: options.latency,
        warehouse_start: Duration::from_secs(1),
        // Small pages show a client's paging at work; in a large fleet they would only be slow.
        page: (options.targets / 10).clamp(3, 100),
        ..Settings::default()
    };
    let served = serve(&Fleet::new(options.targets, options.seed), settings).await?;
    served.cloud.set_faults(options.faults);
    let folder = options.folder.unwrap_or_else(|| env::temp_dir().join(format!("lakekey-sim-{}", std::process::id())));
    fs::create_dir_all(&folder)?;
    writeln!(io::stdout(), "{}", sim_line(&served, &fs::canonicalize(folder)?)?)?;
    tokio::select! {
        _ = end_of_input() => {}
        stopped = tokio::signal::ctrl_c() => stopped?,
    }
    Ok(())
}

/// The end of a pipe at standard input; a terminal or `/dev/null` there never ends.
async fn end_of_input() -> io::Result<()> {
    let input = fs::File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kind = input.metadata()?.file_type();
    if !kind.is_fifo() && !kind.is_socket() {
        std::future::pending::<()>().await;
    }
    let (ended, end) = oneshot::channel();
    // A thread, since a read of standard input can't be given up.
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while (&input).read(&mut buffer).is_ok_and(|read| read > 0) {}
        ended.send(())
    });
    end.await.map_err(io::Error::other)
}

struct Options {
    targets: usize,
    seed: u64,
    latency: Duration,
    faults: Vec<Rule>,
    folder: Option<PathBuf>,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { targets: 5, seed: 1, latency: Duration::ZERO, faults: Vec::new(), folder: None };
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{flag}` needs a value"))?;
            let number = || value.parse::<u64>().map_err(|_| format!("`{value}` is no number for `{flag}`"));
            match flag.as_str() {
                "--targets" => options.targets = usize::try_from(number()?).map_err(|error| error.to_string())?,
                "--seed" => options.seed = number()?,
                "--latency" => options.latency = Duration::from_millis(number()?),
                "--faults" => options.faults = Rule::parse(&value)?,
                "--folder" => options.folder = Some(value.into()),
                _ => return Err(format!("`{flag}` is not known; try --targets, --seed, --latency, --faults, --folder")),
            }
        }
        Ok(options)
    }
}
