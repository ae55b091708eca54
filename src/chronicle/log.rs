use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg, OFlag};

use super::{
    event::{Entry, Event, JobResult},
    totals::Totals,
};

const LOG: &str = "events.jsonl";
/// The part of the log that was full.
const BEFORE: &str = "events.jsonl.1";
const TOTALS: &str = "totals.json";
/// Two parts of this size are kept: weeks of jobs.
const LONGEST: u64 = 512 << 10;
/// More than a sentence of an event.
const SENTENCE: usize = 400;

/// Where PID 1 writes.
#[derive(Debug, Clone)]
pub struct Chronicle {
    folder: PathBuf,
}

impl Chronicle {
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What it has so far.
    pub fn reader(&self) -> Reader {
        Reader::at(self.folder.clone())
    }

    /// Write down what happened. Nothing ends because that fails: the disk may be full.
    pub fn note(&self, event: Event) {
        let entry = Entry { at: Timestamp::now(), event: short(event) };
        let is_durable = is_of_a_job(&entry.event);
        let _ = self.append(&entry);
        let _ = self.sum(is_durable, |totals| totals.add(&entry.event));
    }

    /// Write down what another account has, with its own time.
    pub fn copy(&self, entry: &Entry) {
        let _ = self.append(entry);
        let _ = self.sum(is_of_a_job(&entry.event), |totals| totals.add(&entry.event));
    }

    /// What the Nix store holds now.
    pub fn store_holds(&self, bytes: u64) {
        let _ = self.sum(false, |totals| totals.store_bytes = Some(bytes));
    }

    /// The right to move a sum from elsewhere into these: whoever adds both up reads them under the same, and counts nothing
    /// twice.
    pub fn alone(&self) -> Option<Flock<fs::File>> {
        self.reader().alone()
    }

    /// What was pushed out of a queue that goes now.
    pub fn uploaded(&self, pushed: u64, bytes: u64, dropped: u64) {
        let _ = self.sum(true, |totals| {
            totals.pushed += pushed;
            totals.pushed_bytes += bytes;
            totals.dropped += dropped;
        });
    }

    fn append(&self, entry: &Entry) -> io::Result<()> {
        let log = self.folder.join(LOG);
        if log.metadata().is_ok_and(|found| found.len() > LONGEST) {
            fs::rename(&log, self.folder.join(BEFORE))?;
        }
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = fs::OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&log)?;
        // A line that a power cut left half is followed by a whole one.
        let mut last = [b'\n'];
        if file.seek(SeekFrom::End(-1)).is_ok() {
            file.read_exact(&mut last)?;
        }
        if last != [b'\n'] {
            line.insert(0, b'\n');
        }
        file.write_all(&line)?;
        if is_of_a_job(&entry.event) { file.sync_data() } else { Ok(()) }
    }

    fn sum(&self, is_durable: bool, change: impl FnOnce(&mut Totals)) -> io::Result<()> {
        let mut totals = self.reader().totals();
        change(&mut totals);
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(&totals)?)?;
        if is_durable {
            file.as_file().sync_data()?;
        }
        file.persist(self.folder.join(TOTALS)).map_err(|error| error.error).map(drop)
    }
}

/// What a power cut is not to take with it. For everything else the disk is not waited for: it may be what is short.
fn is_of_a_job(event: &Event) -> bool {
    matches!(event, Event::JobStarted { .. } | Event::JobEnded { .. })
}

/// A job's name comes from outside, and this goes to a person's terminal.
fn short(event: Event) -> Event {
    let short = |text: String| -> String {
        text.chars().map(|one| if one.is_control() { ' ' } else { one }).take(SENTENCE).collect()
    };
    match event {
        Event::Trouble { why } => Event::Trouble { why: short(why) },
        Event::GaveUp { why } => Event::GaveUp { why: short(why) },
        Event::Stopped { why } => Event::Stopped { why: short(why) },
        Event::JobStarted { job } => Event::JobStarted { job: short(job) },
        Event::JobEnded { job, result, seconds, oom_kills, run } => {
            Event::JobEnded { job: short(job), result, seconds, oom_kills, run }
        }
        other => other,
    }
}

/// Where the host reads.
#[derive(Debug, Clone)]
pub struct Reader {
    folder: PathBuf,
}

impl Reader {
    /// The end of the job that began last, where nothing was written of it: whoever would have was killed.
    pub fn unfinished(&self) -> Option<Event> {
        let entries = self.entries();
        let job = entries.iter().rev().find_map(|entry| match &entry.event {
            Event::JobStarted { job } => Some(Some(job.clone())),
            Event::JobEnded { .. } => Some(None),
            _ => None,
        })??;
        Some(Event::JobEnded { job, result: JobResult::Unknown, seconds: 0.0, oom_kills: 0, run: None })
    }

    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// See [`Chronicle::alone`].
    pub fn alone(&self) -> Option<Flock<fs::File>> {
        Flock::lock(fs::File::open(&self.folder).ok()?, FlockArg::LockExclusive).ok()
    }

    pub fn totals(&self) -> Totals {
        let text = read(&self.folder.join(TOTALS), 0).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Every event that is kept, the oldest first. A line that cannot be read is none.
    pub fn entries(&self) -> Vec<Entry> {
        let part = |name| read(&self.folder.join(name), 0).unwrap_or_default();
        [part(BEFORE), part(LOG)].iter().flat_map(|part| lines(part)).collect()
    }

    /// Those that came after the log had this size, and its size now. When it was full and begun anew meanwhile, first the
    /// rest of the full one.
    pub fn since(&self, size: u64) -> (Vec<Entry>, u64) {
        let was_begun_anew = self.size() < size;
        let rest = if was_begun_anew { read(&self.folder.join(BEFORE), size) } else { Ok(Vec::new()) };
        let from = if was_begun_anew { 0 } else { size };
        let text = read(&self.folder.join(LOG), from).unwrap_or_default();
        // What has no end yet is still being written.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut entries = lines(&rest.unwrap_or_default());
        entries.extend(lines(&text[..whole]));
        (entries, from + whole as u64)
    }

    /// Remove it: what it has is kept elsewhere now.
    pub fn forget(&self) {
        for part in [BEFORE, LOG] {
            let _ = fs::remove_file(self.folder.join(part));
        }
    }

    /// How long the log is.
    pub fn size(&self) -> u64 {
        self.folder.join(LOG).symlink_metadata().map_or(0, |found| found.len())
    }
}

fn lines(text: &[u8]) -> Vec<Entry> {
    text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// A plain file from there on, of our length at most: no link that leads elsewhere, no pipe that never ends.
fn read(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("this is no plain file"));
    }
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(LONGEST * 2).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::symlink};

    use super::{Chronicle, LOG, LONGEST, Reader};
    use crate::chronicle::{Event, JobResult};

    fn ended(job: &str) -> Event {
        Event::JobEnded {
            job: job.to_owned(),
            result: JobResult::Failed,
            seconds: 1.5,
            oom_kills: 2,
            run: None,
        }
    }

    #[test]
    fn events_are_read_as_they_came_and_summed() {
        let folder = tempfile::tempdir().unwrap();
        let (chronicle, reader) =
            (Chronicle::at(folder.path().to_owned()), Reader::at(folder.path().to_owned()));
        chronicle.note(Event::Listening);
        let (seen, size) = reader.since(0);
        assert_eq!(seen.len(), 1);
        chronicle.note(ended("a \u{1b}[2Jjob\n{\"event\":\"drained\"}"));
        // A line that a power cut left half.
        let mut log = fs::OpenOptions::new().append(true).open(folder.path().join(LOG)).unwrap();
        log.write_all(b"{\"at\":\"2026").unwrap();
        let (seen, size) = reader.since(size);
        assert_eq!(seen.len(), 1);
        chronicle.note(Event::Drained);
        assert_eq!(reader.since(size).0[0].event, Event::Drained);
        assert_eq!(seen[0].event, ended("a  [2Jjob {\"event\":\"drained\"}"));
        let totals = reader.totals();
        assert_eq!((totals.jobs[&JobResult::Failed], totals.oom_kills, totals.busy_seconds), (1, 2, 1.5));
    }

    #[test]
    fn a_log_does_not_grow_for_ever_and_its_sums_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (chronicle, reader) =
            (Chronicle::at(folder.path().to_owned()), Reader::at(folder.path().to_owned()));
        let name = "x".repeat(390);
        for _ in 0..4000 {
            chronicle.note(ended(&name));
        }
        let kept: u64 =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(kept < 2 * LONGEST + 4096, "{kept}");
        assert_eq!(reader.totals().jobs[&JobResult::Failed], 4000);
        assert!(reader.entries().len() > 1000);
        let (after, size) = reader.since(LONGEST + 1);
        assert!(!after.is_empty() && size == reader.size());
    }

    #[test]
    fn a_job_whose_supervisor_was_killed_has_an_end_that_nobody_knows() {
        let folder = tempfile::tempdir().unwrap();
        let chronicle = Chronicle::at(folder.path().to_owned());
        assert_eq!(chronicle.reader().unfinished(), None);
        chronicle.note(Event::JobStarted { job: "build".to_owned() });
        chronicle.note(Event::Stopped { why: "no daemon".to_owned() });
        let end = chronicle.reader().unfinished().unwrap();
        assert!(matches!(&end, Event::JobEnded { job, result: JobResult::Unknown, .. } if job == "build"));
        chronicle.note(end);
        assert_eq!(chronicle.reader().unfinished(), None);
    }

    #[test]
    fn a_link_in_its_place_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        fs::write(&secret, "{\"at\":\"2026-11-26T00:00:00Z\",\"event\":\"listening\"}\n").unwrap();
        symlink(&secret, folder.path().join(LOG)).unwrap();
        let reader = Reader::at(folder.path().to_owned());
        assert!(reader.entries().is_empty() && reader.since(0).0.is_empty());
        Chronicle::at(folder.path().to_owned()).note(Event::Drained);
        assert!(!fs::read_to_string(&secret).unwrap().contains("drained"));
    }
}
