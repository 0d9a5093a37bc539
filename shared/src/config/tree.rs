//! The document as a tree in which every value and key knows its place. It is read from the parser's events, not through
//! serde, which would stop at the first error and quote the source in its message. Scalars stay text: what they mean is
//! decided by the type that is expected of them, so that a warehouse id `12345678e90` is no number.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, options};

use super::problem::{Position, Problems, shown};

/// Nodes in a document after its aliases are expanded; a config of a thousand credentials has some forty thousand.
const NODES_MAX: usize = 200_000;

/// So many bytes of text in an expanded alias count as a node.
const BYTES_PER_NODE: usize = 16;

/// Nesting as written; the deepest config has eight levels.
const DEPTH_MAX: usize = 32;

/// One value of the document. Not `Debug`, since it may hold a secret written in the wrong place.
#[derive(Clone)]
pub(super) struct Node {
    /// Where the value begins.
    pub(super) at: Position,
    /// Where its key stands; the value itself in a list or at the root.
    pub(super) label_at: Position,
    pub(super) kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// A key without a value, or `null`.
    Nothing,
    /// A value that has been reported as wrong already.
    Refused,
    /// Text as the document means it; `plain` if it is written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    fn new(at: Position, kind: Kind) -> Self {
        Self { at, label_at: at, kind }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The entries of a map; none if this is something else.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let entries: &[(String, Self)] = if let Kind::Map(entries) = &self.kind { entries } else { &[] };
        entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The items of a list; none if this is something else.
    pub(super) fn items(&self) -> &[Self] {
        if let Kind::List(items) = &self.kind { items } else { &[] }
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        if let Kind::Scalar { text, .. } = &self.kind { Some(text) } else { None }
    }

    /// What a copy of this costs, in nodes.
    fn weight(&self) -> usize {
        1 + match &self.kind {
            Kind::Nothing | Kind::Refused => 0,
            Kind::Scalar { text, .. } => text.len() / BYTES_PER_NODE,
            Kind::List(items) => items.iter().map(Self::weight).sum(),
            Kind::Map(entries) => entries.iter().map(|(key, value)| key.len() / BYTES_PER_NODE + value.weight()).sum(),
        }
    }
}

/// A place in the tree, for problems: a value, or where a value that is left out would belong.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    node: &'a Node,
    absent: bool,
}

impl<'a> Place<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self { node, absent: false }
    }

    /// The value of a key, else the place where the key is missing.
    pub(super) fn key(self, key: &str) -> Self {
        self.child(self.node.get(key))
    }

    /// An item of a list.
    pub(super) fn item(self, index: usize) -> Self {
        self.child(self.node.items().get(index))
    }

    /// Whether the key is there, even with a value that did not fit.
    pub(super) fn has(self, key: &str) -> bool {
        !self.absent && self.node.get(key).is_some()
    }

    /// The keys of a map, in the order of the document.
    pub(super) fn keys(self) -> impl Iterator<Item = &'a str> {
        self.node.entries().map(|(key, _)| key).filter(move |_| !self.absent)
    }

    /// Where the value is, or the key that lacks it.
    pub(super) fn at(self) -> Position {
        if self.absent { self.node.label_at } else { self.node.at }
    }

    /// Where the key of the value is.
    pub(super) fn label_at(self) -> Position {
        self.node.label_at
    }

    fn child(self, child: Option<&'a Node>) -> Self {
        match child {
            Some(node) if !self.absent => Self { node, absent: false },
            _ => Self { node: self.node, absent: true },
        }
    }
}

/// Reads a document. `None` if there is nothing to go on with; problems found on the way are noted either way.
pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let options: Options = options! { emit_comments: false, emit_unresolved_aliases: true, disallow_directives: true };
    let mut builder = Builder { frames: Vec::new(), anchors: HashMap::new(), root: None, nodes: 0, documents: 0, problems };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.take(event, position(&span)),
            Err(error) => {
                let at = position_of(error.marker().line(), error.marker().col());
                // The parser's kinds name punctuation, never content.
                let what = error.kind().to_string();
                Err(Stop {
                    at,
                    code: "yaml-syntax",
                    message: format!("the document is not valid YAML: {what}"),
                    hint: "check indentation, quotes and brackets here and in the line above",
                })
            }
        };
        if let Err(Stop { at, code, message, hint }) = step {
            builder.problems.add(at, code, message, hint);
            return None;
        }
    }
    let Builder { root, problems, .. } = builder;
    if root.is_none() {
        problems.add(
            Position::START,
            "empty-document",
            "the config is empty",
            "`lakekey init` writes one, `lakekey schema` describes it",
        );
    }
    root
}

/// A problem after which the rest of the document can't be read.
struct Stop {
    at: Position,
    code: &'static str,
    message: String,
    hint: &'static str,
}

/// A collection whose end has not been reached.
struct Frame {
    node: Node,
    anchor: usize,
    /// In a map, the key whose value comes next; `Some(None)` for a key that was refused.
    key: Option<(Option<String>, Position)>,
    /// In a map, the line of each key so far.
    lines: HashMap<String, u32>,
}

struct Builder<'a> {
    frames: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
    problems: &'a mut Problems,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Stop {
                        at,
                        code: "yaml-unsupported",
                        message: "the file holds more than one document".to_owned(),
                        hint: "keep one document to a file; remove the `---`",
                    });
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), at);
                let plain = style == ScalarStyle::Plain;
                let nothing = plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let kind = if nothing { Kind::Nothing } else { Kind::Scalar { text: text.into_owned(), plain } };
                self.finish(Node::new(at, kind), anchor)?;
            }
            Event::SequenceStart(_, anchor, tag) => self.open(Kind::List(Vec::new()), anchor, tag.is_some(), at)?,
            Event::MappingStart(_, anchor, tag) => self.open(Kind::Map(Vec::new()), anchor, tag.is_some(), at)?,
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(frame) = self.frames.pop() {
                    self.finish(frame.node, frame.anchor)?;
                }
            }
            Event::Alias(id) => match self.anchors.get(&id).map(Node::weight) {
                Some(weight) => {
                    self.count(weight, at)?;
                    let node = self.anchors.get(&id).map_or(Kind::Nothing, |node| node.kind.clone());
                    self.finish(Node::new(at, node), 0)?;
                }
                None => self.refuse_alias(at)?,
            },
            Event::UnresolvedAlias(_) => self.refuse_alias(at)?,
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) | Event::Comment(..) | _ => {}
        }
        Ok(())
    }

    fn open(&mut self, kind: Kind, anchor: usize, tagged: bool, at: Position) -> Result<(), Stop> {
        self.refuse_tag(tagged, at);
        if self.frames.len() >= DEPTH_MAX {
            return Err(Stop {
                at,
                code: "yaml-too-complex",
                message: format!("values are nested more than {DEPTH_MAX} deep"),
                hint: "a config needs eight levels; check the indentation",
            });
        }
        self.frames.push(Frame { node: Node::new(at, kind), anchor, key: None, lines: HashMap::new() });
        Ok(())
    }

    /// Puts a complete node where it belongs: a key or value of the innermost map, an item of the list, or the root.
    fn finish(&mut self, mut node: Node, anchor: usize) -> Result<(), Stop> {
        self.count(1, node.at)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match frame.key.take() {
                None => frame.key = Some((read_key(&node, self.problems), node.at)),
                Some((Some(key), label_at)) => {
                    node.label_at = label_at;
                    match frame.lines.get(&key) {
                        Some(line) => {
                            self.problems.add(
                                label_at,
                                "duplicate-key",
                                format!("the key {} is given twice", shown(&key)),
                                format!("line {line} gives it first; rename or remove one of the two"),
                            );
                        }
                        None => {
                            frame.lines.insert(key.clone(), label_at.line);
                            entries.push((key, node));
                        }
                    }
                }
                Some((None, _)) => {}
            },
            Kind::Nothing | Kind::Refused | Kind::Scalar { .. } => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(Stop {
                at,
                code: "yaml-too-complex",
                message: "the document is too large with its aliases expanded".to_owned(),
                hint: "use fewer aliases",
            });
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, at: Position) {
        if tagged {
            self.problems.add(at, "yaml-unsupported", "YAML tags (`!name`) mean nothing here", "remove the tag");
        }
    }

    fn refuse_alias(&mut self, at: Position) -> Result<(), Stop> {
        self.problems.add(
            at,
            "yaml-syntax",
            "the alias names no anchor that is complete before it",
            "define the anchor (`&name`) above, or put the value in quotes if it begins with `*`",
        );
        self.finish(Node::new(at, Kind::Refused), 0)
    }
}

fn read_key(node: &Node, problems: &mut Problems) -> Option<String> {
    let key = node.text().map(str::to_owned);
    if key.is_none() && !matches!(node.kind, Kind::Refused) {
        problems.add(node.at, "yaml-unsupported", "a key is a word", "write `key: value`");
    }
    key
}

fn position(span: &Span) -> Position {
    position_of(span.start.line(), span.start.col())
}

fn position_of(line: usize, column: usize) -> Position {
    let from_one = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).max(1);
    Position { line: from_one(line), column: from_one(column.saturating_add(1)) }
}
