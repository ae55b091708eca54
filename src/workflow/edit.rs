//! Changes to a file that keep its comments and its layout: whole lines go in, nothing else moves.

use super::{
    finding::Edit,
    yaml::{Key, Node, Yaml},
};

/// A mapping written in lines, whose keys all begin at one column.
struct Block<'a> {
    text: &'a str,
    pairs: &'a [(Key, Node)],
    indent: usize,
}

fn block<'a>(text: &'a str, mapping: &'a Node) -> Option<Block<'a>> {
    let Yaml::Mapping(pairs) = &mapping.value else { return None };
    let (first, _) = pairs.first()?;
    // Braces, or an alias of something that is written elsewhere.
    if mapping.span.start != first.span.start {
        return None;
    }
    let indent = first.span.start - line_start(text, first.span.start);
    Some(Block { text, pairs, indent })
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// The position after the line that `at` is in, and what must be written first if the file ends there.
fn next_line(text: &str, at: usize) -> (usize, &'static str) {
    text[at..].find('\n').map_or((text.len(), "\n"), |newline| (at + newline + 1, ""))
}

impl Block<'_> {
    fn lines(&self, lines: &[&str]) -> String {
        let margin = " ".repeat(self.indent);
        let line =
            |line: &&str| if line.is_empty() { "\n".to_owned() } else { [&margin, *line, "\n"].concat() };
        lines.iter().map(line).collect()
    }
}

/// Put lines in front of a key that begins its own line.
pub fn before_key(text: &str, mapping: &Node, key: &str, lines: &[&str]) -> Option<Edit> {
    let block = block(text, mapping)?;
    let (key, _) = block.pairs.iter().find(|(known, _)| known.name == key)?;
    let start = line_start(text, key.span.start);
    // `- key:` begins an item, and what comes before it is not this mapping's.
    let begins_its_line = text[start..key.span.start].chars().all(|c| c == ' ');
    begins_its_line.then(|| Edit { range: start..start, text: block.lines(lines) })
}

/// Put lines after a key and its value, which is a scalar.
pub fn after_key(text: &str, mapping: &Node, key: &str, lines: &[&str]) -> Option<Edit> {
    let block = block(text, mapping)?;
    let (key, value) = block.pairs.iter().find(|(known, _)| known.name == key)?;
    if !matches!(value.value, Yaml::Text(_)) {
        return None;
    }
    let written = &block.text[key.span.start..value.span.end];
    let (at, newline) = next_line(text, key.span.start + written.trim_end().len());
    Some(Edit { range: at..at, text: format!("{newline}{}", block.lines(lines)) })
}

/// Put lines at the head of a mapping.
pub fn first_in(text: &str, mapping: &Node, lines: &[&str]) -> Option<Edit> {
    let key = block(text, mapping)?.pairs.first()?.0.name.clone();
    before_key(text, mapping, &key, lines)
}

/// Apply edits; of two that touch the same bytes the first one wins, and the other can be made the next time.
pub fn apply(text: &str, edits: &[&Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.to_vec();
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut new = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        if edit.range.start >= at {
            new.push_str(&text[at..edit.range.start]);
            new.push_str(&edit.text);
            at = edit.range.end;
        }
    }
    new.push_str(&text[at..]);
    new
}

#[cfg(test)]
mod tests {
    use super::{Edit, after_key, apply, before_key, first_in};
    use crate::workflow::yaml;

    const TEXT: &str = "jobs:\n  build: # heavy\n    runs-on: vega   # ours\n    steps:\n      - uses: a/b@v1 # v1\n        with:\n          x: 1\n";

    fn at<'a>(node: &'a yaml::Node, keys: &[&str]) -> &'a yaml::Node {
        keys.iter().fold(node, |node, key| node.get(key).unwrap())
    }

    fn with(edit: Option<Edit>) -> String {
        apply(TEXT, &[&edit.unwrap()])
    }

    #[test]
    fn lines_go_in_and_nothing_else_moves() {
        let root = yaml::read(TEXT).unwrap();
        let job = at(&root, &["jobs", "build"]);
        let step = &at(job, &["steps"]).items()[0];
        assert_eq!(
            with(before_key(TEXT, job, "steps", &["timeout-minutes: 9"])),
            TEXT.replace("    steps:", "    timeout-minutes: 9\n    steps:")
        );
        assert_eq!(
            with(after_key(TEXT, step, "uses", &["env:", "  A: b"])),
            TEXT.replace("# v1\n", "# v1\n        env:\n          A: b\n")
        );
        assert_eq!(
            with(first_in(TEXT, step.get("with").unwrap(), &["y: 2"])),
            TEXT.replace("          x: 1", "          y: 2\n          x: 1")
        );
    }

    #[test]
    fn what_is_not_written_in_lines_is_left_alone() {
        let root = yaml::read(TEXT).unwrap();
        let step = &at(&root, &["jobs", "build", "steps"]).items()[0];
        assert_eq!(before_key(TEXT, step, "uses", &["x: 1"]), None, "it begins with the item's dash");
        assert_eq!(after_key(TEXT, &root, "jobs", &["x: 1"]), None, "its value is no scalar");
        let braces = "a: {b: 1}\n";
        let root = yaml::read(braces).unwrap();
        assert_eq!(first_in(braces, root.get("a").unwrap(), &["x: 1"]), None);
    }

    #[test]
    fn of_two_edits_of_one_place_the_first_wins() {
        let edit = |range, text: &str| Edit { range, text: text.to_owned() };
        assert_eq!(apply("abcd", &[&edit(1..3, "X"), &edit(2..4, "Y")]), "aXd");
        assert_eq!(apply("abcd", &[&edit(2..2, "Y"), &edit(2..2, "Z")]), "abYZcd");
    }
}
