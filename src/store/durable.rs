//! A power cut, and what it may have taken. Nix notes a path as valid before the disk has its content: what was built
//! within the last moments may be empty files afterwards, and Nix would hand them out for good.
//!
//! So the disk is waited for after every job, and the time is noted; after a crash of the host every path that is younger
//! than that note is compared with its hash, and goes when it differs.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Stdio,
};

use jiff::Timestamp;
use nix::unistd::syncfs;

use super::{
    Error,
    nix::{nix_store, run},
};
use crate::{
    contract,
    runner::{say, user},
};

const NOTE: &str = "/nix/var/nix/vega-builder-synced";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Clocks count whole seconds here.
const SLACK: i64 = 2;

/// When the disk was last waited for, and in which life of the host.
#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    boot: String,
    time: i64,
}

/// Wait until all of the store is on the disk.
pub fn flush() -> Result<(), Error> {
    let volume = Path::new(contract::STORE_MOUNT);
    File::open(volume).and_then(|volume| Ok(syncfs(volume)?)).map_err(|why| Error::file(volume, why))
}

/// The same, and note it: what is younger than the note is looked at after a crash.
pub fn sync() -> Result<(), Error> {
    let time = Timestamp::now().as_second();
    flush()?;
    let note = || -> std::io::Result<()> {
        let beside = format!("{NOTE}.new");
        let text = serde_json::to_string(&Note { boot: fs::read_to_string(BOOT)?, time })?;
        fs::write(&beside, text)?;
        File::open(&beside)?.sync_all()?;
        fs::rename(&beside, NOTE)
    };
    note().map_err(|why| Error::file(NOTE, why))
}

/// After the host went down under us: every path that the disk may not have had is whole, or gone.
pub fn mend() -> Result<(), Error> {
    let note = fs::read(NOTE).ok().and_then(|text| serde_json::from_slice::<Note>(&text).ok());
    let boot = fs::read_to_string(BOOT).map_err(|why| Error::file(BOOT, why))?;
    let Some(note) = note.filter(|note| note.boot != boot) else { return Ok(()) };
    for path in younger_than(note.time - SLACK)? {
        if nix_store(&["--verify-path", &path], Stdio::null()).is_ok() {
            continue;
        }
        // It went with another one already, which it was built from.
        if nix_store(&["--check-validity", &path], Stdio::null()).is_err() {
            continue;
        }
        say(&format!(
            "{path} is damaged, as a power cut leaves it: it is removed, and built again when it is needed"
        ));
        // What refers to it was built from it.
        let all = nix_store(&["--query", "--referrers-closure", &path], Stdio::null())?;
        let arguments: Vec<&str> = ["--delete", "--ignore-liveness"].into_iter().chain(all.lines()).collect();
        nix_store(&arguments, Stdio::null())?;
    }
    Ok(())
}

/// What is known of a path, as far as it matters here.
#[derive(serde::Deserialize)]
struct Known {
    path: Option<String>,
    #[serde(rename = "registrationTime")]
    registered: Option<i64>,
}

fn younger_than(time: i64) -> Result<Vec<String>, Error> {
    let mut command = user::as_root("nix");
    command.args(["--extra-experimental-features", "nix-command", "path-info", "--all", "--json"]);
    let text = run(command.stdin(Stdio::null()), "nix path-info --all")?;
    let refuse = |why: serde_json::Error| Error::Nix {
        command: "nix path-info --all".to_owned(),
        why: why.to_string(),
    };
    paths(&text, time).map_err(refuse)
}

/// A list of objects with their paths, or, since Nix 2.19, an object by path.
fn paths(text: &str, time: i64) -> serde_json::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Told {
        List(Vec<Known>),
        ByPath(BTreeMap<String, Option<Known>>),
    }
    let all: Vec<(Option<String>, Option<i64>)> = match serde_json::from_str(text)? {
        Told::List(list) => list.into_iter().map(|one| (one.path, one.registered)).collect(),
        Told::ByPath(map) => {
            map.into_iter().map(|(path, one)| (Some(path), one.and_then(|one| one.registered))).collect()
        }
    };
    let is_young = |registered: Option<i64>| registered.is_none_or(|registered| registered >= time);
    Ok(all.into_iter().filter(|(_, registered)| is_young(*registered)).filter_map(|(path, _)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::paths;

    #[test]
    fn young_paths_are_found_in_what_older_and_newer_nix_tell() {
        let list = r#"[{"path": "/nix/store/a", "registrationTime": 10}, {"path": "/nix/store/b", "registrationTime": 20, "x": 1}]"#;
        assert_eq!(paths(list, 15).unwrap(), ["/nix/store/b"]);
        let map = r#"{"/nix/store/a": {"registrationTime": 10}, "/nix/store/b": {"registrationTime": 15}, "/nix/store/c": null}"#;
        assert_eq!(paths(map, 15).unwrap(), ["/nix/store/b", "/nix/store/c"]);
        assert!(paths("nonsense", 0).is_err());
    }
}
