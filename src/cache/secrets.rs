//! What must not leave: private keys and tokens that a build has put into its output, where everybody reads them.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use regex::bytes::Regex;

use super::processors;

/// A kind of secret: its name, and how it looks.
struct Rule {
    name: &'static str,
    looks: &'static str,
}

/// Each begins with letters that are rare, so that a binary of a gigabyte is read at the disk's speed.
const RULES: &[Rule] = &[
    Rule {
        name: "private-key",
        // With a body: programs that write keys have the first line alone in them.
        looks: r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|[\r\n]|[A-Za-z-]+: [^\r\n]{0,200}[\r\n])+[A-Za-z0-9+/=]{40}",
    },
    Rule { name: "age-key", looks: r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}" },
    Rule {
        name: "github-token",
        looks: r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}\b",
    },
    Rule { name: "gitlab-token", looks: r"\bglpat-[A-Za-z0-9_-]{20,}\b" },
    Rule { name: "aws-key", looks: r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b" },
    Rule { name: "slack-token", looks: r"\bxox[abposr]-[0-9]{9,}-[A-Za-z0-9-]{20,}" },
    Rule { name: "npm-token", looks: r"\bnpm_[A-Za-z0-9]{36}\b" },
    Rule { name: "stripe-key", looks: r"\b[rs]k_live_[A-Za-z0-9]{24,}\b" },
    Rule { name: "google-key", looks: r"\bAIza[A-Za-z0-9_-]{35}\b" },
];

/// A whole file of Nix's own secret keys.
const NIX_KEY: &str = r"\A[A-Za-z0-9._-]+:[A-Za-z0-9+/]{86}==\s*\z";
/// Names of files that hold a login.
const LOGINS: [&str; 2] = [".netrc", "netrc"];
const LOGIN: &str = r"(?m)\b(?:password|passwd)\s+\S+";

const BUFFER: usize = 256 << 10;
/// From so many bytes on several threads look through a path.
const LARGE: u64 = 16 << 20;
const THREADS: usize = 4;
/// Longer than what any rule needs to be seen whole.
const OVERLAP: usize = 2 << 10;

/// A secret in a store path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub rule: &'static str,
    pub file: PathBuf,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, rule) = (self.file.display(), self.rule);
        write!(
            f,
            "{file} has what looks like a secret ({rule}), and is not pushed, nor is what depends on it; if it is none: \
             --allow-secret '{rule}:{}'",
            regex::escape(&self.file.file_name().unwrap_or_default().to_string_lossy())
        )
    }
}

/// What is no secret although it looks like one: `RULE:EXPRESSION`, the expression for the file's name.
#[derive(Debug, Clone)]
pub struct Allowed {
    rule: String,
    file: regex::Regex,
}

#[derive(Debug, thiserror::Error)]
#[error("'{given}' allows nothing: {why}; write RULE:EXPRESSION, the expression for the file's name, with a rule of {}", names().join(", "))]
pub struct AllowedError {
    given: String,
    why: String,
}

impl std::str::FromStr for Allowed {
    type Err = AllowedError;

    fn from_str(given: &str) -> Result<Self, AllowedError> {
        let refuse = |why: &str| AllowedError { given: given.to_owned(), why: why.to_owned() };
        let (rule, file) = given.split_once(':').ok_or_else(|| refuse("it names no rule"))?;
        if !names().contains(&rule) {
            return Err(refuse("there is no such rule"));
        }
        let file = regex::Regex::new(&format!("(?:{file})$")).map_err(|why| refuse(&why.to_string()))?;
        Ok(Self { rule: rule.to_owned(), file })
    }
}

fn names() -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.name).chain(["nix-key", "netrc"]).collect()
}

/// Looks for secrets.
pub struct Scanner {
    /// All rules at once: most files have none.
    any: Regex,
    each: Vec<(&'static str, Regex)>,
    nix_key: Regex,
    login: Regex,
    allowed: Vec<Allowed>,
}

impl Scanner {
    pub fn new(allowed: Vec<Allowed>) -> Self {
        let regex =
            |looks: &str| Regex::new(&format!("(?-u){looks}")).expect("our own expressions are well-formed");
        let all: Vec<&str> = RULES.iter().map(|rule| rule.looks).collect();
        Self {
            any: regex(&format!("(?:{})", all.join("|"))),
            each: RULES.iter().map(|rule| (rule.name, regex(rule.looks))).collect(),
            nix_key: regex(NIX_KEY),
            login: regex(LOGIN),
            allowed,
        }
    }

    /// The first secret below `root`, if there is one; links are not followed.
    pub fn scan(&self, root: &Path) -> io::Result<Option<Finding>> {
        let (files, size) = files(root)?;
        let threads = if size < LARGE { 1 } else { THREADS.min(processors()) };
        let next = AtomicUsize::new(0);
        let look = || -> io::Result<Option<(usize, Finding)>> {
            let mut buffer = vec![0; BUFFER];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(path) = files.get(at) else { return Ok(None) };
                if let Some(rule) = self.file(path, &mut buffer)? {
                    // Nobody begins a file that comes after it.
                    next.fetch_max(files.len(), Ordering::Relaxed);
                    return Ok(Some((at, Finding { rule, file: path.clone() })));
                }
            }
        };
        let found = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(look)).collect();
            let joined = |other: std::thread::ScopedJoinHandle<'_, _>| {
                other.join().unwrap_or_else(|why| std::panic::resume_unwind(why))
            };
            std::iter::once(look()).chain(others.into_iter().map(joined)).collect::<io::Result<Vec<_>>>()
        })?;
        Ok(found.into_iter().flatten().min_by_key(|(at, _)| *at).map(|(_, finding)| finding))
    }

    fn file(&self, path: &Path, buffer: &mut [u8]) -> io::Result<Option<&'static str>> {
        let mut file = File::open(path)?;
        let (mut filled, mut is_first) = (0, true);
        loop {
            let length = file.read(&mut buffer[filled..])?;
            filled += length;
            let is_last = length == 0;
            if !is_last && filled < buffer.len() {
                continue;
            }
            let text = &buffer[..filled];
            let found = self.in_text(path, text, is_first && is_last);
            if found.is_some() || is_last {
                return Ok(found);
            }
            // A secret may lie across two pieces.
            buffer.copy_within(filled - OVERLAP.., 0);
            (filled, is_first) = (OVERLAP, false);
        }
    }

    fn in_text(&self, path: &Path, text: &[u8], is_whole: bool) -> Option<&'static str> {
        let counts = |rule: &&'static str| {
            !self.allowed.iter().any(|one| one.rule == **rule && one.file.is_match(&path.to_string_lossy()))
        };
        if self.any.is_match(text) {
            let found = self
                .each
                .iter()
                .filter(|(_, looks)| looks.is_match(text))
                .map(|(name, _)| *name)
                .find(counts);
            if found.is_some() {
                return found;
            }
        }
        if !is_whole {
            return None;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if self.nix_key.is_match(text) {
            return Some("nix-key").filter(counts);
        }
        // A path that is one file has the store's letters before its name.
        let is_login = LOGINS.iter().any(|login| name == *login || name.ends_with(&format!("-{login}")));
        if is_login && self.login.is_match(text) { Some("netrc").filter(counts) } else { None }
    }
}

/// The files below, in the order in which they are looked through, and how much that is.
fn files(root: &Path) -> io::Result<(Vec<PathBuf>, u64)> {
    let (mut left, mut files, mut size) = (vec![root.to_owned()], Vec::new(), 0);
    while let Some(path) = left.pop() {
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() {
            for entry in path.read_dir()? {
                left.push(entry?.path());
            }
        } else if metadata.is_file() {
            size += metadata.len();
            files.push(path);
        }
    }
    Ok((files, size))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Scanner;

    fn found(name: &str, text: &[u8]) -> Option<&'static str> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc").join(name), text).unwrap();
        Scanner::new(Vec::new()).scan(folder.path()).unwrap().map(|finding| finding.rule)
    }

    /// Put together here, so that no tool takes this file for a leak.
    fn secrets() -> Vec<(&'static str, &'static str, String)> {
        let letters = "aB3dE6gH9".repeat(12);
        let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ";
        vec![
            ("private-key", "key.pem", format!("x\n-----BEGIN {}PRIVATE KEY-----\n{body}\n", "RSA ")),
            ("private-key", "key", format!("-----BEGIN {} KEY-----\\n{body}", "PRIVATE")),
            (
                "private-key",
                "old.pem",
                format!("-----BEGIN EC {} KEY-----\nProc-Type: 4,ENCRYPTED\n\n{body}", "PRIVATE"),
            ),
            ("age-key", "keys.txt", format!("AGE-SECRET-KEY-{}{}", 1, "Q".repeat(58))),
            ("github-token", "run.sh", format!("token=gh{}_{}\n", 'p', &letters[..36])),
            ("github-token", "config", format!("github_{}_{}_{}", "pat", &letters[..22], &letters[..59])),
            ("gitlab-token", "x", format!("glpat{}{}", '-', &letters[..20])),
            ("aws-key", "credentials", format!("AKIA{}", "ABCDEFGH23456722")),
            ("npm-token", ".npmrc", format!("_authToken=npm{}{}", '_', &letters[..36])),
            ("stripe-key", "env", format!("sk_{}_{}", "live", &letters[..24])),
            ("google-key", "js", format!("AI{}{}", "za", &letters[..35])),
            ("slack-token", "js", format!("xox{}-123456789012-{}", 'b', &letters[..24])),
            ("nix-key", "secret", format!("cache-1:{}==\n", &letters[..86])),
            ("netrc", ".netrc", "machine example.org login me password hunter2\n".to_owned()),
        ]
    }

    #[test]
    fn every_kind_of_secret_is_found_wherever_it_lies_in_a_file() {
        for (rule, name, text) in secrets() {
            assert_eq!(found(name, text.as_bytes()), Some(rule), "{name}");
            if !["nix-key", "netrc"].contains(&rule) {
                for before in [3, super::BUFFER - 10, super::BUFFER - 60, 2 * super::BUFFER - 2100] {
                    let long = [vec![b'\n'; before], text.clone().into_bytes(), vec![0; 1 << 20]].concat();
                    assert_eq!(found(name, &long), Some(rule), "{name} after {before}");
                }
            }
        }
    }

    #[test]
    fn what_only_speaks_of_secrets_is_none() {
        for (name, text) in [
            ("ssh-keygen", "\0-----BEGIN OPENSSH PRIVATE KEY-----\n\0-----END OPENSSH PRIVATE KEY-----\n\0"),
            ("cert.pem", "-----BEGIN CERTIFICATE-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ\n"),
            ("README", "set a token: ghp_xxx, and AKIA... with npm_ before"),
            ("key.pub", "cache-1:JMOklPoimWJmRLllqRMtp5z+ZxUf3ELeYAzwkJfbgkc=\n"),
            ("netrc.5", "machine name login name password string"),
            (".netrc", "# nothing here yet"),
        ] {
            assert_eq!(found(name, text.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn a_false_alarm_is_allowed_by_rule_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let text = &secrets()[0].2;
        fs::write(folder.path().join("test-key.pem"), text).unwrap();
        let scan = |allowed: &str| {
            Scanner::new(vec![allowed.parse().unwrap()])
                .scan(folder.path())
                .unwrap()
                .map(|finding| finding.to_string())
        };
        assert_eq!(scan("private-key:test-.*[.]pem"), None);
        assert!(
            scan("private-key:other.pem").unwrap().contains("--allow-secret 'private-key:test\\-key\\.pem'")
        );
        assert!(scan("aws-key:.*").is_some());
        assert!("no-rule:x".parse::<super::Allowed>().unwrap_err().to_string().contains("private-key"));
        assert!("netrc".parse::<super::Allowed>().is_err() && "netrc:(".parse::<super::Allowed>().is_err());
    }
}
