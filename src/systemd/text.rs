//! Words of unit files (systemd.syntax(7), and systemd.service(5), "Command lines").

use std::path::Path;

/// A text as one word of a command line or a list, whatever is in it: no specifier, no variable, no second word.
pub fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@*+$%".contains(c);
    if !escaped.is_empty() && escaped.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
}

/// A path that is the rest of a line, quotes and all (`LoadCredential=`): no specifier in it.
pub fn rest(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

/// A path as one word.
pub fn path(path: &Path) -> String {
    word(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn a_text_is_one_word_whatever_is_in_it() {
        for (text, expected) in [
            ("/usr/bin/podman", "/usr/bin/podman"),
            ("/a b/50%/$x", "\"/a b/50%%/$$x\""),
            ("", "\"\""),
            ("a;b", "\"a;b\""),
            ("x=\"1\" y\\", "\"x=\\\"1\\\" y\\\\\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
