//! Fits the tree to the schema: unknown, missing and mistyped keys, all in one pass. What does not fit is noted and left
//! out, so that the rest can still be checked; what remains always deserializes into the document's types. Messages name
//! keys and expectations, never the value found, for it may be a secret in the wrong place.

use serde_json::{Map, Value};

use super::problem::{Problems, nearest, shown};
use super::schema::{ROOT, Schema};
use super::tree::{Kind, Node};

/// The tree without what does not fit, and its value. Both have the same indexes; keys whose value does not fit are in the
/// tree only, as refused.
pub(super) type Fitted = (Node, Value);

/// Fits a document to the schema.
pub(super) fn fit(document: &Node, problems: &mut Problems) -> Option<Fitted> {
    Shape { problems }.fit("the config", document, &ROOT)
}

struct Shape<'a> {
    problems: &'a mut Problems,
}

impl Shape<'_> {
    fn fit(&mut self, name: &str, node: &Node, schema: &'static Schema) -> Option<Fitted> {
        let schema = resolved(schema);
        let names = schema.choices;
        if matches!(node.kind, Kind::Refused) {
            return None;
        }
        if matches!(node.kind, Kind::Nothing) {
            let hint = format!("give it a value ({}), or remove the line", self.expectation(schema));
            self.problems.add(node.label_at, "no-value", format!("{name} has no value"), hint);
            return None;
        }
        if !names.is_empty() {
            return self.fit_choice(name, node, names);
        }
        if !schema.branches.is_empty() {
            let Some(branch) = schema.branches.iter().find(|branch| self.accepts(node, branch)) else {
                return self.mistyped(name, node, schema);
            };
            return self.fit(name, node, branch);
        }
        match (&node.kind, schema.types.first().copied()) {
            (Kind::Map(_), Some("object")) => Some(self.fit_map(name, node, schema)),
            (Kind::List(items), Some("array")) => {
                let schema = schema.items?;
                let item_name = format!("an entry of {name}");
                let (nodes, values) = items.iter().filter_map(|item| self.fit(&item_name, item, schema)).unzip();
                Some((with_kind(node, Kind::List(nodes)), Value::Array(values)))
            }
            (Kind::Scalar { text, .. }, Some(_)) if self.accepts(node, schema) => self.fit_scalar(name, node, text, schema),
            _ => self.mistyped(name, node, schema),
        }
    }

    fn fit_map(&mut self, name: &str, node: &Node, schema: &'static Schema) -> Fitted {
        let known = &schema.properties;
        let (mut entries, mut value) = (Vec::new(), Map::new());
        for (key, child) in node.entries() {
            let Some(child_schema) = known.get(key).or(schema.others) else {
                let names: Vec<&str> = known.names().collect();
                let hint = match nearest(key, names.iter().copied()) {
                    _ if key == "<<" => "YAML 1.2 has no merge keys; use `defaults`, or an alias for a whole value".to_owned(),
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("known keys here are {}", listed(&names, "and")),
                };
                self.problems.add(child.label_at, "unknown-key", format!("{name} has no key {}", shown(key)), hint);
                continue;
            };
            match self.fit(&shown(key), child, child_schema) {
                Some((child, child_value)) => {
                    value.insert(key.to_owned(), child_value);
                    entries.push((key.to_owned(), child));
                }
                // The key stays, so that nobody reports it as missing.
                None => entries.push((key.to_owned(), with_kind(child, Kind::Refused))),
            }
        }
        for key in schema.required {
            if node.get(key).is_none() {
                let meaning = known.get(key).map(|schema| schema.description).unwrap_or_default();
                let meaning = meaning.trim_end_matches('.').replace('\n', " ");
                self.problems.add(
                    node.label_at,
                    "missing-key",
                    format!("{name} needs the key `{key}`"),
                    format!("add `{key}:` ({meaning})"),
                );
            }
        }
        (with_kind(node, Kind::Map(entries)), Value::Object(value))
    }

    fn fit_choice(&mut self, name: &str, node: &Node, names: &[&str]) -> Option<Fitted> {
        match node.text() {
            Some(text) if names.contains(&text) => Some((node.clone(), Value::String(text.to_owned()))),
            Some(text) => {
                let known = listed(names, "or");
                let hint = nearest(text, names.iter().copied())
                    .map_or_else(|| format!("write {known}"), |name| format!("did you mean `{name}`? Known are {known}"));
                self.problems.add(node.at, "unknown-value", format!("{name} can't be {}", shown(text)), hint);
                None
            }
            None => {
                self.problems.add(
                    node.at,
                    "wrong-type",
                    format!("{name} should be a word, not {}", found(node)),
                    format!("write {}", listed(names, "or")),
                );
                None
            }
        }
    }

    fn fit_scalar(&mut self, name: &str, node: &Node, text: &str, schema: &'static Schema) -> Option<Fitted> {
        // Text comes first: whatever looks like a number stays as it was written where text is expected.
        if schema.may_be("string") {
            return Some((node.clone(), Value::String(text.to_owned())));
        }
        if schema.may_be("boolean") {
            return Some((node.clone(), Value::Bool(text == "true")));
        }
        let (least, most) = (schema.minimum.unwrap_or(0), schema.maximum.unwrap_or(NUMBER_MAX));
        match text.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Some((node.clone(), Value::from(number))),
            _ => {
                self.problems.add(
                    node.at,
                    "out-of-range",
                    format!("{name} is out of range"),
                    format!("write a whole number from {least} to {most}"),
                );
                None
            }
        }
    }

    fn mistyped(&mut self, name: &str, node: &Node, schema: &'static Schema) -> Option<Fitted> {
        let expected = self.expectation(schema);
        let quoted = matches!(node.kind, Kind::Scalar { plain: false, .. });
        let hint = if quoted { format!("write {expected}, without quotes") } else { format!("write {expected}") };
        self.problems.add(node.at, "wrong-type", format!("{name} should be {expected}, not {}", found(node)), hint);
        None
    }

    /// Whether a value is of a kind that the schema means, whatever its details.
    fn accepts(&self, node: &Node, schema: &'static Schema) -> bool {
        let schema = resolved(schema);
        let names = schema.choices;
        match &node.kind {
            Kind::Nothing | Kind::Refused => false,
            Kind::List(_) => schema.may_be("array"),
            Kind::Map(_) => schema.may_be("object"),
            Kind::Scalar { text, plain } => {
                names.contains(&text.as_str())
                    || (names.is_empty() && schema.may_be("string"))
                    || (*plain && schema.may_be("boolean") && matches!(text.as_str(), "true" | "false"))
                    || (*plain && schema.may_be("integer") && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            }
        }
    }

    /// What the schema expects, in words.
    fn expectation(&self, schema: &'static Schema) -> String {
        let schema = resolved(schema);
        let names = schema.choices;
        if !names.is_empty() {
            return listed(names, "or");
        }
        if !schema.branches.is_empty() {
            return schema.branches.iter().map(|branch| self.expectation(branch)).collect::<Vec<_>>().join(" or ");
        }
        let word = match schema.types.first().copied() {
            Some("object") => "a map of keys and values",
            Some("array") => "a list",
            Some("boolean") => "`true` or `false`",
            Some("integer") => "a whole number",
            _ => "text",
        };
        word.to_owned()
    }
}

fn resolved(schema: &'static Schema) -> &'static Schema {
    schema.reference.and_then(|name| ROOT.definition(name)).unwrap_or(schema)
}

fn with_kind(node: &Node, kind: Kind) -> Node {
    Node { at: node.at, label_at: node.label_at, kind }
}

fn found(node: &Node) -> &'static str {
    match &node.kind {
        Kind::Nothing | Kind::Refused => "nothing",
        Kind::List(_) => "a list",
        Kind::Map(_) => "a map",
        Kind::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => "`true` or `false`",
        Kind::Scalar { text, plain: true } if text.bytes().all(|byte| byte.is_ascii_digit()) => "a number",
        Kind::Scalar { plain: true, .. } => "text",
        Kind::Scalar { plain: false, .. } => "quoted text",
    }
}

fn listed(names: &[&str], conjunction: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

/// Where the schema sets no bound; it is that of a `u32`.
const NUMBER_MAX: u64 = 0xffff_ffff;
