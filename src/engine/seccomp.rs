//! The seccomp profile: the engine's own default, with the two calls more that Nix's build sandbox needs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Error;

/// Where an administrator (or the NixOS module) puts the default profile, and where containers-common does.
const PLACES: &[&str] =
    &["/etc/vega-builder/seccomp.json", "/usr/share/containers/seccomp.json", "/etc/containers/seccomp.json"];
/// A build sandbox names its own host; in its own UTS namespace that touches nobody else.
const ALLOWED_MORE: &[&str] = &["sethostname", "setdomainname"];

/// A profile derived from the host's default.
pub struct SeccompProfile(Value);

impl std::fmt::Display for SeccompProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl SeccompProfile {
    /// Derive the profile from the first default that is there.
    pub fn from_host() -> Result<Self, Error> {
        let path = PLACES.iter().map(Path::new).find(|path| path.exists()).unwrap_or(Path::new(PLACES[0]));
        let unusable = |why: String| Error::Seccomp { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|why| unusable(why.to_string()))?;
        let profile = serde_json::from_str(&text).map_err(|why| unusable(why.to_string()))?;
        Self::derive(profile).map_err(unusable)
    }

    fn derive(mut profile: Value) -> Result<Self, String> {
        if profile["defaultAction"] != "SCMP_ACT_ERRNO" {
            return Err("its default is not to refuse".to_owned());
        }
        let rules = profile["syscalls"].as_array_mut().ok_or("it has no list of system calls")?;
        for rule in rules.iter_mut().filter(|rule| rule["action"] != "SCMP_ACT_ALLOW") {
            if let Some(names) = rule["names"].as_array_mut() {
                names.retain(|name| !ALLOWED_MORE.iter().any(|more| name == more));
            }
        }
        rules.retain(|rule| rule["names"].as_array().is_none_or(|names| !names.is_empty()));
        rules.push(json!({ "names": ALLOWED_MORE, "action": "SCMP_ACT_ALLOW" }));
        Ok(Self(profile))
    }

    /// Write the profile whole, unless it is there already.
    pub fn write(&self, path: &Path) -> Result<PathBuf, Error> {
        let unusable = |why: std::io::Error| Error::Seccomp { path: path.to_owned(), why: why.to_string() };
        let text = self.0.to_string();
        if fs::read_to_string(path).is_ok_and(|present| present == text) {
            return Ok(path.to_owned());
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file = tempfile::NamedTempFile::new_in(folder).map_err(unusable)?;
        fs::write(file.path(), text).map_err(unusable)?;
        file.persist(path).map_err(|error| unusable(error.error))?;
        Ok(path.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::SeccompProfile;

    #[test]
    fn two_calls_move_from_refused_to_allowed_and_nothing_else() {
        let default = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                { "names": ["bpf", "sethostname"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["setdomainname"], "action": "SCMP_ACT_ERRNO" },
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
            ],
        });
        let derived = SeccompProfile::derive(default).unwrap().0;
        assert_eq!(
            derived["syscalls"],
            json!([
                { "names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_ADMIN"] } },
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["sethostname", "setdomainname"], "action": "SCMP_ACT_ALLOW" },
            ])
        );
    }

    #[test]
    fn a_profile_that_allows_by_default_is_not_taken() {
        let open: Value = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [] });
        assert!(SeccompProfile::derive(open).is_err());
    }
}
