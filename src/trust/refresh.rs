//! A newer trusted root, by TUF: asked for once a day when the network is there, kept, and never given up for an older
//! one.
//!
//! Nothing here can fail open: whatever a repository answers, what is trusted is the root that this program was built
//! with, or one that TUF's chain of signatures leads to from there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use nix::fcntl::{Flock, FlockArg};
use sigstore_trust_root::{SigstoreInstance, TRUSTED_ROOT_TARGET};
use sigstore_tuf::{FileStore, HttpRepository, Repository, StoreRepository, Updater, reqwest::Client};
use url::Url;

use super::{Error, chain::minute};
use crate::value::{ImageDigest, is_loopback};

/// How long a root that was refreshed is new enough.
const NEW_ENOUGH: SignedDuration = SignedDuration::from_hours(24);
/// A person waits for this; a registry may answer though the repository does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Beside TUF's own files: when they were verified last.
const NOTE: &str = "refreshed.json";

/// A TUF repository, and where what it said is kept.
pub struct Tuf {
    url: String,
    bootstrap: Vec<u8>,
    folder: PathBuf,
    name: String,
}

/// A trusted root that TUF vouches for.
pub struct Refreshed {
    pub name: String,
    pub json: String,
    pub at: Timestamp,
    /// Why it is not of today.
    pub complaint: Option<String>,
}

/// What is known of the last refresh that worked: ours to know, because TUF's own files cannot say when they were
/// true.
#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    at: Timestamp,
    digest: ImageDigest,
    /// The folder of TUF's files as they were then. Each refresh has one of its own, so that one which is cut short
    /// takes nothing from the last.
    generation: String,
}

impl Tuf {
    /// The public Sigstore's.
    pub fn public(cache: &Path) -> Self {
        let instance = SigstoreInstance::PublicGood;
        Self {
            url: instance.tuf_url().to_owned(),
            bootstrap: instance.tuf_root().to_vec(),
            folder: cache.join("tuf/sigstore"),
            name: "the public Sigstore".to_owned(),
        }
    }

    /// One's own, which `bootstrap` (a root.json) is the beginning of.
    pub fn private(url: &str, bootstrap: &Path, cache: &Path) -> Result<Self, Error> {
        let unusable = |why: String| Error::Root { root: url.to_owned(), why };
        let address = Url::parse(url).map_err(|why| unusable(why.to_string()))?;
        if address.scheme() != "https" && !is_loopback(&address) {
            return Err(unusable("a TUF repository is asked over https only; check root.tuf".to_owned()));
        }
        let root = fs::read(bootstrap).map_err(|why| unusable(format!("{}: {why}", bootstrap.display())))?;
        // Another beginning is another chain: what was kept of the old one is not mixed up with it.
        let key = ImageDigest::of(&[url.as_bytes(), &root].concat());
        Ok(Self {
            url: url.to_owned(),
            bootstrap: root,
            folder: cache.join("tuf").join(key.short()),
            name: url.to_owned(),
        })
    }

    /// The newest trusted root that can be had; `None` when there is none but what this program was built with, and why.
    pub async fn newest(&self) -> Result<Result<Refreshed, String>, Error> {
        // Two commands at once would tidy each other's files away: the second waits, and finds what the first brought.
        let _turn = self.turn().await;
        let now = Timestamp::now();
        let note = self.note()?;
        if let Some(note) = &note
            && now.duration_since(note.at) < NEW_ENOUGH
            && note.at <= now
            && let Ok(json) = self.kept(note).await
        {
            return Ok(Ok(self.refreshed(json, note.at, None)));
        }
        let why = match self.ask(now, note.as_ref()).await {
            Ok((json, note)) => {
                let complaint = self.keep(&note).err().map(|why| {
                    let folder = self.folder.display();
                    format!("the trusted root was refreshed, but cannot be kept in {folder}: {why}")
                });
                return Ok(Ok(self.refreshed(json, now, complaint)));
            }
            Err(why) => why,
        };
        let Some(note) = note else { return Ok(Err(why)) };
        // Never back to the older one that this program was built with: someone may have been struck off since.
        let json = self.kept(&note).await.map_err(|damage| Error::Root {
            root: self.name.clone(),
            why: format!(
                "it was refreshed {} and kept in {}, where it is damaged ({damage}), and a new one cannot be had \
                 ({why}): check the network, or remove that folder to begin again",
                minute(note.at),
                self.folder.display()
            ),
        })?;
        let lapsed = if self.lapsed(&note, now).await { "; its TUF metadata has lapsed since" } else { "" };
        let complaint = format!(
            "the trusted root is that of {}: it cannot be refreshed ({why}){lapsed}",
            minute(note.at)
        );
        Ok(Ok(self.refreshed(json, note.at, Some(complaint))))
    }

    /// The right to write in the folder, until it is dropped or this program dies; nothing where nobody may write.
    async fn turn(&self) -> Option<Flock<fs::File>> {
        let folder = self.folder.clone();
        let lock = move || {
            fs::create_dir_all(&folder).ok()?;
            Flock::lock(fs::File::open(&folder).ok()?, FlockArg::LockExclusive).ok()
        };
        tokio::task::spawn_blocking(lock).await.ok()?
    }

    fn refreshed(&self, json: String, at: Timestamp, complaint: Option<String>) -> Refreshed {
        Refreshed { name: self.name.clone(), json, at, complaint }
    }

    /// Ask the repository, beginning with what is known from it.
    async fn ask(&self, now: Timestamp, known: Option<&Note>) -> Result<(String, Note), String> {
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .user_agent(concat!("vega-builder/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| causes(&why))?;
        let generation = now.as_millisecond().to_string();
        let scratch = self.folder.join(&generation);
        if let Some(known) = known {
            // The versions that are known are the floor below which no new one may be.
            copy(&self.folder.join(&known.generation), &scratch).map_err(|why| why.to_string())?;
        }
        let repository = HttpRepository::new(&self.url).map_err(|why| causes(&why))?.with_http_client(client);
        let asked = tokio::time::timeout(PATIENCE, self.follow(repository, &scratch, now)).await;
        let json = asked.unwrap_or_else(|_| Err(format!("{} does not answer", self.url)));
        match json {
            Ok(json) => {
                let digest = ImageDigest::of(json.as_bytes());
                Ok((json, Note { at: now, digest, generation }))
            }
            Err(why) => {
                let _ = fs::remove_dir_all(&scratch);
                Err(why)
            }
        }
    }

    /// What was kept, verified anew as of the time when it was fetched: the folder may have been written to.
    async fn kept(&self, note: &Note) -> Result<String, String> {
        let json = self.look_again(note, note.at).await?;
        let found = ImageDigest::of(json.as_bytes());
        if found == note.digest { Ok(json) } else { Err("it is not the one that was fetched".to_owned()) }
    }

    /// Whether what was kept is too old for TUF by now.
    async fn lapsed(&self, note: &Note, now: Timestamp) -> bool {
        self.look_again(note, now).await.is_err()
    }

    async fn look_again(&self, note: &Note, at: Timestamp) -> Result<String, String> {
        let folder = self.folder.join(&note.generation);
        self.follow(StoreRepository::new(FileStore::new(&folder)), &folder, at).await
    }

    /// TUF's client workflow, from the bootstrap root to the target.
    async fn follow(
        &self,
        repository: impl Repository + 'static,
        folder: &Path,
        at: Timestamp,
    ) -> Result<String, String> {
        let store = FileStore::new(folder);
        let updater = Updater::new(repository, &self.bootstrap).map_err(|why| causes(&why))?;
        let mut updater = updater.with_store(store);
        updater.refresh(at).await.map_err(|why| causes(&why))?;
        let bytes = updater.get_target(TRUSTED_ROOT_TARGET, at).await.map_err(|why| causes(&why))?;
        String::from_utf8(bytes).map_err(|why| why.to_string())
    }

    /// The note of the last refresh; nothing when there was none. One that cannot be read is not nothing: it would
    /// bring the older root back.
    fn note(&self) -> Result<Option<Note>, Error> {
        let path = self.folder.join(NOTE);
        let damaged = |why: String| Error::Root {
            root: self.name.clone(),
            why: format!(
                "{}: {why}; it says when the root was refreshed: remove {} to begin again",
                path.display(),
                self.folder.display()
            ),
        };
        match fs::read(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(damaged(why.to_string())),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|why| damaged(why.to_string())),
        }
    }

    /// Written last, and as a whole: a crash before leaves the older one, whose files are still there.
    fn keep(&self, note: &Note) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        serde_json::to_writer(&mut file, note)?;
        file.as_file().sync_all()?;
        file.persist(self.folder.join(NOTE)).map_err(|error| error.error)?;
        fs::File::open(&self.folder)?.sync_all()?;
        // Older files serve nobody now, and what a crash left half done never did.
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name();
            if entry.path().is_dir() && name.to_str().is_some_and(|name| name < note.generation.as_str()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}

/// Copy a folder of files and folders; one that is not there is an empty one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let entries = match fs::read_dir(from) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
