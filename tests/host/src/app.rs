//! An app's folder, judged as the host judges it: `host.json`, a folder with `function.json` for each function, and the
//! executable.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

/// An app that the host would load.
#[derive(Clone, Debug)]
pub struct App {
    /// The app's root.
    pub folder: PathBuf,
    /// The handler, absolute.
    pub executable: PathBuf,
    /// Where the handler is started.
    pub working_directory: PathBuf,
    /// Before the routes of HTTP functions.
    pub route_prefix: String,
    /// After which the host kills the handler and everything under way in it.
    pub timeout: Duration,
    /// Deliveries after which a message is put aside.
    pub dequeue_max: u64,
    /// Whether messages are base64.
    pub base64_messages: bool,
    /// By name.
    pub functions: Vec<Function>,
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name of its folder.
    pub name: String,
    /// What starts it.
    pub trigger: Trigger,
    /// The name of the trigger's binding.
    pub binding: String,
    /// The names of its outputs.
    pub outputs: Vec<String>,
}

/// What starts a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// By this schedule.
    Timer(String),
    /// By messages of this queue.
    Queue { name: String, connection: String },
    /// By events.
    EventGrid,
    /// By requests to this route below the prefix. Nothing but HTTP in and out, so it is proxied.
    Http { route: String, level: String, methods: Option<Vec<String>> },
}

#[derive(Deserialize)]
struct HostJson {
    version: String,
    #[serde(rename = "customHandler")]
    custom_handler: CustomHandler,
    #[serde(rename = "extensionBundle")]
    extension_bundle: Option<Bundle>,
    #[serde(rename = "functionTimeout", default)]
    function_timeout: Option<String>,
    #[serde(default)]
    extensions: Value,
}

#[derive(Deserialize)]
struct CustomHandler {
    description: Description,
    #[serde(rename = "enableForwardingHttpRequest", default)]
    forwarding: bool,
    #[serde(rename = "enableProxyingHttpRequest", default)]
    proxying: bool,
    port: Option<u16>,
}

#[derive(Deserialize)]
struct Description {
    #[serde(rename = "defaultExecutablePath")]
    executable: String,
    #[serde(rename = "workingDirectory", default)]
    working_directory: String,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Deserialize)]
struct Bundle {
    id: String,
    version: String,
}

#[derive(Deserialize)]
struct FunctionJson {
    bindings: Vec<Value>,
}

impl App {
    /// Reads and judges a folder.
    pub fn read(folder: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let folder = folder.canonicalize()?;
        let host: HostJson = parse(&folder.join("host.json"))?;
        ensure!(host.version == "2.0", "host.json is of version {}", host.version);
        ensure!(
            host.custom_handler.proxying && !host.custom_handler.forwarding,
            "HTTP is not proxied: bodies in chunks would be lost"
        );
        ensure!(host.custom_handler.port.is_none(), "a fixed port keeps two handlers from living side by side");
        ensure!(host.custom_handler.description.arguments.is_empty(), "this host knows no arguments");
        let working_directory = folder.join(&host.custom_handler.description.working_directory);
        let executable = working_directory.join(&host.custom_handler.description.executable);
        let mode =
            fs::metadata(&executable).with_context(|| format!("{} is not there", executable.display()))?.permissions().mode();
        ensure!(mode & 0o111 != 0, "{} is not executable", executable.display());
        let mut functions = Vec::new();
        let mut folders: Vec<PathBuf> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
        folders.sort();
        for path in folders.iter().map(|folder| folder.join("function.json")).filter(|path| path.is_file()) {
            functions.push(Function::read(&path, settings).with_context(|| path.display().to_string())?);
        }
        ensure!(!functions.is_empty(), "no function is found");
        let needs_bundle =
            functions.iter().any(|function| matches!(function.trigger, Trigger::Queue { .. } | Trigger::EventGrid));
        match &host.extension_bundle {
            Some(Bundle { id, version }) => {
                ensure!(
                    id == "Microsoft.Azure.Functions.ExtensionBundle" && version.starts_with("[4."),
                    "an unknown bundle: {id} {version}"
                );
            }
            None => ensure!(!needs_bundle, "without the bundle no queue or Event Grid trigger is loaded"),
        }
        let queues = &host.extensions["queues"];
        Ok(Self {
            folder,
            executable,
            working_directory,
            route_prefix: host.extensions["http"]["routePrefix"].as_str().unwrap_or("api").to_owned(),
            timeout: timeout(host.function_timeout.as_deref().unwrap_or("00:30:00"))?,
            dequeue_max: queues["maxDequeueCount"].as_u64().unwrap_or(5),
            base64_messages: queues["messageEncoding"].as_str().unwrap_or("base64") == "base64",
            functions,
        })
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

impl Function {
    fn read(path: &Path, settings: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let name = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).context("a folder without a name")?;
        let well_named = name.len() <= 128
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        ensure!(well_named && name != "host", "`{name}` can't be the name of a function");
        let FunctionJson { bindings } = parse(path)?;
        let text = |binding: &Value, key: &str| binding[key].as_str().map(str::to_owned);
        let (inputs, outputs): (Vec<_>, Vec<_>) = bindings.iter().partition(|binding| binding["direction"] == "in");
        ensure!(outputs.iter().all(|binding| binding["direction"] == "out"), "a binding without a direction");
        let [trigger] = inputs[..] else { anyhow::bail!("a function has exactly one trigger") };
        let required = |key: &str| text(trigger, key).with_context(|| format!("the trigger has no `{key}`"));
        let is_http = matches!(outputs[..], [out] if out["type"] == "http");
        let kind = match required("type")?.as_str() {
            "timerTrigger" => Trigger::Timer(schedule(&required("schedule")?, settings)?),
            "queueTrigger" => {
                let (name, connection) = (required("queueName")?, required("connection")?);
                let set = settings.keys().any(|key| *key == connection || key.starts_with(&format!("{connection}__")));
                ensure!(set, "no setting says where `{connection}` is");
                Trigger::Queue { name, connection }
            }
            "eventGridTrigger" => Trigger::EventGrid,
            "httpTrigger" => {
                ensure!(is_http, "with other outputs than `http` it would not be proxied");
                let methods = trigger["methods"]
                    .as_array()
                    .map(|methods| methods.iter().filter_map(Value::as_str).map(str::to_owned).collect());
                let route = text(trigger, "route").unwrap_or_else(|| name.to_owned());
                Trigger::Http { route, level: text(trigger, "authLevel").unwrap_or_else(|| "function".to_owned()), methods }
            }
            other => anyhow::bail!("the bundle has no `{other}`"),
        };
        Ok(Self {
            name: name.to_owned(),
            trigger: kind,
            binding: required("name")?,
            outputs: outputs.iter().filter_map(|binding| text(binding, "name")).collect(),
        })
    }
}

/// `%NAME%` is a setting, if it is the whole text; five fields, or six with seconds.
fn schedule(text: &str, settings: &BTreeMap<String, String>) -> anyhow::Result<String> {
    let text = match text.strip_prefix('%').and_then(|text| text.strip_suffix('%')) {
        Some(name) => settings.get(name).with_context(|| format!("the setting {name} is missing"))?,
        None => text,
    };
    let fields = text.split_whitespace().count();
    let known = text.chars().all(|c| c.is_ascii_alphanumeric() || " */,-".contains(c));
    ensure!(matches!(fields, 5 | 6) && known, "`{text}` is no schedule");
    Ok(text.to_owned())
}

/// `hh:mm:ss`.
fn timeout(text: &str) -> anyhow::Result<Duration> {
    let parts: Vec<u64> = text.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let [hours, minutes, seconds] = parts[..] else { anyhow::bail!("`{text}` is no time") };
    Ok(Duration::from_secs(hours * 3600 + minutes * 60 + seconds))
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not understood", path.display()))
}
