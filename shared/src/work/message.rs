//! A message as text: one JSON object, `{"v":1,"do":"drive","credential":NAME}` or
//! `{"v":1,"do":"slice","credential":NAME,"generation":N,"wave":N,"slice":N,"epoch":N}`. Fields that are not known are
//! passed over, for a newer version may add some; another `v` is refused.

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::ids::{CredentialName, Generation};

/// What is to be gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Message {
    /// Whatever a credential needs now: what was asked of the API, what is open, due or past grace.
    Drive {
        /// Which.
        credential: CredentialName,
    },
    /// One slice of a wave that was sent out.
    Slice(SliceName),
}

/// Which slice of which wave. The journal says which targets that are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SliceName {
    /// The credential.
    pub credential: CredentialName,
    /// What is sent.
    pub generation: Generation,
    /// The number of the journal's entry that began the wave.
    pub wave: u64,
    /// Counted from 0.
    pub slice: u32,
    /// The lease that it belongs to.
    pub epoch: u64,
}

#[derive(Serialize)]
struct Sent<'a> {
    v: u32,
    #[serde(flatten)]
    message: &'a Message,
}

#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

impl Message {
    /// Whose it is.
    pub fn credential(&self) -> &CredentialName {
        match self {
            Self::Drive { credential } => credential,
            Self::Slice(slice) => &slice.credential,
        }
    }

    /// As it is sent.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&Sent { v: VERSION, message: self }).expect("names and numbers are JSON")
    }

    /// The message in `text`. What cannot be read is not repeated: nobody knows what it holds.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.len() > BYTES_MAX {
            return Err(unreadable("it is too large"));
        }
        let Versioned { v } = serde_json::from_str(text).map_err(|_| unreadable("it has no version"))?;
        if v != VERSION {
            return Err(Problem::new(
                "message-version",
                format!("a message of the unknown version {v} was taken from the queue"),
            )
            .hint("run one version of lakekey on this queue; the schedule goes on with what the message was about"));
        }
        serde_json::from_str(text).map_err(|_| unreadable("it names no work"))
    }
}

fn unreadable(why: &str) -> Problem {
    Problem::new("message-unreadable", format!("a message from the queue is none of lakekey's: {why}"))
        .hint("let nobody else write to the work queue; the schedule goes on with whatever is open")
}

const VERSION: u32 = 1;
/// Many times the longest.
const BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn slice() -> Message {
        let credential = CredentialName::new("sales-bi");
        Message::Slice(SliceName { credential, generation: Generation(2), wave: 17, slice: 3, epoch: 5 })
    }

    #[test]
    fn a_message_is_read_as_it_was_sent() {
        let drive = Message::Drive { credential: CredentialName::new("sales-bi") };
        for (message, text) in [
            (drive, r#"{"v":1,"do":"drive","credential":"sales-bi"}"#),
            (slice(), r#"{"v":1,"do":"slice","credential":"sales-bi","generation":2,"wave":17,"slice":3,"epoch":5}"#),
        ] {
            assert_eq!(message.to_text(), text);
            assert_eq!(Message::parse(text), Ok(message));
        }
    }

    #[test]
    fn what_a_newer_version_adds_is_passed_over_and_a_newer_version_is_refused() {
        let newer = slice().to_text().replace('{', r#"{"shard":[{"a":1}],"#);
        assert_eq!(Message::parse(&newer), Ok(slice()));
        let other = slice().to_text().replace(r#""v":1"#, r#""v":2"#);
        assert_eq!(Message::parse(&other).unwrap_err().code, "message-version");
    }

    #[test]
    fn what_is_no_message_is_refused_without_being_repeated() {
        let long = format!(r#"{{"v":1,"do":"drive","credential":"{}"}}"#, "x".repeat(BYTES_MAX));
        for text in [
            "",
            "{}",
            "[1]",
            "null",
            "dose-secret",
            r#"{"v":"1","do":"drive","credential":"a"}"#,
            r#"{"v":-1}"#,
            r#"{"v":1}"#,
            r#"{"v":1,"do":"dose-secret","credential":"a"}"#,
            r#"{"v":1,"do":"slice","credential":"a","generation":2,"wave":-1,"slice":3,"epoch":5}"#,
            &long,
        ] {
            let problem = Message::parse(text).unwrap_err();
            assert_eq!(problem.code, "message-unreadable", "{text}");
            assert!(!problem.message.contains("dose-secret"), "{problem:?}");
        }
    }
}
