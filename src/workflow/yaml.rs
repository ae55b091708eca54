//! YAML as GitHub reads it, every node with its place in the text.
//!
//! The rules are those of GitHub's own reader (`YamlObjectReader` in actions/runner): the core schema of YAML 1.2,
//! anchors and aliases but no merge keys, one document, keys that differ only in case count as one. What that
//! reader refuses is refused here too, so that no file means one thing here and another there.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput, Tag};

/// A value, and the bytes of the text that it was written in.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Yaml,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A mapping's key; GitHub turns numbers and the like into text.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub span: Range<usize>,
    pub name: String,
}

/// Why a text cannot be read, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{why}")]
pub struct Fault {
    pub span: Range<usize>,
    pub why: String,
}

impl Fault {
    pub fn new(span: Range<usize>, why: impl Into<String>) -> Self {
        Self { span, why: why.into() }
    }
}

/// GitHub's own bounds.
const MOST_CHARACTERS: usize = 1024 * 1024;
const MOST_NODES: usize = 50_000;
const MOST_DEPTH: usize = 50;

/// Read one document.
pub fn read(text: &str) -> Result<Node, Fault> {
    if text.len() > MOST_CHARACTERS && text.chars().count() > MOST_CHARACTERS {
        let line = text.find('\n').unwrap_or(text.len());
        return Err(Fault::new(0..line, "larger than 1 MiB, which GitHub does not read"));
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        bytes: Bytes::of(text),
        length: text.len(),
        anchors: HashMap::new(),
        nodes: 0,
    };
    while !matches!(reader.next()?.0, Event::DocumentStart(_)) {
        if reader.parser.peek().is_none() {
            return Err(Fault::new(0..0, "the file is empty"));
        }
    }
    let first = reader.next()?;
    let node = reader.node(first, 0)?;
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(node),
            (Event::DocumentStart(_), span) => {
                return Err(Fault::new(span, "a second document begins here; a workflow is one"));
            }
            _ => {}
        }
    }
}

/// Characters to bytes: the parser counts characters.
enum Bytes {
    Same,
    Table(Vec<usize>),
}

impl Bytes {
    fn of(text: &str) -> Self {
        if text.is_ascii() {
            Self::Same
        } else {
            Self::Table(text.char_indices().map(|(at, _)| at).collect())
        }
    }

    fn at(&self, marker: &Marker, length: usize) -> usize {
        match self {
            Self::Same => marker.index().min(length),
            Self::Table(table) => table.get(marker.index()).copied().unwrap_or(length),
        }
    }
}

struct Reader<'text> {
    parser: Parser<'text, StrInput<'text>>,
    bytes: Bytes,
    length: usize,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

type Spanned<'text> = (Event<'text>, Range<usize>);

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<Spanned<'text>, Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let start = self.bytes.at(&span.start, self.length);
                Ok((event, start..self.bytes.at(&span.end, self.length).max(start)))
            }
            Some(Err(fault)) => {
                let at = self.bytes.at(fault.marker(), self.length);
                Err(Fault::new(at..at, format!("not YAML: {}", fault.info())))
            }
            None => Ok((Event::StreamEnd, self.length..self.length)),
        }
    }

    fn node(&mut self, (event, span): Spanned<'text>, depth: usize) -> Result<Node, Fault> {
        self.count(1, &span)?;
        if depth > MOST_DEPTH {
            return Err(Fault::new(
                span,
                format!("nested more than {MOST_DEPTH} deep, which GitHub does not read"),
            ));
        }
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((node, nodes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new(span, "this alias stands inside its own anchor"));
                };
                self.count(nodes, &span)?;
                return Ok(Node { span, ..node });
            }
            Event::Scalar(text, style, anchor, tag) => {
                (Node { value: scalar(&text, style, tag.as_deref(), &span)?, span }, anchor)
            }
            Event::SequenceStart(anchor, tag) => (self.sequence(span, tag.as_deref(), depth)?, anchor),
            Event::MappingStart(anchor, tag) => (self.mapping(span, tag.as_deref(), depth)?, anchor),
            other => return Err(Fault::new(span, format!("not YAML: {other:?} where a value belongs"))),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn sequence(&mut self, start: Range<usize>, tag: Option<&Tag>, depth: usize) -> Result<Node, Fault> {
        no_tag(tag, &start)?;
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, end) => {
                    let last = items.last().map_or(start.end, |item: &Node| item.span.end);
                    let span = start.start..if end.is_empty() { last } else { end.end };
                    return Ok(Node { span, value: Yaml::Sequence(items) });
                }
                next => items.push(self.node(next, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, start: Range<usize>, tag: Option<&Tag>, depth: usize) -> Result<Node, Fault> {
        no_tag(tag, &start)?;
        let mut pairs: Vec<(Key, Node)> = Vec::new();
        let mut known = HashSet::new();
        loop {
            let (event, span) = match self.next()? {
                (Event::MappingEnd, end) => {
                    let last = pairs.last().map_or(start.end, |(_, value)| value.span.end);
                    let span = start.start..if end.is_empty() { last } else { end.end };
                    return Ok(Node { span, value: Yaml::Mapping(pairs) });
                }
                next => next,
            };
            let key = self.node((event, span.clone()), depth + 1)?;
            let Some(name) = key.scalar_text() else {
                return Err(Fault::new(span, "a key must be a word, not a list or a mapping"));
            };
            if !known.insert(name.to_uppercase()) {
                return Err(Fault::new(span, format!("the key '{name}' stands here a second time")));
            }
            let next = self.next()?;
            let value = self.node(next, depth + 1)?;
            pairs.push((Key { span, name }, value));
        }
    }

    /// An alias of an alias of an alias multiplies; GitHub stops at the same number.
    fn count(&mut self, nodes: usize, span: &Range<usize>) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MOST_NODES {
            return Err(Fault::new(
                span.clone(),
                format!(
                    "more than {MOST_NODES} values with all aliases written out, which GitHub does not read"
                ),
            ));
        }
        Ok(())
    }
}

/// As .NET's `OrdinalIgnoreCase`.
pub fn same(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.eq_ignore_ascii_case(other)
        || !(one.is_ascii() && other.is_ascii()) && one.to_uppercase() == other.to_uppercase()
}

fn no_tag(tag: Option<&Tag>, span: &Range<usize>) -> Result<(), Fault> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            Err(Fault::new(span.clone(), format!("GitHub knows no tag '{tag}'")))
        }
        _ => Ok(()),
    }
}

/// A scalar's type, by its tag or else by the core schema (YAML 1.2.2, section 10.3.2).
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Range<usize>) -> Result<Yaml, Fault> {
    no_tag(tag, span)?;
    match tag.map(|tag| tag.suffix.as_str()) {
        Some("str") => return Ok(Yaml::Text(text.to_owned())),
        Some(kind @ ("null" | "bool" | "int" | "float")) => {
            let value = plain(text);
            let fits = match kind {
                "null" => value == Yaml::Null,
                "bool" => matches!(value, Yaml::Bool(_)),
                _ => matches!(value, Yaml::Number(_)),
            };
            let why = || Fault::new(span.clone(), format!("'{text}' is no !!{kind}"));
            return if fits && style == ScalarStyle::Plain { Ok(value) } else { Err(why()) };
        }
        Some(other) => return Err(Fault::new(span.clone(), format!("GitHub knows no tag '!!{other}'"))),
        None => {}
    }
    Ok(if style == ScalarStyle::Plain { plain(text) } else { Yaml::Text(text.to_owned()) })
}

fn plain(text: &str) -> Yaml {
    match text {
        "" | "null" | "Null" | "NULL" | "~" => Yaml::Null,
        "true" | "True" | "TRUE" => Yaml::Bool(true),
        "false" | "False" | "FALSE" => Yaml::Bool(false),
        _ => number(text).map_or_else(|| Yaml::Text(text.to_owned()), Yaml::Number),
    }
}

fn number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if unsigned == text => return Some(f64::NAN),
        _ => {}
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).ok().map(|bits| f64::from(bits.cast_signed()));
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u32::from_str_radix(digits, 8).ok().map(|bits| f64::from(bits.cast_signed()));
    }
    let looks_like_one = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c));
    if looks_like_one { text.parse().ok() } else { None }
}

impl Node {
    /// The value of a mapping's key, spelled exactly so: GitHub's own keys have one spelling.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, value)| value)
    }

    pub fn entry(&self, name: &str) -> Option<&(Key, Node)> {
        self.pairs().iter().find(|(key, _)| key.name == name)
    }

    /// What a mapping holds; nothing for everything else.
    pub fn pairs(&self) -> &[(Key, Node)] {
        if let Yaml::Mapping(pairs) = &self.value { pairs } else { &[] }
    }

    /// What a sequence holds; nothing for everything else.
    pub fn items(&self) -> &[Node] {
        if let Yaml::Sequence(items) = &self.value { items } else { &[] }
    }

    pub fn text(&self) -> Option<&str> {
        if let Yaml::Text(text) = &self.value { Some(text) } else { None }
    }

    /// A scalar as GitHub writes it where text is wanted; none for lists and mappings.
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Yaml::Null => Some(String::new()),
            Yaml::Bool(value) => Some(value.to_string()),
            Yaml::Number(value) => {
                Some(github_actions_expressions::Evaluation::Number(*value).sema().to_string())
            }
            Yaml::Text(text) => Some(text.clone()),
            Yaml::Sequence(_) | Yaml::Mapping(_) => None,
        }
    }

    /// Every node below this one, itself first.
    pub fn walk(&self, visit: &mut impl FnMut(&Node)) {
        visit(self);
        for item in self.items() {
            item.walk(visit);
        }
        for (_, value) in self.pairs() {
            value.walk(visit);
        }
    }
}
