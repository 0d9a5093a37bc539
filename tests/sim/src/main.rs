//! `lakekey-sim`: serves a simulated cloud on loopback, prints one line of JSON when it is ready (the contract's `sim`),
//! and goes on until Ctrl-C or SIGTERM, or until the end of its standard input where that was asked for.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use lakekey_sim::{Fleet, Rule, Settings, serve, sim_line};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const HELP: &str = "\
Serves a simulated cloud (Databricks, Entra, Power BI, Fabric) on loopback until Ctrl-C or SIGTERM

Prints one line of JSON when it is ready: the addresses, the path of a lakekey config that fits, and the environment
variables that it needs. `GET {control}/truth` tells what is really so; tests/sim/src/control.rs has the other calls.

Usage: lakekey-sim [OPTIONS]

Options:
  --targets N          Data sources that hold the credential [default: 5]
  --seed S             The same seed makes the same customer [default: 1]
  --token-life SECONDS How long access tokens live [default: 3600]
  --latency MS         How long every answer takes, in milliseconds [default: 0]
  --faults SPEC        none, mild, hostile, or rules such as \"service=powerbi,method=PATCH,p=0.1,do=status:503\"
  --folder PATH        Where the config, the state and the store go [default: a folder for temporary files]
  --until-stdin-ends   Ends with standard input too, so that it dies with its parent
  -h, --help           Prints this
";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // `cargo sim -- --targets 5` arrives as `-- --targets 5`.
    let arguments = env::args().enumerate().skip(1).filter(|(at, argument)| *at != 1 || argument != "--");
    let done = match Options::read(arguments.map(|(_, argument)| argument)) {
        Ok(Some(options)) => run(options).await.map_err(|error| error.to_string()),
        Ok(None) => io::stdout().write_all(HELP.as_bytes()).map_err(|error| error.to_string()),
        Err(usage) => Err(format!("{usage}; `--help` lists the options")),
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
    let mut terminated = signal(SignalKind::terminate())?;
    let settings = Settings {
        latency: options.latency,
        token_life: options.token_life,
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
        ended = end_of_input(), if options.until_stdin_ends => ended,
        stopped = tokio::signal::ctrl_c() => stopped,
        _ = terminated.recv() => Ok(()),
    }
}

async fn end_of_input() -> io::Result<()> {
    let (ended, end) = oneshot::channel();
    // A thread, since a read of standard input can't be given up.
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while io::stdin().read(&mut buffer).is_ok_and(|read| read > 0) {}
        ended.send(())
    });
    end.await.map_err(io::Error::other)
}

struct Options {
    targets: usize,
    seed: u64,
    latency: Duration,
    token_life: Duration,
    faults: Vec<Rule>,
    folder: Option<PathBuf>,
    until_stdin_ends: bool,
}

impl Options {
    /// `None` where help was asked for.
    fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (faults, latency) = (Vec::new(), Duration::ZERO);
        let token_life = Settings::default().token_life;
        let mut options = Self { targets: 5, seed: 1, latency, token_life, faults, folder: None, until_stdin_ends: false };
        while let Some(flag) = words.next() {
            match flag.as_str() {
                "--help" | "-h" => return Ok(None),
                "--until-stdin-ends" => options.until_stdin_ends = true,
                "--targets" => options.targets = number(&flag, words.next())?,
                "--seed" => options.seed = number(&flag, words.next())?,
                "--latency" => options.latency = Duration::from_millis(number(&flag, words.next())?),
                "--token-life" => options.token_life = Duration::from_secs(number(&flag, words.next())?),
                "--faults" => options.faults = Rule::parse(&value(&flag, words.next())?)?,
                "--folder" => options.folder = Some(value(&flag, words.next())?.into()),
                _ => return Err(format!("`{flag}` is not known")),
            }
        }
        Ok(Some(options))
    }
}

fn value(flag: &str, word: Option<String>) -> Result<String, String> {
    word.ok_or_else(|| format!("`{flag}` needs a value"))
}

fn number<T: std::str::FromStr>(flag: &str, word: Option<String>) -> Result<T, String> {
    let word = value(flag, word)?;
    word.parse().map_err(|_| format!("`{word}` is no number for `{flag}`"))
}
