//! What a job wrote outside of its work folder is gone before the next one starts: a home folder's settings
//! would otherwise steer it.
//!
//! Called while no process of the runner's user lives, so nothing changes underneath.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Quarters, Vault, children, say, user};
use crate::host::Folders;

/// Where everybody may write; what belongs to others there stays.
const SHARED: [&str; 5] = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/dev/mqueue"];
/// Where nix-daemon lets a user write.
const PER_USER: [&str; 2] = ["/nix/var/nix/profiles/per-user", "/nix/var/nix/gcroots/per-user"];
/// For `rm`, where a tree is too deep for us.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the runner's own logs may take together, and those of builds. Whoever runs a job can write there as well.
const LOGS: u64 = 64 << 20;
/// An empty file takes this much too: an inode, and a place in a folder.
const LEAST: u64 = 4096;
const BUILD_LOGS: &str = "/nix/var/log/nix/drvs";

/// Empty everything that the runner's user can write, but for the runner's own logs.
pub fn tidy(vault: &Vault) {
    let Quarters { user, ids, home, root, on_host } = vault.quarters();
    clear(home, |entry| entry.path() != *root);
    let _ = chown(home, Some(ids.uid), Some(ids.gid));
    let _ = fs::set_permissions(home, fs::Permissions::from_mode(0o755));
    clear(&vault.work(), |_| true);
    clear(&vault.logs(), |entry| {
        let log = entry.path().extension().is_some_and(|extension| extension == "log");
        !(log && entry.file_type().is_ok_and(|kind| kind.is_file()))
    });
    keep_newest(&[vault.logs()], LOGS);
    // Nix keeps what every build has printed; a build may print without end. A host's are the host's.
    if let Some(folder) = on_host {
        clear(&Folders(folder.clone()).builds(), |_| true);
    } else {
        let of_builds = fs::read_dir(BUILD_LOGS).into_iter().flatten().flatten();
        keep_newest(&of_builds.map(|entry| entry.path()).collect::<Vec<_>>(), LOGS);
    }
    forget_shared(vault.quarters());
    for folder in PER_USER {
        clear(&Path::new(folder).join(user), |_| true);
    }
    for folder in SHARED {
        let jobs = |entry: &fs::DirEntry| entry.metadata().is_ok_and(|found| found.uid() == ids.uid);
        clear(Path::new(folder), jobs);
    }
}

/// What processes share by number (System V's memory, semaphores and queues) lies in no folder, and outlives them. Its owner
/// alone may remove it; on a host it went with its job's namespace.
fn forget_shared(quarters: &Quarters) {
    let is_any = |kind: &str| {
        let list = fs::read_to_string(Path::new("/proc/sysvipc").join(kind)).unwrap_or_default();
        // One line of headings.
        list.lines().count() > 1
    };
    if quarters.on_host.is_some() || !["shm", "sem", "msg"].into_iter().any(is_any) {
        return;
    }
    if let Err(why) = children::finish(user::as_runner(quarters, "ipcrm").arg("--all"), PATIENCE) {
        say(&format!("shared memory of a job stays: {why}"));
    }
}

/// Remove what lies in `folder` and is `unwanted`. What stays all the same is told and stops nothing.
fn clear(folder: &Path, unwanted: impl Fn(&fs::DirEntry) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if unwanted(&entry)
            && let Err(why) = remove(&entry.path())
        {
            say(&format!("{} of a job stays: {why}", entry.path().display()));
        }
    }
}

/// Remove the oldest files of these folders until the rest takes no more than `most`.
fn keep_newest(folders: &[PathBuf], most: u64) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs());
    let now = now.unwrap_or(i64::MAX);
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let found = entry.metadata().ok()?;
            // What is of tomorrow was given that time by somebody who wants it to stay.
            let age = if found.mtime() > now { i64::MAX } else { now - found.mtime() };
            // What a sparse file claims it does not take.
            Some((age, (found.blocks() * 512).max(LEAST), entry.path()))
        })
        .collect();
    files.sort();
    let mut taken = 0_u64;
    for (_, size, path) in files {
        taken = taken.saturating_add(size);
        if taken > most {
            let _ = fs::remove_file(path);
        }
    }
}

/// Remove whatever is there; a link itself, not what it leads to.
pub fn remove(path: &Path) -> io::Result<()> {
    let found = match path.symlink_metadata() {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    let Err(why) = fs::remove_dir_all(path) else { return Ok(()) };
    // A folder in a folder, ten thousand times, takes more open files than we may have.
    let mut rm = user::as_root("rm");
    rm.args(["-rf", "--"]).arg(path);
    match children::finish(&mut rm, PATIENCE) {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        time::{Duration, SystemTime},
    };

    use super::{clear, keep_newest, remove};

    #[test]
    fn a_job_cannot_fill_the_disk_for_good_with_what_looks_like_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, size: usize, time: SystemTime| {
            let path = folder.path().join(name);
            fs::write(&path, vec![1; size]).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        };
        let minute = Duration::from_secs(60);
        write("new.log", 100_000, SystemTime::now());
        write("middle.log", 100_000, SystemTime::now() - minute);
        write("old.log", 100_000, SystemTime::now() - minute * 2);
        write("of-tomorrow.log", 100_000, SystemTime::now() + minute * 1440);
        let keep = |most| keep_newest(&[folder.path().to_owned()], most);
        let has = |name: &str| folder.path().join(name).exists();
        keep(350_000);
        assert!(has("old.log") && !has("of-tomorrow.log"));
        keep(250_000);
        assert!(!has("old.log") && has("middle.log"));
        keep(50_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        // Files without a byte take inodes.
        for number in 0..100 {
            write(&format!("{number}.log"), 0, SystemTime::now());
        }
        keep(200_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 48);
    }

    #[test]
    fn a_link_is_removed_and_what_it_leads_to_stays() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join("file"), "").unwrap();
        symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        fs::create_dir(folder.path().join("closed")).unwrap();
        fs::set_permissions(folder.path().join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::write(folder.path().join("stays"), "").unwrap();
        clear(folder.path(), |entry| entry.file_name() != "stays");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(elsewhere.path().join("file").exists());
        remove(&folder.path().join("nothing")).unwrap();
    }
}
