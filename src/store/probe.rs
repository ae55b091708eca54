//! The proof that builds run in Nix's sandbox: a real build, whose builder looks around and tells.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{OpenOptionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

use super::{Error, nix::run};
use crate::{
    contract,
    runner::{Ids, Quarters, user},
};

const BARE: &str = "bare";
const SANDBOXED: &str = "sandboxed";
/// Where the probe's folders are made: root's, and no job's.
const PLACE: &str = "/run/vega-builder";
const ROOTS: &str = "/nix/var/nix/gcroots/vega-builder";

/// Build a derivation through the daemon, as a job would, and report whether it was sandboxed.
///
/// As a job would, but with nothing of a job's: the settings in a home folder that jobs write to can load
/// code into Nix, and that would forge the proof.
pub fn probe(quarters: &Quarters) -> Result<bool, Error> {
    let program = user::this_program();
    let program = run(user::as_root("nix-store").arg("--add").arg(program), "nix-store --add")?;
    let program = program.trim();
    let _held = Held::new(program);
    // Its own name each time: a result that is there already would prove nothing of today.
    let name = format!("sandbox-probe-{}", jiff::Timestamp::now().as_nanosecond());
    let expression = format!(
        "derivation {{ name = \"{name}\"; system = builtins.currentSystem; \
         builder = builtins.storePath \"{program}\"; args = [ \"sandbox-witness\" ]; }}"
    );
    let home = empty_home(quarters.ids)?;
    let mut build = user::as_runner(quarters, "nix-build");
    build.env("HOME", home.path()).env("NIX_USER_CONF_FILES", "/dev/null").current_dir(home.path()).args([
        "--no-out-link",
        "--option",
        "substitute",
        "false",
        "-E",
        &expression,
    ]);
    let output = run(&mut build, "nix-build").map_err(|error| match error {
        Error::Nix { why, .. } if !super::lacks_space(&why) => Error::NoSandbox(why),
        other => other,
    })?;
    let told = read(&result(&output, &name)?)?;
    Ok(told == SANDBOXED)
}

/// A root for as long as it is there: where little is free, Nix collects garbage as soon as it builds.
struct Held(PathBuf);

impl Held {
    fn new(path: &str) -> Self {
        // A host's other runners have theirs.
        let root = Path::new(ROOTS).join(format!("probe-{}", std::process::id()));
        let hold = || -> std::io::Result<()> {
            fs::create_dir_all(ROOTS)?;
            let _ = fs::remove_file(&root);
            symlink(path, &root)
        };
        // Without it the probe works as well, where enough is free.
        let _ = hold();
        Self(root)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Nix takes a home folder only of its own user; this one is new and empty, and nobody else of that user
/// lives while it is there.
fn empty_home(ids: Ids) -> Result<tempfile::TempDir, Error> {
    let make = || -> std::io::Result<tempfile::TempDir> {
        fs::create_dir_all(PLACE)?;
        let home = tempfile::Builder::new().prefix("probe-").tempdir_in(PLACE)?;
        chown(home.path(), Some(ids.uid), Some(ids.gid))?;
        Ok(home)
    };
    make().map_err(|why| Error::file(PLACE, why))
}

/// The one path that a build of this name gives; anything else on the output is not Nix's.
fn result(output: &str, name: &str) -> Result<PathBuf, Error> {
    let path = output.strip_suffix('\n').unwrap_or(output);
    let hash = path.strip_prefix("/nix/store/").and_then(|rest| rest.strip_suffix(name)?.strip_suffix('-'));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if hash.is_some_and(|hash| hash.len() == 32 && hash.bytes().all(plain)) {
        Ok(path.into())
    } else {
        Err(Error::NoSandbox(format!("the probe's build answered {path:?}, which is no result of its own")))
    }
}

fn read(path: &Path) -> Result<String, Error> {
    let open = || -> std::io::Result<String> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("this is no plain file"));
        }
        let mut told = String::new();
        file.take(64).read_to_string(&mut told)?;
        Ok(told)
    };
    open().map_err(|why| Error::file(path, why))
}

/// The builder's part: what of the container can be seen from here? In the sandbox, nothing.
pub fn witness() -> Result<(), Error> {
    let out = std::env::var_os("out").ok_or(Error::NoClosure("out"))?;
    let visible = [contract::PROGRAM, contract::JOB_STARTED_HOOK, contract::HOME, "/nix/var/nix"];
    let told = if visible.iter().any(|path| Path::new(path).exists()) { BARE } else { SANDBOXED };
    fs::write(&out, told).map_err(|why| Error::file(&out, why))
}

#[cfg(test)]
mod tests {
    use super::{read, result};

    #[test]
    fn only_the_probes_own_result_is_a_proof() {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        let good = format!("/nix/store/{hash}-sandbox-probe-7\n");
        assert!(result(&good, "sandbox-probe-7").is_ok());
        for forged in [
            format!("/nix/store/{hash}-sandbox-probe-6\n"),
            "/nix/store/../../home/x-sandbox-probe-7\n".to_owned(),
            format!("/home/runner/{hash}-sandbox-probe-7"),
            format!("warning\n{good}"),
            format!("{good}{good}"),
            String::new(),
        ] {
            assert!(result(&forged, "sandbox-probe-7").is_err(), "{forged:?}");
        }
    }

    #[test]
    fn a_link_and_a_pipe_are_no_proof() {
        let folder = tempfile::tempdir().unwrap();
        let (link, pipe) = (folder.path().join("link"), folder.path().join("pipe"));
        std::os::unix::fs::symlink("/proc/self/status", &link).unwrap();
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&link).is_err() && read(&pipe).is_err());
    }
}
