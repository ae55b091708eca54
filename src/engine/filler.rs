//! The one-shot container that fetches from caches what jobs had from them: none of theirs, and no job is ever in it.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use harmonia_store_core::store_path::StorePath;

use nix::{dir::Dir, errno::Errno, fcntl::OFlag, sys::stat::Mode};

use super::{
    Cli, Container, Error,
    container::INSTANCE_LABEL,
    containers::ulimits,
    layers::{layer_volume, upper},
};
use crate::{
    contract,
    value::{ByteSize, RunnerName},
};

/// What fetching takes at most, beside the jobs: their slice is wider by it.
pub const FILLER: (ByteSize, u32) = (ByteSize::gib(1), 64);
const CPUS: &str = "1";
/// Should the slice be full all the same, it is no job's process that goes.
const GOES_FIRST: u32 = 1000;
/// More paths than a job has, recipes and all; and no more names of a hostile one's are looked at, or asked for.
const ENTRIES: usize = 200_000;
pub const MOST_NAMES: usize = 20_000;
/// In the folder of its layer, beside what it adds.
const WANTED: &str = "wanted";

/// What was fetched.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Filled {
    /// The names of all store paths that Nix knows in there.
    pub fetched: Vec<String>,
    /// Why there was no room for more.
    pub full: Option<String>,
}

impl Cli {
    /// Fetch the store paths that are named into a store that was laid, for so long at most; ended when the future is
    /// dropped, but for the container.
    pub async fn fill(
        &self,
        filler: &Container,
        wanted: &[String],
        within: Duration,
    ) -> Result<Filled, Error> {
        let volume = layer_volume(&filler.name);
        let list = self.place_of(&volume)?.join(WANTED);
        let write = || {
            fs::write(&list, wanted.join("\n"))?;
            // Its root is nobody here.
            fs::set_permissions(&list, fs::Permissions::from_mode(0o644))
        };
        write().map_err(|why| Error::Volume { volume, why })?;
        let mut arguments: Vec<String> =
            ["run", "--rm", "--pull=never", "--log-driver=none"].map(str::to_owned).to_vec();
        let memory = filler.caps.memory.0.min(FILLER.0.0);
        arguments.extend([
            format!("--name={}", filler.name),
            format!("--label={INSTANCE_LABEL}={}", filler.instance()),
            format!("--memory={memory}"),
            format!("--memory-swap={memory}"),
            format!("--cpus={CPUS}"),
            format!("--pids-limit={}", FILLER.1),
            format!("--oom-score-adj={GOES_FIRST}"),
            format!("--entrypoint={}", contract::PROGRAM),
            format!("--volume={}:{}", filler.store_volume(), contract::STORE_MOUNT),
            format!(
                "--mount=type=bind,source={},destination={},readonly{}",
                list.display(),
                contract::WANTED,
                self.engine.mount_options()
            ),
        ]);
        arguments.extend(filler.slice.iter().map(|slice| format!("--cgroup-parent={slice}")));
        arguments.extend(filler.network.iter().map(|network| format!("--network={network}")));
        arguments.extend(filler.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        arguments.extend(ulimits());
        arguments.extend(self.privileges(filler));
        arguments.extend([filler.local_id.clone(), "fill".to_owned()]);
        arguments.push(format!("--within={}", within.as_secs()));
        let said = self.run_long(&arguments).await?;
        let answer = said.lines().next_back().unwrap_or_default();
        let mut told: Filled = serde_json::from_str(answer).map_err(|why| Error::Failed {
            command: self.command_line(&arguments),
            why: format!("it said '{answer}': {why}"),
        })?;
        // Whatever a network's data could have made of it: these become parts of paths.
        told.fetched.retain(|name| name.parse::<StorePath>().is_ok());
        Ok(told)
    }

    /// The names in the store of a job that its base has not, of those that are `wanted`.
    pub fn added_names(&self, job: &RunnerName, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
        let volume = layer_volume(job);
        let Some(place) = self.volume_place(&volume)? else { return Ok(Vec::new()) };
        names(&upper(&place).join("store"), wanted).map_err(|why| Error::Volume { volume, why })
    }
}

/// Whatever somebody could have made of that folder, these are names in it, and so many at most.
fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let mut folder = match Dir::open(folder, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::ENOENT) => return Ok(Vec::new()),
        Err(why) => return Err(why.into()),
    };
    let entries = folder.iter().filter_map(Result::ok).take(ENTRIES);
    let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
    Ok(names.filter(|name| wanted(name)).take(MOST_NAMES).collect())
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
        let all = |_: &str| true;
        assert_eq!(names(&store, all).unwrap(), Vec::<String>::new());
        symlink("/etc", &store).unwrap();
        assert!(names(&store, all).is_err());
        fs::remove_file(&store).unwrap();
        fs::create_dir(&store).unwrap();
        for name in [&b"one"[..], b"two", b"\xff\xfe"] {
            fs::write(store.join(OsStr::from_bytes(name)), "").unwrap();
        }
        assert_eq!(names(&store, |name| name == "one").unwrap(), ["one"]);
        assert_eq!(names(&store, all).unwrap().len(), 4);
    }
}
