//! The trusted root: refreshed by TUF, kept, and never given up for an older or a forged one.

use std::{fs, path::PathBuf, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulator::sigstore::{Authority, Tuf};
use tempfile::TempDir;
use vega_builder::{
    trust::{Error, Root, RootChoice},
    value::ImageDigest,
};

/// A repository, the client's folder, and two trusted roots, one after the other.
struct Trial {
    tuf: Option<Tuf>,
    choice: RootChoice,
    folder: TempDir,
    old: String,
    new: String,
}

impl Trial {
    fn new() -> Self {
        let tuf = Tuf::serve().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bootstrap = folder.path().join("root.json");
        fs::write(&bootstrap, tuf.root().unwrap()).unwrap();
        let choice = RootChoice { tuf: Some((tuf.url().to_owned(), bootstrap)), ..RootChoice::default() };
        let root = || Authority::new().unwrap().trusted_root().unwrap();
        Self { tuf: Some(tuf), choice, folder, old: root(), new: root() }
    }

    fn tuf(&self) -> &Tuf {
        self.tuf.as_ref().unwrap()
    }

    fn ask(&self) -> Result<(ImageDigest, Option<String>), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (root, complaint) =
            runtime.block_on(Root::chosen(&self.choice, &self.folder.path().join("cache")))?;
        Ok((root.facts().digest.clone(), complaint))
    }

    /// The digest of what is trusted, with nothing to complain about.
    fn trusts(&self, root: &str) {
        assert_eq!(self.ask().unwrap(), (ImageDigest::of(root.as_bytes()), None));
    }

    /// The same root as before, and this word about it.
    fn keeps(&self, root: &str, word: &str) {
        let (digest, complaint) = self.ask().unwrap();
        assert_eq!(digest, ImageDigest::of(root.as_bytes()));
        let complaint = complaint.unwrap();
        assert!(complaint.contains("it cannot be refreshed") && complaint.contains(word), "{complaint}");
    }

    fn cache(&self) -> PathBuf {
        fs::read_dir(self.folder.path().join("cache/tuf")).unwrap().next().unwrap().unwrap().path()
    }

    fn note(&self) -> Value {
        serde_json::from_slice(&fs::read(self.cache().join("refreshed.json")).unwrap()).unwrap()
    }

    /// A file of the last refresh.
    fn kept(&self, name: &str) -> PathBuf {
        self.cache().join(self.note()["generation"].as_str().unwrap()).join(name)
    }

    /// As if the last refresh had been so many hours ago.
    fn age(&self, hours: i64) {
        let (path, mut note) = (self.cache().join("refreshed.json"), self.note());
        let then = Timestamp::now() - SignedDuration::from_hours(hours);
        note["at"] = then.to_string().into();
        fs::write(path, note.to_string()).unwrap();
    }
}

#[test]
fn a_root_is_refreshed_once_a_day_and_kept_when_the_repository_is_away() {
    let mut trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    // Within the day nobody is asked.
    trial.tuf().publish(&trial.new, 2, 100).unwrap();
    trial.trusts(&trial.old);
    trial.age(30);
    trial.trusts(&trial.new);
    trial.age(30);
    trial.tuf = None;
    trial.keeps(&trial.new, "error sending request");
}

#[test]
fn a_root_is_not_rolled_back() {
    let trial = Trial::new();
    trial.tuf().publish(&trial.new, 2, 100).unwrap();
    trial.trusts(&trial.new);
    trial.age(30);
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.keeps(&trial.new, "rollback");
}

#[test]
fn a_forged_root_is_not_taken() {
    let mut trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    trial.age(30);
    let forged = trial.new.clone();
    trial.tuf.as_mut().unwrap().forge(&forged, 2).unwrap();
    trial.keeps(&trial.old, "signature");
}

#[test]
fn a_forged_root_is_not_taken_the_first_time_either() {
    let mut trial = Trial::new();
    let forged = trial.new.clone();
    trial.tuf.as_mut().unwrap().forge(&forged, 1).unwrap();
    let error = trial.ask().unwrap_err().to_string();
    assert!(error.contains("it cannot be fetched") && error.contains("signature"), "{error}");
}

#[test]
fn a_frozen_repository_is_not_taken_and_its_lapse_is_said() {
    let trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    trial.age(30);
    trial.tuf().publish(&trial.new, 2, -1).unwrap();
    trial.keeps(&trial.old, "expired");
}

#[test]
fn what_was_kept_and_has_lapsed_is_used_and_said_to_have_lapsed() {
    let mut trial = Trial::new();
    // It lapses while nobody looks: the refresh was two days ago, the lapse an hour ago.
    trial.tuf().publish(&trial.old, 1, 1).unwrap();
    trial.trusts(&trial.old);
    trial.tuf().publish(&trial.old, 1, -1).unwrap();
    for name in ["timestamp.json", "snapshot.json", "targets.json"] {
        let url = format!("{}/{name}", trial.tuf().url());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let bytes = runtime.block_on(async { reqwest::get(url).await.unwrap().bytes().await.unwrap() });
        fs::write(trial.kept(name), bytes).unwrap();
    }
    trial.age(48);
    trial.tuf = None;
    trial.keeps(&trial.old, "has lapsed");
}

#[test]
fn a_kept_root_that_somebody_wrote_to_is_fetched_anew_or_refused() {
    let mut trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    let tamper = |trial: &Trial| fs::write(trial.kept("targets/trusted_root.json"), &trial.new).unwrap();
    tamper(&trial);
    trial.trusts(&trial.old);
    tamper(&trial);
    trial.tuf = None;
    let error = trial.ask().unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("remove that folder"), "{error}");
}

#[test]
fn a_repository_that_dawdles_is_not_waited_for_for_ever() {
    let trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    trial.age(30);
    trial.tuf().delay(Duration::from_secs(60));
    let begin = std::time::Instant::now();
    trial.keeps(&trial.old, "");
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[test]
fn a_refresh_that_is_cut_short_takes_nothing_from_the_last_root() {
    let mut trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.trusts(&trial.old);
    trial.age(30);
    // A new timestamp is there, and what it speaks of is not.
    trial.tuf().publish(&trial.new, 2, 100).unwrap();
    trial.tuf().lose("/snapshot.json");
    trial.keeps(&trial.old, "snapshot.json not found");
    trial.tuf = None;
    trial.keeps(&trial.old, "error sending request");
    assert_eq!(fs::read_dir(trial.cache()).unwrap().count(), 2, "the note and one generation");
}

#[test]
fn a_damaged_note_does_not_bring_the_older_root_back() {
    let mut trial = Trial::new();
    trial.tuf().publish(&trial.new, 2, 100).unwrap();
    trial.trusts(&trial.new);
    trial.tuf = None;
    fs::write(trial.cache().join("refreshed.json"), "").unwrap();
    let error = trial.ask().unwrap_err().to_string();
    assert!(error.contains("refreshed.json") && error.contains("to begin again"), "{error}");
}

#[test]
fn two_refreshes_at_once_do_not_take_each_others_files() {
    let trial = Trial::new();
    trial.tuf().publish(&trial.old, 1, 100).unwrap();
    trial.tuf().delay(Duration::from_millis(200));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| trial.trusts(&trial.old));
        }
    });
    assert_eq!(fs::read_dir(trial.cache()).unwrap().count(), 2, "the note and one generation");
    trial.trusts(&trial.old);
}

#[test]
fn the_embedded_root_needs_no_network_when_it_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let choice = RootChoice { pinned: true, ..RootChoice::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (root, complaint) = runtime.block_on(Root::chosen(&choice, folder.path())).unwrap();
    assert_eq!((root.facts().name.as_str(), complaint), ("the public Sigstore (embedded)", None));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
