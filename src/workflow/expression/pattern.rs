use std::fmt;

/// Text of which parts may be unknown: `nix-${{ matrix.system }}` is `nix-` and then anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Anything,
}

impl Pattern {
    pub fn exact(text: impl Into<String>) -> Self {
        let mut pattern = Self(Vec::new());
        pattern.push_literal(&text.into());
        pattern
    }

    pub fn anything() -> Self {
        Self(vec![Piece::Anything])
    }

    pub fn push_literal(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Literal(known)) => known.push_str(text),
            _ => self.0.push(Piece::Literal(text.to_owned())),
        }
    }

    pub fn push(&mut self, other: &Pattern) {
        for piece in &other.0 {
            match piece {
                Piece::Literal(text) => self.push_literal(text),
                Piece::Anything if self.0.last() == Some(&Piece::Anything) => {}
                Piece::Anything => self.0.push(Piece::Anything),
            }
        }
    }

    /// The text, when all of it is known.
    pub fn as_exact(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub fn has_literal(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// What it certainly begins with.
    pub fn prefix(&self) -> &str {
        if let Some(Piece::Literal(text)) = self.0.first() { text } else { "" }
    }

    /// What it certainly ends with.
    pub fn suffix(&self) -> &str {
        if let Some(Piece::Literal(text)) = self.0.last() { text } else { "" }
    }

    /// Whether it can be this text, as labels and `==` compare: without case.
    pub fn may_be(&self, text: &str) -> bool {
        let text = fold(text);
        let Some((first, rest)) = self.0.split_first() else { return text.is_empty() };
        let mut left = text.as_str();
        if let Piece::Literal(literal) = first {
            match left.strip_prefix(fold(literal).as_str()) {
                Some(after) => left = after,
                None => return false,
            }
        }
        let Some((last, middle)) = rest.split_last() else {
            return *first == Piece::Anything || left.is_empty();
        };
        // What comes first in the text is taken: it leaves the most for the pieces that follow.
        for piece in middle {
            if let Piece::Literal(literal) = piece {
                let literal = fold(literal);
                match left.find(&literal) {
                    Some(at) => left = &left[at + literal.len()..],
                    None => return false,
                }
            }
        }
        match last {
            Piece::Literal(literal) => left.ends_with(fold(literal).as_str()),
            Piece::Anything => true,
        }
    }
}

/// As GitHub compares text: in capitals, except for the dotless i, which stays itself.
fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().flat_map(|c| if c == 'ı' { vec![c] } else { c.to_uppercase().collect() }).collect()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Literal(text) => f.write_str(text)?,
                Piece::Anything => f.write_str("*")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn nix_anything_linux() -> Pattern {
        let mut pattern = Pattern::exact("nix-");
        pattern.push(&Pattern::anything());
        pattern.push_literal("-linux");
        pattern
    }

    #[test]
    fn a_pattern_is_whatever_its_holes_allow() {
        let pattern = nix_anything_linux();
        for text in ["nix-x86_64-linux", "NIX--LINUX", "nix-a-linux-linux"] {
            assert!(pattern.may_be(text), "{text}");
        }
        for text in ["nix-linux", "nix-x86_64-darwin", "a-nix-b-linux", "nix-x-linux-2", ""] {
            assert!(!pattern.may_be(text), "{text}");
        }
    }

    #[test]
    fn what_is_known_is_exact_and_what_is_unknown_is_anything() {
        assert_eq!(Pattern::exact("vega").as_exact(), Some("vega"));
        assert!(Pattern::exact("vega").may_be("Vega") && !Pattern::exact("vega").may_be("vega2"));
        assert!(Pattern::exact("").may_be("") && !Pattern::exact("").may_be("x"));
        assert!(Pattern::anything().may_be("") && Pattern::anything().may_be("x"));
        assert_eq!(nix_anything_linux().as_exact(), None);
        assert_eq!(nix_anything_linux().to_string(), "nix-*-linux");
    }

    #[test]
    fn a_repeated_middle_is_found_where_it_leaves_room() {
        let mut pattern = Pattern::anything();
        pattern.push_literal("ab");
        pattern.push(&Pattern::anything());
        pattern.push_literal("ab");
        assert!(pattern.may_be("xabab") && pattern.may_be("abxab"));
        assert!(!pattern.may_be("xab"));
    }
}
