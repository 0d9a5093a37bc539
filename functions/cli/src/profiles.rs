//! `~/.databrickscfg`, as far as a workspace is named there by a profile: SDKs may call `auth token --profile NAME`.

use std::path::PathBuf;

use lakekey_core::config::env_vars::Environment;
use lakekey_core::error::Error;

/// The host of a profile.
pub(crate) fn host(profile: &str, environment: &Environment) -> Result<String, Error> {
    let path = environment.get(FILE).map(PathBuf::from).or_else(|| {
        let home = environment.get("HOME").or_else(|| environment.get("USERPROFILE"))?;
        Some(PathBuf::from(home).join(".databrickscfg"))
    });
    let unknown = |why: &str| {
        Error::usage("unknown-profile", format!("the profile `{profile}` gives no workspace: {why}"))
            .hint("say which workspace with `--host https://HOST`")
    };
    let path = path.ok_or_else(|| unknown("there is no home folder"))?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| unknown(&format!("`{}` can't be read", path.display())).caused_by(error))?;
    host_in(&text, profile).ok_or_else(|| unknown(&format!("`{}` names none for it", path.display())))
}

fn host_in(text: &str, profile: &str) -> Option<String> {
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "host"
        {
            return Some(value.trim().to_owned()).filter(|host| !host.is_empty());
        }
    }
    None
}

const FILE: &str = "DATABRICKS_CONFIG_FILE";
pub(crate) const PROFILE: &str = "DATABRICKS_CONFIG_PROFILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_that_of_the_profile_and_of_no_other() {
        let text = "[DEFAULT]\nhost = https://a\n; host = https://no\n[b]\nauth_type=x\nhost=https://b?o=1 \n[c]\ntoken = y\n";
        assert_eq!(host_in(text, "DEFAULT").as_deref(), Some("https://a"));
        assert_eq!(host_in(text, "b").as_deref(), Some("https://b?o=1"));
        assert_eq!(host_in(text, "c"), None);
        assert_eq!(host_in(text, "d"), None);
    }
}
