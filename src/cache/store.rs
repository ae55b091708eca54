//! The Nix store that is pushed from: which paths it has, and where their content lies. Nix's own program is asked, so
//! that every store works that Nix can open.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    str::FromStr as _,
};

use harmonia_store_core::store_path::{StoreDir, StorePath};
use url::Url;

use super::{Error, PathInfo, info};
use crate::secrecy;

/// A store, as Nix's `--store` names it.
#[derive(Debug, Clone)]
pub struct Store {
    /// None: as Nix itself chooses.
    url: Option<String>,
    dir: StoreDir,
    /// Where its paths lie here; None for a store whose content only Nix can fetch.
    real: Option<PathBuf>,
    /// Whether Nix knows it: of one that is only looked at from outside, the files alone are at hand.
    is_known: bool,
}

/// An argument list of the kernel's has room for more; Nix walks a closure once per call.
const AT_ONCE: usize = 4000;

impl Store {
    pub fn open(url: Option<&str>) -> Self {
        let dir = StoreDir::default();
        let real = match url {
            None => Some(dir.to_path().to_owned()),
            Some(url) => real(url, &dir),
        };
        Self { url: url.map(str::to_owned), dir, real, is_known: true }
    }

    /// The files of another one's store, seen at this place.
    pub fn files(real: PathBuf) -> Self {
        Self { url: None, dir: StoreDir::default(), real: Some(real), is_known: false }
    }

    pub fn dir(&self) -> &StoreDir {
        &self.dir
    }

    /// The closure of what is named: store paths, links to them, or flakes that are built. References come first.
    pub fn closure(&self, wanted: &[String]) -> Result<Vec<PathInfo>, Error> {
        let mut all = BTreeMap::new();
        // An older Nix takes a derivation's path for its outputs, unless it is told.
        let (derivations, others): (Vec<&String>, Vec<&String>) =
            wanted.iter().partition(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "drv"));
        for (wanted, kind) in [(derivations, "--derivation"), (others, "--recursive")] {
            for part in wanted.chunks(AT_ONCE) {
                let mut command = self.nix(&["path-info", "--json", "--recursive", kind]);
                // What is not here is not pushed: no substituter is asked for it.
                command.args(["--option", "substitute", "false", "--"]).args(part);
                let name = "nix path-info --json --recursive";
                let infos = info::parse(&said(&mut command, name)?, &self.dir)
                    .map_err(|why| Error::Nix { command: name.to_owned(), why })?;
                all.extend(infos.into_iter().map(|info| (info.path.clone(), info)));
            }
        }
        Ok(references_first(all.into_values().collect()))
    }

    /// The store path that is named by its whole name, or by a link to it.
    pub fn named(&self, given: &str) -> Option<StorePath> {
        let of = |name: &str| {
            let base = name.strip_prefix(self.dir.to_str())?.trim_matches('/');
            StorePath::from_str(base).ok()
        };
        of(given).or_else(|| of(std::fs::read_link(given).ok()?.to_str()?))
    }

    /// Where a path's content lies, when it lies here.
    pub fn real(&self, path: &StorePath) -> Option<PathBuf> {
        self.real.as_ref().map(|folder| folder.join(path.to_string()))
    }

    /// The NAR as Nix makes it: for a store that is elsewhere, and for names that are not UTF-8.
    pub fn dump(&self, path: &StorePath) -> Result<Dump, Error> {
        let mut command = if let Some(real) = self.real(path).filter(|_| !self.is_known) {
            let mut command = self.command("nix-store");
            command.arg("--dump").arg(real);
            command
        } else {
            let mut command = self.nix(&["store", "dump-path"]);
            command.arg("--").arg(self.dir.display(path).to_string());
            command
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|why| missing(&why))?;
        let out = child.stdout.take().expect("it was asked for");
        Ok(Dump { child, out })
    }

    /// Hold the paths against a garbage collection for as long as `link` (and `link-2`, …) is there.
    pub fn hold(&self, paths: &[String], link: &Path) -> Result<(), Error> {
        if !self.is_known {
            // Whose store it is holds them.
            return Ok(());
        }
        let mut command = self.command("nix-store");
        command.args(["--realise", "--quiet", "--add-root"]).arg(link).arg("--indirect").args(paths);
        said(&mut command, "nix-store --add-root").map(drop)
    }

    fn nix(&self, verb: &[&str]) -> Command {
        let mut command = self.command("nix");
        command.args(["--extra-experimental-features", "nix-command flakes"]).args(verb);
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = secrecy::command(program);
        if let Some(url) = &self.url {
            command.args(["--store", url]);
        }
        command
    }
}

/// What `nix store dump-path` writes.
pub struct Dump {
    child: Child,
    out: ChildStdout,
}

impl std::io::Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.out.read(buffer)?;
        if length == 0 {
            let status = self.child.wait()?;
            if !status.success() {
                return Err(std::io::Error::other(format!("nix store dump-path ended with {status}")));
            }
        }
        Ok(length)
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the paths of a store lie on this machine, by its address.
fn real(url: &str, dir: &StoreDir) -> Option<PathBuf> {
    if let Some(root) = url.strip_prefix('/') {
        return Some(under(&format!("/{root}"), dir));
    }
    let (scheme, rest) = url.split_once([':', '?']).unwrap_or((url, ""));
    match scheme {
        "" | "auto" | "daemon" | "local" | "unix" => {}
        _ => return None,
    }
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = Url::parse(&format!("store:?{query}")).ok()?;
    let given =
        |key: &str| query.query_pairs().find(|(name, _)| name == key).map(|(_, value)| value.into_owned());
    if let Some(real) = given("real") {
        return Some(real.into());
    }
    let root =
        given("root").or_else(|| rest.strip_prefix("//").filter(|_| scheme == "local").map(str::to_owned));
    Some(
        root.filter(|root| !root.is_empty())
            .map_or_else(|| dir.to_path().to_owned(), |root| under(&root, dir)),
    )
}

fn under(root: &str, dir: &StoreDir) -> PathBuf {
    Path::new(root).join(dir.to_str().trim_start_matches('/'))
}

fn said(command: &mut Command, name: &str) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| missing(&why))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let reason = text.lines().rev().find(|line| line.contains("error")).or(text.lines().next_back());
    let why = reason.unwrap_or("no reason given").trim().to_owned();
    let why = why.trim_start_matches("error: ").to_owned();
    Err(Error::Nix { command: name.to_owned(), why })
}

fn missing(why: &std::io::Error) -> Error {
    let why = match why.kind() {
        std::io::ErrorKind::NotFound => "it is not installed, or not on the PATH".to_owned(),
        _ => why.to_string(),
    };
    Error::Nix { command: "nix".to_owned(), why }
}

/// Every path behind those that it refers to.
pub(super) fn references_first(infos: Vec<PathInfo>) -> Vec<PathInfo> {
    let at: HashMap<StorePath, usize> =
        infos.iter().enumerate().map(|(at, info)| (info.path.clone(), at)).collect();
    let mut state = vec![0_u8; infos.len()];
    let mut order = Vec::with_capacity(infos.len());
    // Closures are deep: no recursion.
    let mut stack: Vec<(usize, bool)> = (0..infos.len()).rev().map(|at| (at, false)).collect();
    while let Some((index, is_done)) = stack.pop() {
        if is_done {
            order.push(index);
            continue;
        }
        if std::mem::replace(&mut state[index], 1) == 1 {
            continue;
        }
        stack.push((index, true));
        stack.extend(infos[index].others().filter_map(|path| at.get(path)).map(|index| (*index, false)));
    }
    let mut infos: Vec<Option<PathInfo>> = infos.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| infos[index].take()).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use harmonia_store_core::store_path::StoreDir;
    use harmonia_utils_hash::Sha256;

    use super::{PathInfo, real, references_first};

    #[test]
    fn the_place_of_a_stores_paths_is_known_by_its_address() {
        let at = |url: &str| real(url, &StoreDir::default());
        let here = Some(PathBuf::from("/nix/store"));
        assert_eq!(
            (at("auto"), at("daemon"), at("local"), at("unix:///x")),
            (here.clone(), here.clone(), here.clone(), here)
        );
        for url in ["local?root=/tmp/x", "/tmp/x", "local:///tmp/x", "local://?root=/tmp/x&y=1"] {
            assert_eq!(at(url), Some("/tmp/x/nix/store".into()), "{url}");
        }
        assert_eq!(at("local?root=/a&real=/b/c"), Some("/b/c".into()));
        assert_eq!((at("ssh-ng://host"), at("https://cache.example.org")), (None, None));
    }

    #[test]
    fn references_come_before_what_refers_to_them() {
        let path = |letter: &str| format!("{}-{letter}", letter.repeat(32)).parse().unwrap();
        let info = |letter: &str, references: &[&str]| PathInfo {
            path: path(letter),
            nar_hash: Sha256::digest(letter),
            nar_size: 0,
            references: references.iter().map(|name| path(name)).collect::<BTreeSet<_>>(),
            deriver: None,
            ca: None,
            signatures: Vec::new(),
        };
        let sorted = references_first(vec![
            info("a", &["a", "b", "c"]),
            info("b", &["c"]),
            info("c", &[]),
            info("d", &["a"]),
        ]);
        let names: Vec<_> = sorted.iter().map(|info| info.path.name().to_string()).collect();
        assert_eq!(names, ["c", "b", "a", "d"]);
    }
}
