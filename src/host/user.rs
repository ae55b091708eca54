use std::path::Path;

use nix::unistd::User;
use sha2::{Digest as _, Sha256};

use super::Error;
use crate::{runner::Ids, secrecy, value::RunnerName};

/// The user that one runner's jobs are: of nothing else, so that what is left of a job can be told by its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsUser {
    pub name: String,
}

/// What systemd takes.
const LONGEST: usize = 31;
/// What is left of a long name, before what tells it from others.
const STEM: usize = 20;
/// The full name; by it we know ours.
const FULL_NAME: &str = "GitHub Actions jobs (vega-builder)";

impl JobsUser {
    pub fn of(runner: &RunnerName) -> Self {
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' };
        let name: String = runner.as_str().chars().map(plain).collect();
        let name = if name.starts_with("vega-") { name } else { format!("vega-{name}") };
        // Two runners never share a user, however alike their names are.
        if name == runner.as_str() && name.len() <= LONGEST {
            return Self { name };
        }
        let hash = Sha256::digest(runner.as_str());
        let stem: String = name.chars().take(STEM).collect();
        Self {
            name: format!(
                "{}-{:08x}",
                stem.trim_end_matches('-'),
                u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
            ),
        }
    }

    /// As systemd-sysusers reads it. Their home is where they find it themselves: ssh asks for no variable.
    pub fn sysusers(&self, home: &Path) -> String {
        format!("# vega-builder\nu {} - \"{FULL_NAME}\" {}\n", self.name, home.display())
    }

    /// Whether it is there; one of that name that is not ours is an error.
    pub fn exists(&self) -> Result<bool, Error> {
        match User::from_name(&self.name).ok().flatten() {
            None => Ok(false),
            Some(user) if user.gecos.to_string_lossy() == FULL_NAME => Ok(true),
            Some(_) => Err(Error::UserTaken(self.name.clone())),
        }
    }

    /// Take it away; what it still owns somewhere is nobody's then.
    pub fn remove(&self) -> Result<(), String> {
        // Another user may be given this one's number.
        for folder in ["profiles", "gcroots"] {
            let _ = std::fs::remove_dir_all(
                Path::new("/nix/var/nix").join(folder).join("per-user").join(&self.name),
            );
        }
        let output = secrecy::command("userdel").arg(&self.name).output().map_err(|why| why.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    pub fn ids(&self) -> Result<Ids, Error> {
        let user = User::from_name(&self.name).ok().flatten();
        let user = user.ok_or_else(|| Error::NoUser(self.name.clone()))?;
        if user.uid.is_root() || user.gid.as_raw() == 0 {
            return Err(Error::RootUser(self.name.clone()));
        }
        Ok(Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
    }
}

#[cfg(test)]
mod tests {
    use super::{JobsUser, LONGEST};

    fn user(runner: &str) -> String {
        JobsUser::of(&runner.parse().unwrap()).name
    }

    #[test]
    fn no_two_runners_have_one_user_and_nobody_elses_name() {
        assert_eq!(user("vega-heavy"), "vega-heavy");
        let names = ["vega-heavy", "vega-Heavy", "vega.heavy", "vega_heavy", "heavy", "postgres", "root"];
        let long = ["vega-a-name-that-is-longer-than-that-one", "vega-a-name-that-is-longer-than-that-two"];
        let mut users: Vec<_> = names.iter().chain(&long).map(|name| user(name)).collect();
        for user in &users {
            assert!(user.starts_with("vega-") && user.len() <= LONGEST, "{user}");
            assert!(user.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{user}");
        }
        users.sort();
        users.dedup();
        assert_eq!(users.len(), names.len() + long.len());
    }
}
