//! Where the config comes from.

use std::path::Path;

use super::SMALL;
use crate::config::env_vars::{CONFIG, Environment};
use crate::config::{Config, ConfigSource, StateLocation};

fn environment(config: &str) -> Environment {
    [(CONFIG.to_owned(), config.to_owned())].into_iter().collect()
}

fn code(source: &ConfigSource, environment: &Environment, dir: &Path) -> String {
    Config::load(source, environment, dir).unwrap_err()[0].code.clone()
}

#[test]
fn the_flag_goes_before_the_environment_and_that_before_the_default_file() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    for (path, state) in [("lakekey.yaml", "default"), ("sub/flag.yaml", "flag"), ("env.yaml", "env")] {
        std::fs::write(dir.path().join(path), SMALL.replace("file:.lakekey", &format!("file:{state}"))).unwrap();
    }
    let location =
        |source: &ConfigSource, environment: &Environment| Config::load(source, environment, dir.path()).unwrap().state.location;
    let flag = ConfigSource::Flag("sub/flag.yaml".to_owned());
    assert_eq!(location(&flag, &environment("env.yaml")), StateLocation::File(sub.join("flag")));
    assert_eq!(location(&ConfigSource::Environment, &environment("env.yaml")), StateLocation::File(dir.path().join("env")));
    assert_eq!(location(&ConfigSource::Environment, &Environment::default()), StateLocation::File(dir.path().join("default")));
    assert_eq!(location(&ConfigSource::Environment, &environment(SMALL)), StateLocation::File(dir.path().join(".lakekey")));
}

#[test]
fn what_cannot_be_read_is_one_problem_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let unset = Environment::default();
    let problem = Config::load(&ConfigSource::Environment, &unset, dir.path()).unwrap_err().remove(0);
    assert_eq!((problem.code.as_str(), problem.file.as_str(), problem.line), ("config-not-found", "lakekey.yaml", 1));
    assert!(problem.hint.unwrap().contains("lakekey schema"));

    let flag = |name: &str| ConfigSource::Flag(name.to_owned());
    assert_eq!(code(&flag("none.yaml"), &environment(SMALL), dir.path()), "config-not-found");
    assert_eq!(code(&flag("."), &unset, dir.path()), "config-unreadable");
    let object = |name: &str| flag(name).object(&unset);
    assert_eq!(object("s3://bucket/lakekey.yaml").unwrap().unwrap().path(), "lakekey.yaml");
    assert_eq!(object("lakekey.yaml").unwrap(), None);
    assert_eq!(object("az://account/container").unwrap_err().code, "config-not-found");
    std::fs::write(dir.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(code(&flag("binary"), &unset, dir.path()), "not-utf8");
    std::fs::write(dir.path().join("large"), "#".repeat(1024 * 1024 + 1)).unwrap();
    assert_eq!(code(&flag("large"), &unset, dir.path()), "config-too-large");
    std::fs::write(dir.path().join("empty"), "# nothing\n").unwrap();
    assert_eq!(code(&flag("empty"), &unset, dir.path()), "empty-document");
}

#[test]
fn the_digest_is_that_of_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let digest = |text: &str| Config::load(&ConfigSource::Environment, &environment(text), dir.path()).unwrap().digest;
    assert_ne!(digest(SMALL), digest(&format!("{SMALL}# a comment\n")));
    assert_eq!(digest(SMALL), digest(SMALL));
}
