//! The shapes of messages. Texts come from services in part, so that none is put where a service reads markup.

use bytes::Bytes;
use serde_json::{Value, json};

use super::notice::Notice;
use crate::config::Format;

/// Targets named in a message for people.
const TARGETS_SHOWN: usize = 10;

/// Content type and body.
pub(super) fn body(format: Format, notice: &Notice) -> (&'static str, Bytes) {
    let (kind, body) = match format {
        Format::Teams => ("application/json", teams(notice)),
        Format::Slack => ("application/json", slack(notice)),
        Format::CloudEvents => ("application/cloudevents+json; charset=utf-8", cloud_event(notice)),
    };
    (kind, body.to_string().into())
}

/// An Adaptive Card in a message, as the trigger "When a Teams webhook request is received" takes it.
fn teams(notice: &Notice) -> Value {
    let block = |text: String| json!({ "type": "TextBlock", "text": escaped(&text), "wrap": true });
    let mut body = vec![
        json!({ "type": "TextBlock", "text": escaped(&notice.kind.title(&notice.credential)), "wrap": true, "weight": "Bolder", "size": "Medium" }),
        block(notice.text.clone()),
    ];
    body.extend(notice.hint.clone().map(block));
    let facts: Vec<Value> =
        facts(notice).into_iter().map(|(title, value)| json!({ "title": title, "value": escaped(&value) })).collect();
    if !facts.is_empty() {
        body.push(json!({ "type": "FactSet", "facts": facts }));
    }
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// Blocks of plain text; `text` is what notifications of the desktop show, and what is shown where blocks are not.
fn slack(notice: &Notice) -> Value {
    let title = notice.kind.title(&notice.credential);
    let mut lines = vec![notice.text.clone()];
    lines.extend(notice.hint.clone());
    lines.extend(facts(notice).into_iter().map(|(title, value)| format!("{title}: {value}")));
    let plain = |text: &str, most: usize| json!({ "type": "plain_text", "text": text.chars().take(most).collect::<String>() });
    json!({
        "text": entities(&format!("{title}: {}", notice.text)),
        "blocks": [
            { "type": "header", "text": plain(&title, 150) },
            { "type": "section", "text": plain(&lines.join("\n"), 3000) },
        ],
    })
}

fn cloud_event(notice: &Notice) -> Value {
    json!({
        "specversion": "1.0",
        "id": notice.id(),
        "source": format!("/lakekey/credentials/{}", notice.credential),
        "type": format!("lakekey.credential.{}", notice.kind.as_str()),
        "subject": notice.credential,
        "time": notice.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "datacontenttype": "application/json",
        "data": {
            "name": notice.credential,
            "message": notice.text,
            "hint": notice.hint,
            "code": notice.code,
            "generation": notice.generation,
            "secret_id": notice.secret_id,
            "expires_at": notice.expires_at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            "targets": notice.targets,
        },
    })
}

/// What people compare with other places.
fn facts(notice: &Notice) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    facts.extend(notice.generation.map(|generation| ("generation", generation.to_string())));
    facts.extend(notice.secret_id.as_ref().map(|id| ("secret id", id.to_string())));
    facts.extend(notice.expires_at.map(|at| ("expires", format!("{at:.0}"))));
    facts.extend(notice.code.clone().map(|code| ("code", code)));
    if !notice.targets.is_empty() {
        let mut shown: Vec<&str> = notice.targets.iter().take(TARGETS_SHOWN).map(|target| target.as_str()).collect();
        if notice.targets.len() > TARGETS_SHOWN {
            shown.push("…");
        }
        facts.push(("data sources", shown.join(", ")));
    }
    facts
}

/// Adaptive Cards read a part of Markdown: links and emphasis must not come from a dataset's name.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut safe, character| {
        if matches!(character, '[' | ']' | '(' | ')' | '*' | '_' | '\\') {
            safe.push('\\');
        }
        safe.push(character);
        safe
    })
}

/// Slack reads these three in `text`.
fn entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CredentialName, TargetId};
    use crate::notify::Kind;

    #[test]
    fn words_of_services_are_no_markup() {
        let notice = Notice {
            key: "failed-x-1".to_owned(),
            kind: Kind::Failed,
            credential: CredentialName::new("sales-bi"),
            at: "2026-03-01T00:00:00Z".parse().unwrap(),
            text: "<!channel> [click](https://evil.example) *now*".to_owned(),
            hint: None,
            code: None,
            generation: None,
            secret_id: None,
            expires_at: None,
            targets: (0..20).map(|number| TargetId::new(format!("powerbi:g/{number}"))).collect(),
        };
        let teams = teams(&notice);
        assert_eq!(
            teams["attachments"][0]["content"]["body"][1]["text"],
            r"<!channel> \[click\]\(https://evil.example\) \*now\*"
        );
        let slack = slack(&notice);
        assert!(slack["text"].as_str().unwrap().contains("&lt;!channel&gt;"));
        assert_eq!(slack["blocks"][1]["text"]["type"], "plain_text");
        assert!(slack["blocks"][1]["text"]["text"].as_str().unwrap().ends_with("powerbi:g/9, …"));
        assert_eq!(cloud_event(&notice)["data"]["targets"].as_array().unwrap().len(), 20);
    }
}
