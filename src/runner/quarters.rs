//! Where a runner and its jobs live: the user that they are, and the folders that are theirs.
//!
//! In an image these are always the same. On a host, where Nix's roots lead to these folders and the host's own collections
//! of garbage follow them, a folder must have one name for everybody: so they are values, and no constants.

use std::path::{Path, PathBuf};

use crate::contract::{self, env};

/// The numbers of an unprivileged user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

impl Ids {
    /// The image's own.
    pub const IMAGE: Self = Self { uid: contract::RUNNER_UID, gid: contract::RUNNER_UID };
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl std::str::FromStr for Ids {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let ids = given.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        match ids {
            // Jobs are never root.
            Some((uid, gid)) if uid > 0 && gid > 0 => Ok(Self { uid, gid }),
            _ => Err(format!("'{given}' is not two numbers above 0, UID:GID")),
        }
    }
}

/// One runner's.
#[derive(Debug, Clone)]
pub struct Quarters {
    /// What the user is called.
    pub user: String,
    pub ids: Ids,
    /// Empty when a job starts.
    pub home: PathBuf,
    /// The runner's root: its registration, work folder and logs.
    pub root: PathBuf,
    /// On a host, whose Nix store and whose GitHub runner are not of an image and not ours to change: the runner's folder.
    pub on_host: Option<PathBuf>,
}

impl Quarters {
    /// Those of an image, but for the root that is given.
    pub fn of_image(root: &Path) -> Self {
        Self {
            user: "runner".to_owned(),
            ids: Ids::IMAGE,
            home: contract::HOME.into(),
            root: root.to_owned(),
            on_host: None,
        }
    }

    /// Those in a folder of a host.
    pub fn of_host(folder: &Path, user: &str, ids: Ids) -> Self {
        Self {
            user: user.to_owned(),
            ids,
            home: folder.join("host/home"),
            root: folder.join("host/runner"),
            on_host: Some(folder.to_owned()),
        }
    }

    /// As the environment says.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, (&'static str, String, String)> {
        let Some(folder) = get(env::HOST_FOLDER) else {
            let root = get(env::RUNNER_ROOT).unwrap_or_else(|| contract::RUNNER_ROOT.to_owned());
            return Ok(Self::of_image(Path::new(&root)));
        };
        let given = get(env::HOST_USER).unwrap_or_default();
        let (user, ids) = given.split_once(':').unwrap_or((&given, ""));
        let ids = ids.parse().map_err(|why| (env::HOST_USER, given.clone(), why))?;
        Ok(Self::of_host(Path::new(&folder), user, ids))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Quarters};

    #[test]
    fn a_job_is_never_root() {
        for given in ["0:0", "0:5", "5:0", "", "5", "x:y", "-1:5"] {
            assert!(given.parse::<Ids>().is_err(), "{given}");
        }
        assert_eq!("998:997".parse::<Ids>().unwrap().to_string(), "998:997");
    }

    #[test]
    fn on_a_host_everything_is_in_the_runners_own_folder() {
        let quarters = Quarters::read(|name| match name {
            "VEGA_BUILDER_FOLDER" => Some("/var/lib/vega-builder/heavy".to_owned()),
            "VEGA_BUILDER_USER" => Some("vega-heavy:998:997".to_owned()),
            _ => None,
        })
        .unwrap();
        assert!(quarters.on_host.is_some() && quarters.root.ends_with("heavy/host/runner"));
        assert_eq!((quarters.user.as_str(), quarters.ids.gid), ("vega-heavy", 997));
    }
}
