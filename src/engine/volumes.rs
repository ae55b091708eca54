//! Volumes: the Nix store and the saved registration, which outlive their container.

use std::path::PathBuf;

use super::{Cli, Container, Error, cli::Answer, container::INSTANCE_LABEL, containers::ulimits};
use crate::{contract, value::RunnerName};

impl Cli {
    pub fn has_volume(&self, volume: &str) -> Result<bool, Error> {
        Ok(matches!(self.ask(&["volume", "inspect", volume], &["no such volume"])?, Answer::Is(_)))
    }

    /// Where a volume's files lie on this host.
    pub fn volume_place(&self, volume: &str) -> Result<Option<PathBuf>, Error> {
        let arguments = ["volume", "inspect", "--format", "{{.Mountpoint}}", volume];
        Ok(match self.ask(&arguments, &["no such volume"])? {
            Answer::Is(output) => Some(String::from_utf8_lossy(&output.stdout).trim_end().into()),
            Answer::IsNot => None,
        })
    }

    /// Where they lie on this host, those that are still to be made among them.
    pub fn volume_will_be_at(&self, volume: &str) -> Result<PathBuf, Error> {
        let folder: PathBuf = self.run(&["info", "--format", self.engine.volumes_folder()])?.into();
        Ok(folder.join(volume).join("_data"))
    }

    /// Make a volume; one that is there stays.
    pub fn make_volume(&self, volume: &str, instance: &RunnerName) -> Result<(), Error> {
        if self.has_volume(volume)? { Ok(()) } else { self.new_volume(volume, instance) }
    }

    /// The same of a name that nothing has had.
    pub fn new_volume(&self, volume: &str, instance: &RunnerName) -> Result<(), Error> {
        let label = format!("--label={INSTANCE_LABEL}={instance}");
        self.run(&["volume", "create", &label, volume]).map(drop)
    }

    /// The names of all volumes that begin with `prefix`: one question instead of one for each.
    pub fn volumes(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let list = self.run(&["volume", "ls", "--quiet", "--filter", &format!("name={prefix}")])?;
        // The filter is a part of the name for one engine, an expression for the other.
        Ok(list.lines().filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// Remove a volume; one that is not there is no error.
    pub fn remove_volume(&self, volume: &str) -> Result<(), Error> {
        self.ask(&["volume", "rm", volume], &["no such volume"]).map(drop)
    }

    /// Add the store paths of the image to a store that an earlier image filled, in a one-shot container of
    /// the same verified image. (An empty volume needs none: the engine fills it at the first start.)
    pub fn seed(&self, container: &Container) -> Result<(), Error> {
        self.seed_into(&container.store_volume(), container)
    }

    /// The same with another volume.
    pub(super) fn seed_into(&self, volume: &str, container: &Container) -> Result<(), Error> {
        let name = container.seeder_name();
        // One that a crash left running would write to the same places.
        self.remove(&name)?;
        let mut arguments = vec![
            "run".to_owned(),
            "--rm".to_owned(),
            format!("--name={name}"),
            "--pull=never".to_owned(),
            "--network=none".to_owned(),
            format!("--memory={}", container.caps.memory.0),
            format!("--memory-swap={}", container.caps.memory.0),
            format!("--pids-limit={}", container.caps.pids),
            format!("--entrypoint={}", contract::PROGRAM),
            format!("--volume={volume}:{}", contract::SEED_MOUNT),
        ];
        arguments.extend(ulimits());
        arguments.extend(self.privileges(container));
        arguments.push(container.local_id.clone());
        arguments.extend(
            ["seed", "--from", contract::STORE_MOUNT, "--to", contract::SEED_MOUNT].map(str::to_owned),
        );
        self.run(&arguments).map(drop)
    }
}
