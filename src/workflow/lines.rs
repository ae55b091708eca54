/// Where the lines of a text begin: each of many findings is told with its line, and counting from the start for every
/// one makes a long file slow.
#[derive(Debug, Clone)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub fn of(text: &str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { starts: std::iter::once(0).chain(after).collect() }
    }

    /// Line and column of a byte of the text, both from 1; columns count characters.
    pub fn line_and_column(&self, text: &str, at: usize) -> (usize, usize) {
        let at = at.min(text.len());
        let line = self.starts.partition_point(|start| *start <= at);
        (line, text[self.start(line)..at].chars().count() + 1)
    }

    /// Where a line begins, counted from 1.
    pub fn start(&self, line: usize) -> usize {
        self.starts[line - 1]
    }

    /// Where the line of a byte ends, its own end of line left out.
    pub fn end(&self, text: &str, at: usize) -> usize {
        let line = self.starts.partition_point(|start| *start <= at);
        self.starts.get(line).map_or(text.len(), |next| next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn every_byte_has_its_line_and_column() {
        let text = "one\nzwö!\n\nend";
        let lines = Lines::of(text);
        for (at, place) in [(0, (1, 1)), (3, (1, 4)), (4, (2, 1)), (8, (2, 4)), (10, (3, 1)), (11, (4, 1))] {
            assert_eq!(lines.line_and_column(text, at), place, "{at}");
        }
        assert_eq!(lines.line_and_column(text, 99), (4, 4));
        assert_eq!((lines.start(2), lines.end(text, 5)), (4, 9));
        assert_eq!((lines.end(text, 10), lines.end(text, 12)), (10, text.len()));
        assert_eq!(Lines::of("").line_and_column("", 5), (1, 1));
    }
}
