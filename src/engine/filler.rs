//! The one-shot container that fetches from caches what jobs had from them: none of theirs, and no job is ever in it.

use std::{fs, io, path::Path};

use nix::{dir::Dir, errno::Errno, fcntl::OFlag, sys::stat::Mode};

use super::{
    Cli, Container, Error,
    container::INSTANCE_LABEL,
    containers::ulimits,
    layers::{layer_volume, upper},
};
use crate::{contract, value::RunnerName};

/// What fetching takes at most, beside the jobs.
const MEMORY: u64 = 2 << 30;
const CPUS: &str = "1";
const PIDS: u32 = 256;
/// In the folder of its layer, beside what it adds.
const WANTED: &str = "wanted";

/// What was fetched.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Filled {
    /// The names of store paths.
    pub fetched: Vec<String>,
    /// Why there was no room for more.
    pub full: Option<String>,
}

impl Cli {
    /// Fetch the store paths that are named into a store that was laid; ended when the future is dropped, but for the
    /// container.
    pub async fn fill(&self, filler: &Container, wanted: &[String]) -> Result<Filled, Error> {
        let volume = layer_volume(&filler.name);
        let list = self.place_of(&volume)?.join(WANTED);
        fs::write(&list, wanted.join("\n")).map_err(|why| Error::Volume { volume, why })?;
        let mut arguments: Vec<String> =
            ["run", "--rm", "--pull=never", "--log-driver=none"].map(str::to_owned).to_vec();
        let memory = filler.caps.memory.0.min(MEMORY);
        arguments.extend([
            format!("--name={}", filler.name),
            format!("--label={INSTANCE_LABEL}={}", filler.instance()),
            format!("--memory={memory}"),
            format!("--memory-swap={memory}"),
            format!("--cpus={CPUS}"),
            format!("--pids-limit={PIDS}"),
            format!("--entrypoint={}", contract::PROGRAM),
            format!("--volume={}:{}", filler.store_volume(), contract::STORE_MOUNT),
            format!(
                "--mount=type=bind,source={},destination={},readonly{}",
                list.display(),
                contract::WANTED,
                self.engine.mount_options()
            ),
        ]);
        let slice = filler.slot.iter().filter_map(|slot| slot.slice.as_ref());
        arguments.extend(slice.map(|slice| format!("--cgroup-parent={slice}")));
        arguments.extend(filler.network.iter().map(|network| format!("--network={network}")));
        arguments.extend(filler.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        arguments.extend(ulimits());
        arguments.extend(self.privileges(filler));
        arguments.extend([filler.local_id.clone(), "fill".to_owned()]);
        let said = self.run_long(&arguments).await?;
        let told = said.lines().next_back().unwrap_or_default();
        serde_json::from_str(told).map_err(|why| Error::Failed {
            command: self.command_line(&arguments),
            why: format!("it said '{told}': {why}"),
        })
    }

    /// The names in the store of a job that its base has not.
    pub fn added_names(&self, job: &RunnerName, most: usize) -> Result<Vec<String>, Error> {
        let volume = layer_volume(job);
        let Some(place) = self.volume_place(&volume)? else { return Ok(Vec::new()) };
        names(&upper(&place).join("store"), most).map_err(|why| Error::Volume { volume, why })
    }
}

/// Whatever somebody could have made of that folder, these are names in it, and so many at most.
fn names(folder: &Path, most: usize) -> io::Result<Vec<String>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut folder = match Dir::open(folder, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        Err(why) => return Err(why.into()),
    };
    let names = folder.iter().filter_map(Result::ok).take(most);
    Ok(names.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsStr,
        fs,
        os::unix::{ffi::OsStrExt as _, fs::symlink},
    };

    use super::names;

    #[test]
    fn a_store_that_somebody_turned_into_a_link_is_not_followed_and_a_name_without_letters_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        assert_eq!(names(&store, 9).unwrap(), Vec::<String>::new());
        symlink("/etc", &store).unwrap();
        assert!(names(&store, 9).is_err());
        fs::remove_file(&store).unwrap();
        fs::create_dir(&store).unwrap();
        for name in [&b"one"[..], b"\xff\xfe"] {
            fs::write(store.join(OsStr::from_bytes(name)), "").unwrap();
        }
        let found = names(&store, 9).unwrap();
        assert!(
            found.contains(&"one".to_owned())
                && found.iter().all(|name| [".", "..", "one"].contains(&name.as_str()))
        );
        assert_eq!(names(&store, 1).unwrap().len(), 1);
    }
}
