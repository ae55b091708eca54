//! Builds on their way to a cache, on a disk of their own: written by the root of the runner's container, taken by the
//! pusher, out of every job's reach.
//!
//! ```text
//! new/ID.json      a build that has ended: its derivation and its outputs, from Nix's post-build hook
//! ready/ID.json    the same when all of its closure is described
//! paths/HASH.json  what Nix knows of a path, so that the pusher needs no Nix
//! roots/ID.N       links to the outputs, which hold them against a garbage collection as long as they are here
//! state.json       what the pusher last said of itself
//! provenance/HASH.json  where a path was built, kept for `vega-builder provenance`
//! dropped          a byte for every build that found no room
//! ```

mod describe;
mod job;
mod state;
mod take;
pub mod upload;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::contract;

pub use self::{
    job::{Desk, Job},
    state::State,
};

/// A build that has ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The whole name of its derivation.
    pub drv: String,
    /// The whole names of its outputs.
    pub outputs: Vec<String>,
    pub ended: jiff::Timestamp,
    /// Whether it was made in Nix's sandbox.
    #[serde(default)]
    pub sandbox: bool,
    /// The job that had it built, as far as its first hook was heard.
    #[serde(default)]
    pub job: Option<Job>,
}

/// What became of a build that was to be queued.
#[derive(Debug, PartialEq, Eq)]
pub enum Put {
    Queued,
    /// There was no room for it.
    Dropped,
}

/// The queue, in its folder.
#[derive(Debug, Clone)]
pub struct Queue {
    root: PathBuf,
    most: usize,
    /// For how long a build is held up when half of the room is taken.
    held_up: Duration,
}

const NEW: &str = "new";
const READY: &str = "ready";
const PATHS: &str = "paths";
const ROOTS: &str = "roots";
const PROVENANCE: &str = "provenance";
const STATE: &str = "state.json";
const DROPPED: &str = "dropped";
const LOCK: &str = "lock";

/// So many builds wait at most.
pub const MOST: usize = 10_000;
/// From half of that on a build is held up so long at most, so that the uploads come after.
const HELD_UP: Duration = Duration::from_secs(10);

impl Queue {
    /// That of the runner in whose container, or on whose host, this process is: by the name that everybody has for it, as Nix's
    /// roots lead there.
    pub fn here() -> Self {
        let on_host = Path::new(contract::HOST_QUEUE).canonicalize();
        Self::at(on_host.unwrap_or_else(|_| contract::QUEUE_MOUNT.into()), MOST)
    }

    pub fn at(root: impl Into<PathBuf>, most: usize) -> Self {
        Self { root: root.into(), most, held_up: HELD_UP }
    }

    /// Make what is missing of it, for its owner alone.
    pub fn prepare(&self) -> io::Result<()> {
        for folder in [NEW, READY, PATHS, ROOTS, PROVENANCE] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(self.root.join(folder))?;
        }
        // Now, because what the pusher makes is nobody's in here.
        self.lock()?;
        // An engine makes a volume's folder for everybody.
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))
    }

    /// Whether the runner has been here.
    pub fn is_prepared(&self) -> bool {
        self.root.join(LOCK).exists()
    }

    /// Queue a build, and hold its outputs. When the uploads cannot keep up, builds are held up a little, and in the
    /// end left out: an upload never fails a build.
    pub fn put(&self, entry: &Entry, gc_roots: &Path) -> io::Result<Put> {
        let until = Instant::now() + self.held_up;
        while self.waiting()? >= self.most / 2 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        if self.waiting()? >= self.most {
            OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(self.root.join(DROPPED))?
                .write_all(b".")?;
            return Ok(Put::Dropped);
        }
        let id = id();
        let put = self.hold(&id, entry, gc_roots).and_then(|()| self.write(NEW, &id, entry));
        if put.is_err() {
            // Nothing would ever let go of them again.
            self.let_go(&id, entry)?;
        }
        put.map(|()| Put::Queued)
    }

    /// Nix's roots, so that no collection takes what waits.
    fn hold(&self, id: &str, entry: &Entry, gc_roots: &Path) -> io::Result<()> {
        for (number, output) in entry.outputs.iter().enumerate() {
            let link = self.root.join(ROOTS).join(format!("{id}.{number}"));
            symlink(output, &link)?;
            fs::create_dir_all(gc_roots)?;
            symlink(&link, gc_roots.join(format!("vega-{id}.{number}")))?;
        }
        Ok(())
    }

    /// Nix itself removes a root of its own that leads nowhere.
    fn let_go(&self, id: &str, entry: &Entry) -> io::Result<()> {
        for number in 0..entry.outputs.len() {
            gone(fs::remove_file(self.root.join(ROOTS).join(format!("{id}.{number}"))))?;
        }
        Ok(())
    }

    /// Let go of what no build holds: somebody was killed between the two. Only while nothing builds.
    pub fn tidy_roots(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(ROOTS))? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.rsplit_once('.')).map(|(id, _)| id.to_owned());
            if id.is_some_and(|id| ![NEW, READY].iter().any(|folder| self.file(folder, &id).exists())) {
                gone(fs::remove_file(self.root.join(ROOTS).join(&name)))?;
            }
        }
        Ok(())
    }

    /// How many builds wait.
    pub fn waiting(&self) -> io::Result<usize> {
        Ok(self.list(NEW)?.len() + self.list(READY)?.len())
    }

    /// How many builds wait whose closure is described, and how many whose is not.
    pub fn described(&self) -> io::Result<(usize, usize)> {
        Ok((self.list(READY)?.len(), self.list(NEW)?.len()))
    }

    /// How many builds found no room.
    pub fn dropped(&self) -> u64 {
        fs::metadata(self.root.join(DROPPED)).map_or(0, |metadata| metadata.len())
    }

    /// The ids in a folder, the oldest first.
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            ids.extend(name.strip_suffix(".json").map(str::to_owned));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn file(&self, folder: &str, id: &str) -> PathBuf {
        self.root.join(folder).join(format!("{id}.json"))
    }

    fn read(&self, folder: &str, id: &str) -> io::Result<Entry> {
        Ok(serde_json::from_slice(&fs::read(self.file(folder, id))?)?)
    }

    /// Whole, and on the disk, before it has its name.
    fn write(&self, folder: &str, id: &str, value: &impl Serialize) -> io::Result<()> {
        let folder = self.root.join(folder);
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&folder)?;
        serde_json::to_writer(&mut file, value)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(format!("{id}.json"))).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }

    /// A build is done with: nothing holds its outputs any more.
    fn forget(&self, id: &str, entry: &Entry) -> io::Result<()> {
        self.let_go(id, entry)?;
        gone(fs::remove_file(self.file(READY, id)))
    }

    /// While it is held, nobody else writes or removes descriptions of paths.
    fn lock(&self) -> io::Result<Flock<File>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.root.join(LOCK))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, why)| why.into())
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// In the order of time; no two alike.
fn id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:020}-{:08x}", now.as_nanos(), fastrand::u32(..))
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use harmonia_store_core::store_path::StoreDir;

    use super::{Entry, Put, Queue, State};

    const A: &str = "00000000000000000000000000000000-a";
    const B: &str = "11111111111111111111111111111111-b";

    fn queue(folder: &std::path::Path, most: usize) -> Queue {
        let queue = Queue::at(folder, most);
        queue.prepare().unwrap();
        queue
    }

    fn entry(path: &str) -> Entry {
        Entry {
            drv: format!("/nix/store/{path}.drv"),
            outputs: vec![format!("/nix/store/{path}")],
            ended: jiff::Timestamp::UNIX_EPOCH,
            sandbox: true,
            job: None,
        }
    }

    /// As the hook and the describer leave a build.
    fn ready(queue: &Queue, id: &str, path: &str, references: &[&str]) {
        let name = format!("/nix/store/{path}");
        queue.write("ready", id, &entry(path)).unwrap();
        let hash = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        let references: Vec<_> = references.iter().map(|path| format!("/nix/store/{path}")).collect();
        let info =
            serde_json::json!({ "path": name, "narHash": hash, "narSize": 0, "references": references });
        queue.write("paths", &path[..32], &info).unwrap();
        std::os::unix::fs::symlink(name, queue.root.join(format!("roots/{id}.0"))).unwrap();
    }

    #[test]
    fn builds_are_taken_in_order_with_their_closure_and_forgotten_when_they_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 9);
        ready(&queue, "2", A, &[A, B]);
        ready(&queue, "1", B, &[]);
        let batch = queue.take(&StoreDir::default()).unwrap().unwrap();
        let ids: Vec<_> = batch.builds.iter().map(|(id, _)| id.as_str()).collect();
        let paths: Vec<_> = batch.infos.iter().map(|info| info.path.to_string()).collect();
        assert_eq!((ids, paths), (vec!["1", "2"], vec![B.to_owned(), A.to_owned()]));
        queue.tidy().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("paths")).unwrap().count(), 2, "they are needed still");
        queue.done(&batch.builds).unwrap();
        queue.done(&batch.builds).unwrap();
        queue.tidy().unwrap();
        for empty in ["ready", "roots", "paths"] {
            assert_eq!(fs::read_dir(folder.path().join(empty)).unwrap().count(), 0, "{empty}");
        }
        assert!(queue.take(&StoreDir::default()).unwrap().is_none());
    }

    #[test]
    fn what_could_not_be_queued_or_was_cut_short_holds_nothing_against_a_collection() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 9);
        let roots = || fs::read_dir(folder.path().join("roots")).unwrap().count();
        // Where Nix's own roots would be there is no folder, nor can there be one.
        fs::write(folder.path().join("file"), "").unwrap();
        queue.put(&entry(A), &folder.path().join("file")).unwrap_err();
        assert_eq!(roots(), 0);
        queue.put(&entry(A), &folder.path().join("gcroots")).unwrap();
        ready(&queue, "1", B, &[]);
        std::os::unix::fs::symlink("/nix/store/killed", folder.path().join("roots/2.0")).unwrap();
        queue.tidy_roots().unwrap();
        assert_eq!(roots(), 2, "that of the one that was killed between the two is gone, and no other");
    }

    #[test]
    fn a_hostile_job_fills_the_queue_to_its_bound_and_no_further() {
        let (folder, roots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let queue = Queue { held_up: Duration::from_millis(1), ..queue(folder.path(), 4) };
        let put = || queue.put(&entry(A), roots.path()).unwrap();
        assert_eq!([put(), put(), put(), put()], [Put::Queued, Put::Queued, Put::Queued, Put::Queued]);
        assert_eq!([put(), put()], [Put::Dropped, Put::Dropped]);
        assert_eq!((queue.waiting().unwrap(), queue.dropped()), (4, 2));
        // Each is held as long as it is here, and no longer.
        let roots: Vec<_> = fs::read_dir(roots.path()).unwrap().map(|root| root.unwrap().path()).collect();
        assert!(roots.len() == 4 && roots.iter().all(|root| root.symlink_metadata().unwrap().is_symlink()));
        assert_eq!(fs::read_dir(folder.path().join("roots")).unwrap().count(), 4);
    }

    #[test]
    fn a_closure_that_is_not_described_is_described_anew_and_nothing_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 9);
        ready(&queue, "1", A, &[B]);
        assert!(queue.take(&StoreDir::default()).err().unwrap().to_string().contains(&B[..32]));
        assert_eq!((queue.list("new").unwrap(), queue.waiting().unwrap()), (vec!["1".to_owned()], 1));
        // A description that is half written is no better.
        ready(&queue, "2", A, &[]);
        fs::write(queue.file("paths", &A[..32]), "{").unwrap();
        assert!(queue.take(&StoreDir::default()).is_err() && !queue.file("paths", &A[..32]).exists());
    }

    #[test]
    fn the_state_is_what_was_told_and_no_more_refusals_than_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), 9);
        let mut state = State { pushed: 7, ..State::default() };
        for number in 0..50 {
            state.refuse(format!("path {number}"), "a key".to_owned());
        }
        queue.tell(&state).unwrap();
        assert_eq!(State::read(folder.path()), Some(state.clone()));
        assert_eq!((state.refused.len(), state.refused[19].0.as_str()), (20, "path 49"));
    }
}
