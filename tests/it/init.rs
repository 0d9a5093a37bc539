//! `lakekey init`: a config from flags or from a person's answers, never over one that is there, never with a secret in it.

use std::io::{Read, Write};
use std::time::Duration;

use lakekey_sim::{DatasetTruth, Fleet, SourceTruth};
use serde_json::json;

use crate::support::Bench;
use crate::town::binary;

/// A customer without a config, but for the one that `Bench` writes beside.
fn bench() -> Bench {
    let mut bench = Bench::new(&Fleet { decoys: false, ..Fleet::small(1) });
    bench.environment.push(("DBX_ADMIN_SECRET".to_owned(), bench.cloud.cast().admin.client_secret.clone()));
    bench
}

/// A cloud source on the first workspace, and a dataset that uses it, which the identity owns.
fn source(bench: &Bench) -> (SourceTruth, DatasetTruth) {
    let host = bench.cloud.addresses().databricks[0].trim_start_matches("https://").to_owned();
    let found = bench.target(|source| source.connectivity == "PersonalCloud" && source.host == host);
    let dataset = bench.dataset_of(&found);
    bench.cloud.set_owner(&dataset.id, &bench.me());
    bench.cloud.share_source(&found.id, &bench.me());
    (found, dataset)
}

/// Flags for everything.
fn flags(bench: &Bench) -> Vec<String> {
    let cast = bench.cloud.cast();
    let (_, dataset) = source(bench);
    let group = bench.cloud.group_name(&dataset.group).unwrap();
    let pairs = [
        ("--workspace", format!("{}/?o=17", bench.cloud.addresses().databricks[0])),
        ("--service-principal", cast.principal.display_name.clone()),
        ("--warehouse", cast.warehouses[0][0].clone()),
        ("--client-id", cast.admin.client_id.clone()),
        ("--secret", "env:ADMIN_SECRET".to_owned()),
        ("--tenant-id", cast.tenant.clone()),
        ("--powerbi-client-id", cast.powerbi.client_id.clone()),
        ("--powerbi-secret", "env:POWERBI_SECRET".to_owned()),
        ("--select", format!("{group}/{}", dataset.name)),
    ];
    let pairs = pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    ["init", "--config", "new.yaml"].map(str::to_owned).into_iter().chain(pairs).collect()
}

fn words(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

fn written(bench: &Bench) -> Option<String> {
    std::fs::read_to_string(bench.folder.path().join("new.yaml")).ok()
}

#[tokio::test(start_paused = true)]
async fn a_config_from_flags_is_valid_passes_doctor_and_rotates() {
    let bench = bench();
    let before = bench.mark();

    let (status, answer) = bench.json(&words(&flags(&bench))).await;
    assert_eq!((status, &answer["next"], &answer["unset"]), (0, &json!("lakekey doctor"), &json!([])), "{answer:#}");
    assert_eq!(bench.requests_since(&before).len(), 0, "init asks no service");

    let text = written(&bench).unwrap();
    assert!(text.lines().filter(|line| line.contains('#')).count() > 10, "it is commented: {text}");
    let cast = bench.cloud.cast();
    assert!(!text.contains(&cast.admin.client_secret) && !text.contains(&cast.powerbi.client_secret));
    let (status, valid) = bench.json(&["validate", "--config", "new.yaml"]).await;
    assert_eq!((status, &valid["credentials"]), (0, &json!(["pbi-sales"])), "{valid:#}");
    let (status, checks) = bench.json(&["doctor", "--config", "new.yaml"]).await;
    assert_eq!(status, 0, "{checks:#}");
    let (status, done) = bench.one(&["rotate", "--config", "new.yaml"]).await;
    assert_eq!((status, &done["outcome"]), (0, &json!("rotated")), "{done:#}");
    assert_eq!(source(&bench).0.secret_id.as_deref(), done["secret_id"].as_str());
}

#[tokio::test(start_paused = true)]
async fn the_least_that_is_needed_makes_a_valid_config_and_an_entra_app_may_sign_in() {
    let bench = bench();
    for (name, more) in [("least.yaml", None), ("entra.yaml", Some("azure-client-secret"))] {
        let mut line = vec!["init", "--config", name, "--workspace", "adb-1.1.azuredatabricks.net"];
        line.extend(["--service-principal", "2c8e0f3a-5d61-4b7e-9a0c-1f2e3d4c5b6a", "--client-id", "x"]);
        line.extend(more.iter().flat_map(|kind| ["--auth", kind]));
        let (status, answer) = bench.json(&line).await;
        assert_eq!((status, &answer["unset"]), (0, &json!([])), "{answer:#}");
        let (status, valid) = bench.json(&["validate", "--config", name]).await;
        assert_eq!((status, &valid["credentials"]), (0, &json!(["credential"])), "{valid:#}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_config_that_is_there_is_written_over_only_when_that_is_said() {
    let mut bench = bench();
    std::fs::write(bench.folder.path().join("new.yaml"), "mine").unwrap();
    let mut line = flags(&bench);

    let (status, failure) = bench.json(&words(&line)).await;
    assert_eq!((status, failure["error"]["code"].as_str()), (2, Some("config-exists")), "{failure:#}");
    assert_eq!(written(&bench).as_deref(), Some("mine"));

    bench.answers = Some("\n".to_owned());
    let refused = bench.run(&words(&line)).await;
    assert_eq!((refused.status, written(&bench).as_deref()), (2, Some("mine")), "an empty answer is no: {refused:?}");

    bench.answers = None;
    line.push("--force".to_owned());
    let (status, _) = bench.json(&words(&line)).await;
    assert_eq!(status, 0);
    assert!(written(&bench).unwrap().contains("version: 1"));
}

#[tokio::test(start_paused = true)]
async fn without_a_terminal_everything_that_is_missing_is_told_at_once() {
    let bench = bench();

    let (status, failure) = bench.json(&["init", "--config", "new.yaml", "--powerbi-client-id", "x"]).await;

    let message = failure["error"]["message"].as_str().unwrap();
    assert_eq!((status, failure["error"]["code"].as_str()), (2, Some("answers-missing")), "{failure:#}");
    for flag in ["--workspace", "--service-principal", "--client-id", "--tenant-id"] {
        assert!(message.contains(flag), "{message}");
    }
    assert_eq!(written(&bench), None);
}

#[tokio::test(start_paused = true)]
async fn answers_may_stand_in_the_environment() {
    let mut bench = bench();
    for (name, value) in [("WORKSPACE", "https://adb-1.1.azuredatabricks.net"), ("SERVICE_PRINCIPAL", "pbi"), ("CLIENT_ID", "x")]
    {
        bench.environment.push((format!("LAKEKEY_INIT_{name}"), value.to_owned()));
    }

    let (status, answer) = bench.json(&["init", "--config", "new.yaml", "--name", "mine"]).await;

    assert_eq!(status, 0, "{answer:#}");
    assert!(written(&bench).unwrap().contains("\n  mine:\n"));
}

#[tokio::test(start_paused = true)]
async fn a_secret_in_place_of_a_reference_is_refused_and_not_repeated() {
    let mut bench = bench();
    let secret = bench.cloud.cast().admin.client_secret.clone();
    let mut line = flags(&bench);
    let at = line.iter().position(|word| word == "--secret").unwrap();
    line[at + 1].clone_from(&secret);

    let (status, failure) = bench.json(&words(&line)).await;
    assert_eq!((status, failure["error"]["code"].as_str()), (2, Some("answer-refused")), "{failure:#}");
    assert!(!failure.to_string().contains(&secret) && failure["error"]["hint"].as_str().unwrap().contains("env:"));

    // A person is asked again.
    line.drain(at..at + 2);
    bench.answers = Some(format!("oauth-m2m\n{secret}\nenv:DBX_ADMIN_SECRET\n\nn\n"));
    let ran = bench.run(&words(&line)).await;
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains(&secret) && !written(&bench).unwrap().contains(&secret));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_config_would_refuse_writes_nothing() {
    let bench = bench();
    for (flag, value, word) in
        [("--workspace", "https://evil.example", "evil.example"), ("--name", "no name", "no name"), ("--auth", "magic", "--auth")]
    {
        let mut line = flags(&bench);
        line.extend([flag.to_owned(), value.to_owned()]);
        // Clap takes a flag once.
        if let Some(at) = line.iter().position(|word| word == flag).filter(|at| *at + 2 < line.len()) {
            line.drain(at..at + 2);
        }

        let (status, failure) = bench.json(&words(&line)).await;

        assert_eq!((status, failure["error"]["code"].as_str()), (2, Some("answer-refused")), "{failure:#}");
        assert!(failure.to_string().contains(word), "{failure:#}");
        assert_eq!(written(&bench), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_for_what_no_flag_gives_and_may_look_at_once() {
    let mut bench = bench();
    let cast = bench.cloud.cast().clone();
    let (_, dataset) = source(&bench);
    let group = bench.cloud.group_name(&dataset.group).unwrap();
    let answers = [
        "not a host/ at all",
        &bench.cloud.addresses().databricks[0],
        "",
        &cast.principal.display_name,
        &cast.warehouses[0][0],
        "", // oauth-m2m
        &cast.admin.client_id,
        "", // env:DBX_ADMIN_SECRET
        &cast.powerbi.client_id,
        &cast.tenant,
        "", // env:POWERBI_SECRET
        &format!("{group}/{}", dataset.name),
        "sales",
        "", // look now
    ];
    bench.answers = Some(answers.map(|answer| format!("{answer}\n")).concat());

    let ran = bench.run(&["init", "--config", "new.yaml"]).await;

    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stderr.contains("write `https://HOST`") && ran.stderr.contains("this one is needed"), "{}", ran.stderr);
    assert!(ran.stdout.contains("new.yaml") && ran.stdout.ends_with("checks passed\n"), "{}", ran.stdout);
    assert!(written(&bench).unwrap().contains("\n  sales:\n"));
    bench.assert_discreet(&ran);
}

#[tokio::test(start_paused = true)]
async fn variables_that_are_not_set_are_told_and_nothing_is_looked_at() {
    let mut bench = bench();
    bench.environment.retain(|(name, _)| name != "POWERBI_SECRET");
    bench.answers = Some("oauth-m2m\n\n".to_owned());

    let ran = bench.run(&words(&flags(&bench))).await;

    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.stdout.contains("set these in the environment: POWERBI_SECRET"), "{}", ran.stdout);
    assert_eq!(bench.cloud.requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_that_end_too_early_write_nothing() {
    let mut bench = bench();
    bench.answers = Some("adb-1.1.azuredatabricks.net\npbi".to_owned());

    let ran = bench.run(&["init", "--config", "new.yaml"]).await;

    assert_eq!((ran.status, written(&bench)), (2, None), "{ran:?}");
}

/// A terminal: the side that a person sits at, and the one that a program has.
fn terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
    let program = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    (person.into(), program)
}

#[tokio::test]
async fn a_real_terminal_is_asked_and_its_answers_make_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let (mut person, program) = terminal();
    let end = || program.try_clone().unwrap();
    let mut child = tokio::process::Command::new(binary())
        .arg("init")
        .current_dir(folder.path())
        .env_clear()
        .env("TERM", "dumb")
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    drop(program);
    // Typed ahead: the terminal keeps the lines until they are asked for.
    let answers = ["adb-1.1.azuredatabricks.net", "pbi-sales", "", "", "2c8e0f3a", "", "", ""];
    person.write_all(answers.map(|answer| format!("{answer}\n")).concat().as_bytes()).unwrap();

    let status = tokio::time::timeout(Duration::from_secs(60), child.wait()).await.unwrap().unwrap();

    // Reading ends in an error once the program's side is closed.
    let mut screen = Vec::new();
    let _ = person.read_to_end(&mut screen);
    let screen = String::from_utf8_lossy(&screen);
    assert_eq!(status.code(), Some(0), "{screen}");
    assert!(
        screen.contains("Databricks workspace") && screen.contains("set these in the environment: DBX_ADMIN_SECRET"),
        "{screen}"
    );
    let config = std::fs::read_to_string(folder.path().join("lakekey.yaml")).unwrap();
    assert!(config.contains("service_principal: \"pbi-sales\""), "{config}");
}
