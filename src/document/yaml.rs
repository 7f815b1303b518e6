//! YAML: a stream of documents, each read for itself, with anchors, aliases and merge keys.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{Event, Options, Parser, ScalarStyle};

use super::{
    MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_NODES, MAX_STREAM_BYTES, Node, Position, SyntaxError, Value,
    quoted,
};

/// One document of a YAML stream: its tree, or why it could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Number in the stream, from 1.
    pub number: usize,
    /// The tree, `Null` for an empty document, or the syntax error.
    pub root: Result<Node, SyntaxError>,
}

/// Reads a YAML stream. A syntax error spoils its own document only; a stream that is not text has one document with that error.
#[must_use]
pub fn parse_yaml(bytes: &[u8]) -> Vec<Document> {
    let whole = |error| {
        vec![Document {
            number: 1,
            root: Err(error),
        }]
    };
    if bytes.len() > MAX_STREAM_BYTES {
        let found = bytes.len();
        return whole(SyntaxError::new(
            None,
            format!("the stream has {found} bytes, allowed: at most {MAX_STREAM_BYTES}"),
        ));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => {
            let good =
                String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default());
            let line = good.matches('\n').count() + 1;
            let column = good
                .rsplit('\n')
                .next()
                .map_or(0, |last| last.chars().count())
                + 1;
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            return whole(SyntaxError::new(
                Some(Position { line, column }),
                format!("found the byte 0x{byte:02x}, which is not UTF-8; save the file as UTF-8"),
            ));
        }
    };
    split(text)
        .into_iter()
        .enumerate()
        .map(|(index, (first_line, part))| Document {
            number: index + 1,
            root: parse_document(part, first_line),
        })
        .collect()
}

/// Cuts a stream at its `---` lines, which YAML allows nowhere else at the start of a line.
/// Returns each document with the number of lines before it.
/// What stands before the first marker counts as a document only when it has content.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut offset, mut marked) = (0, 0, 0, false);
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        let is_marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if is_marker {
            push_document(
                &mut documents,
                text.get(start..offset).unwrap_or_default(),
                start_line,
                marked,
            );
            (start, start_line, marked) = (offset, line_number, true);
        }
        offset += line.len();
    }
    push_document(
        &mut documents,
        text.get(start..).unwrap_or_default(),
        start_line,
        marked,
    );
    documents
}

fn push_document<'a>(
    documents: &mut Vec<(usize, &'a str)>,
    part: &'a str,
    first_line: usize,
    marked: bool,
) {
    let has_content = |line: &str| {
        !line.trim().is_empty() && !line.trim_start().starts_with('#') && !line.starts_with('%')
    };
    if marked || part.lines().any(has_content) {
        documents.push((first_line, part));
    }
}

fn parse_document(text: &str, first_line: usize) -> Result<Node, SyntaxError> {
    if text.len() > MAX_DOCUMENT_BYTES {
        let position = Position {
            line: first_line + 1,
            column: 1,
        };
        let found = text.len();
        return Err(SyntaxError::new(
            Some(position),
            format!("the document has {found} bytes, allowed: at most {MAX_DOCUMENT_BYTES}"),
        ));
    }
    let mut options = Options::default();
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    options.set_emit_comments(false);
    let mut builder = Builder {
        first_line,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
    };
    let wrong = |error: SyntaxError| likely_cause(text, first_line, &error).unwrap_or(error);
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => {
                let position = builder.position(span.start.line(), span.start.col());
                builder.event(event, position).map_err(wrong)?;
            }
            Err(error) => {
                let position = builder.position(error.marker().line(), error.marker().col());
                let message = format!("not valid YAML: {}", error.info());
                return Err(wrong(SyntaxError::new(Some(position), message)));
            }
        }
    }
    Ok(builder.root.unwrap_or(Node {
        value: Value::Null,
        position: Some(Position {
            line: first_line + 1,
            column: 1,
        }),
    }))
}

/// What a person did, where the reader of YAML only says what it stumbled over: a template that nothing has rendered, or a tab
/// in an indentation.
fn likely_cause(text: &str, first_line: usize, error: &SyntaxError) -> Option<SyntaxError> {
    let at = |(line, column, message): (usize, usize, &str)| {
        let line = first_line + line + 1;
        SyntaxError::new(Some(Position { line, column }), message)
    };
    let template = text.lines().enumerate().find_map(|(line, content)| {
        // In quotes it is a text like any other, as in a rule of an alarm.
        let before = content.split_once("{{")?.0;
        let is_bare = !before.contains(['"', '\'', '#', '`']);
        is_bare.then(|| (line, before.chars().count() + 1))
    });
    if let Some((line, column)) = template {
        let message = "`{{ … }}` is a template that is not rendered; render it first, as in \
                       helm template CHART | outrigger check -f -";
        return Some(at((line, column, message)));
    }
    // The reader stops at the tab, or at the end of the line before it.
    let stopped = error.position?.line.saturating_sub(first_line + 1);
    let lines = text.lines().enumerate().skip(stopped.saturating_sub(1));
    let mut tabs = lines.take(3).filter_map(|(line, content)| {
        let indent = content.len() - content.trim_start_matches([' ', '\t']).len();
        let has_content = !content.trim().is_empty();
        let tab = content.get(..indent)?.find('\t').filter(|_| has_content)?;
        Some((line, tab + 1))
    });
    let (line, column) = tabs.next()?;
    let message = "not valid YAML: a tab in the indentation, allowed: spaces";
    Some(at((line, column, message)))
}

/// A collection whose end has not come yet.
struct Open {
    anchor: usize,
    position: Position,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(String, Node)>,
        names: HashSet<String>,
        key: Option<(String, Position)>,
    },
}

/// How large a tree is.
#[derive(Debug, Clone, Copy)]
struct Extent {
    nodes: usize,
    depth: usize,
}

struct Builder {
    first_line: usize,
    open: Vec<Open>,
    /// Finished anchored values with their size, by the parser's anchor id.
    anchors: HashMap<usize, (Rc<Node>, Extent)>,
    root: Option<Node>,
    nodes: usize,
}

impl Builder {
    fn position(&self, line: usize, column: usize) -> Position {
        Position {
            line: self.first_line + line,
            column: column + 1,
        }
    }

    fn event(&mut self, event: Event<'_>, position: Position) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let value = if plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
                {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    }
                };
                self.finish(
                    Node {
                        value,
                        position: Some(position),
                    },
                    anchor,
                    1,
                )
            }
            Event::SequenceStart(_, anchor, _) => {
                self.start(anchor, position, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => self.start(
                anchor,
                position,
                Content::Map {
                    entries: Vec::new(),
                    names: HashSet::new(),
                    key: None,
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.end(position),
            Event::Alias(id) => self.alias(id, position),
            _ => Ok(()),
        }
    }

    fn start(
        &mut self,
        anchor: usize,
        position: Position,
        content: Content,
    ) -> Result<(), SyntaxError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        self.open.push(Open {
            anchor,
            position,
            content,
        });
        Ok(())
    }

    fn end(&mut self, position: Position) -> Result<(), SyntaxError> {
        let Some(Open {
            anchor,
            position: start,
            content,
        }) = self.open.pop()
        else {
            return Err(SyntaxError::new(
                Some(position),
                "not valid YAML: an end without a start",
            ));
        };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(merged(entries, start)?),
        };
        self.finish(
            Node {
                value,
                position: Some(start),
            },
            anchor,
            1,
        )
    }

    fn alias(&mut self, id: usize, position: Position) -> Result<(), SyntaxError> {
        let Some((node, extent)) = self.anchors.get(&id) else {
            return Err(SyntaxError::new(
                Some(position),
                "the alias stands inside the value that it refers to",
            ));
        };
        let (node, Extent { nodes, depth }) = (Rc::clone(node), *extent);
        // An alias in an anchored value in an alias … is deeper than anything that the parser saw nested.
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep(position));
        }
        // Counted before the copy is made: the copy is what would exhaust the memory.
        self.count(nodes, position)?;
        self.finish(Node::clone(&node), 0, 0)
    }

    fn count(&mut self, nodes: usize, position: Position) -> Result<(), SyntaxError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("more than {MAX_NODES} values after aliases are expanded");
            return Err(SyntaxError::new(Some(position), message));
        }
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), SyntaxError> {
        let position = node.position.unwrap_or(Position {
            line: self.first_line + 1,
            column: 1,
        });
        self.count(nodes, position)?;
        if anchor != 0 {
            let extent = extent_of(&node);
            self.count(extent.nodes, position)?;
            self.anchors.insert(anchor, (Rc::new(node.clone()), extent));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None if self.root.is_some() => {
                return Err(SyntaxError::new(
                    Some(position),
                    "a second document after `...`, allowed: one; separate documents with `---`",
                ));
            }
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map {
                entries,
                names,
                key,
            }) => match key.take() {
                None => *key = Some((key_text(&node, position)?, position)),
                Some((name, at)) => {
                    if name != "<<" && !names.insert(name.clone()) {
                        return Err(SyntaxError::new(
                            Some(at),
                            format!("the key {} stands twice in one mapping", quoted(&name)),
                        ));
                    }
                    entries.push((name, placed(node, at)));
                }
            },
        }
        Ok(())
    }
}

fn extent_of(node: &Node) -> Extent {
    let (mut nodes, mut depth) = (1, 0);
    let mut add = |child: &Node| {
        let inner = extent_of(child);
        nodes += inner.nodes;
        depth = depth.max(inner.depth + 1);
    };
    match &node.value {
        Value::Null | Value::Scalar { .. } => {}
        // An empty collection is a level too.
        Value::List(items) => {
            items.iter().for_each(&mut add);
            depth = depth.max(1);
        }
        Value::Map(entries) => {
            for (_, value) in entries {
                add(value);
            }
            depth = depth.max(1);
        }
    }
    Extent { nodes, depth }
}

/// A collection that begins below its key stands where the key does: that is where people look.
fn placed(node: Node, key: Position) -> Node {
    let is_below = matches!(node.value, Value::List(_) | Value::Map(_))
        && node
            .position
            .is_some_and(|position| position.line > key.line);
    Node {
        position: if is_below { Some(key) } else { node.position },
        ..node
    }
}

fn too_deep(position: Position) -> SyntaxError {
    SyntaxError::new(
        Some(position),
        format!("nested deeper than {MAX_DEPTH} levels"),
    )
}

fn key_text(node: &Node, position: Position) -> Result<String, SyntaxError> {
    match &node.value {
        Value::Scalar { text, .. } => Ok(text.clone()),
        Value::Null => Ok("null".to_owned()),
        Value::List(_) | Value::Map(_) => Err(SyntaxError::new(
            Some(position),
            format!("found {} as a key, allowed: text", node.describe()),
        )),
    }
}

/// Applies `<<` merge keys as Kubernetes' YAML reader does: a key of the mapping itself wins over a merged one.
fn merged(
    entries: Vec<(String, Node)>,
    position: Position,
) -> Result<Vec<(String, Node)>, SyntaxError> {
    if !entries.iter().any(|(key, _)| key == "<<") {
        return Ok(entries);
    }
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| key == "<<");
    let mut names: HashSet<String> = own.iter().map(|(key, _)| key.clone()).collect();
    for (_, node) in merges {
        let sources = match node.value {
            Value::List(items) => items,
            value => vec![Node {
                value,
                position: node.position,
            }],
        };
        for source in sources {
            let Value::Map(additions) = source.value else {
                let at = source.position.unwrap_or(position);
                return Err(SyntaxError::new(
                    Some(at),
                    "found a merge key `<<` of something else than a mapping",
                ));
            };
            for (key, value) in additions {
                if names.insert(key.clone()) {
                    own.push((key, value));
                }
            }
        }
    }
    Ok(own)
}
