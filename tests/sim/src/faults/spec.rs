//! The short form of fault rules, for command lines:
//!
//! ```text
//! SPEC   = PRESET | JSON | RULE *( ";" RULE )
//! PRESET = "none" | "mild" | "hostile"
//! JSON   = a list of rules as `Rule` has them
//! RULE   = KEY "=" VALUE *( "," KEY "=" VALUE )
//!          service=powerbi  method=PATCH  path=/datasources  nth=2  p=0.1  times=3  do=ACTION
//! ACTION = "latency:" MS | "status:" CODE [ ":" RETRY-AFTER ] | "status-after:" CODE | "refuse" | "drop-before"
//!        | "drop-after" | "hang" | "hang-after" | "html" | "redirect:" URL | "truncate" | "duplicate" | "late:" MS
//! ```

use super::{Action, Rule};

pub(super) fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let text = text.trim();
    match text {
        "" | "none" => Ok(Vec::new()),
        "mild" => rules(MILD),
        "hostile" => rules(HOSTILE),
        json if json.starts_with('[') => {
            serde_json::from_str(json).map_err(|error| format!("the fault rules are not valid: {error}"))
        }
        _ => rules(text),
    }
}

fn rules(text: &str) -> Result<Vec<Rule>, String> {
    text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(rule).collect()
}

fn rule(text: &str) -> Result<Rule, String> {
    let mut rule = Rule::always(Action::Html);
    let mut acts = false;
    for field in text.split(',').map(str::trim) {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("`{field}` is not KEY=VALUE"))?;
        let bad = || format!("`{value}` is not a value for `{key}`");
        match key {
            "service" => rule.service = Some(value.to_owned()),
            "method" => rule.method = Some(value.to_owned()),
            "path" => rule.path = Some(value.to_owned()),
            "nth" => rule.nth = Some(value.parse().map_err(|_| bad())?),
            "p" => rule.probability = Some(value.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(bad)?),
            "times" => rule.times = Some(value.parse().map_err(|_| bad())?),
            "do" => {
                rule.action = action(value).ok_or_else(bad)?;
                acts = true;
            }
            _ => return Err(format!("`{key}` is not a key of a fault rule")),
        }
    }
    if acts { Ok(rule) } else { Err(format!("the rule `{text}` has no `do=`")) }
}

fn action(text: &str) -> Option<Action> {
    let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
    let ms = || rest?.parse().ok();
    Some(match (name, rest) {
        ("latency", _) => Action::Latency { ms: ms()? },
        ("late", _) => Action::Late { ms: ms()? },
        ("status" | "status-after", Some(rest)) => {
            let (status, retry_after) =
                rest.split_once(':').map_or((rest, None), |(status, wait)| (status, Some(wait.to_owned())));
            Action::Status { status: status.parse().ok()?, retry_after, body: None, after_effect: name == "status-after" }
        }
        ("refuse", None) => Action::Refuse,
        ("drop-before", None) => Action::DropBefore,
        ("drop-after", None) => Action::DropAfter,
        ("hang", None) => Action::Hang { after_effect: false },
        ("hang-after", None) => Action::Hang { after_effect: true },
        ("html", None) => Action::Html,
        ("redirect", Some(location)) => Action::Redirect { location: location.to_owned() },
        ("truncate", None) => Action::Truncate,
        ("duplicate", None) => Action::Duplicate,
        _ => return None,
    })
}

const MILD: &str = "p=0.02,do=status:429:1; p=0.02,do=status:503; p=0.01,do=refuse; p=0.05,do=latency:300";
const HOSTILE: &str = "p=0.04,do=status:429:2; p=0.03,do=status:503; p=0.02,do=status-after:502; p=0.03,do=drop-after; \
    p=0.03,do=drop-before; p=0.02,do=refuse; p=0.01,do=html; p=0.01,do=truncate; method=POST,p=0.02,do=duplicate; \
    method=PATCH,p=0.02,do=late:5000; p=0.05,do=latency:800";
