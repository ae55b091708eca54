//! Secrets do not pass through the container's log.

use std::sync::{Mutex, PoisonError};

use regex::Regex;
use zeroize::Zeroizing;

/// What is replaced by `***` in every line.
pub struct Mask {
    known: Mutex<Vec<Zeroizing<String>>>,
    shapes: Regex,
}

/// Tokens of GitHub's by their prefix, and whatever follows an authorisation header's name.
const SHAPES: &str =
    r"(?i)\bgh[pousr]_[A-Za-z0-9_]{10,}|\bgithub_pat_[A-Za-z0-9_]{10,}|\bauthorization:\s*\S+(\s+\S+)?";

impl Default for Mask {
    fn default() -> Self {
        #[expect(clippy::unwrap_used, reason = "a constant expression, compiled by a test")]
        Self { known: Mutex::default(), shapes: Regex::new(SHAPES).unwrap() }
    }
}

impl Mask {
    /// Replace this one too, from now on.
    pub fn learn(&self, secret: &str) {
        // A very short one would turn the log into asterisks.
        if secret.len() >= 6 {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).push(Zeroizing::new(secret.to_owned()));
        }
    }

    pub fn apply(&self, line: &str) -> String {
        let mut line = self.shapes.replace_all(line, "***").into_owned();
        for secret in self.known.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            line = line.replace(secret.as_str(), "***");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn tokens_are_masked_by_value_and_by_shape() {
        let mask = Mask::default();
        mask.learn("ABC123DEF456");
        assert_eq!(mask.apply("token ABC123DEF456!"), "token ***!");
        assert_eq!(mask.apply("x ghs_0123456789abcdef y"), "x *** y");
        assert_eq!(mask.apply("Authorization: Bearer abc def"), "*** def");
        assert_eq!(mask.apply("Listening for Jobs"), "Listening for Jobs");
    }
}
