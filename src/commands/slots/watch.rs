//! A job's container says how it is in a file: whoever waits for that is woken by the kernel.

use std::{os::fd::AsFd as _, path::Path, thread, time::Duration};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};

/// What happens in a folder; a slot that waits for it has a thread of its own.
pub struct Watch(Option<Inotify>);

/// Where the kernel tells nothing (it watches only so many folders for a user).
const LOOK: Duration = Duration::from_millis(100);

impl Watch {
    pub fn on(folder: &Path) -> Self {
        let watch = || -> nix::Result<Inotify> {
            let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
            inotify.add_watch(folder, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE_SELF)?;
            Ok(inotify)
        };
        Self(watch().ok())
    }

    /// Until something is new there, or for so long.
    pub fn changed(&self, wait: Duration) {
        let Some(events) = &self.0 else { return thread::sleep(LOOK.min(wait)) };
        let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], wait);
        while events.read_events().is_ok_and(|read| !read.is_empty()) {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Watch;

    #[test]
    fn a_file_that_comes_wakes_whoever_waits_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch::on(folder.path());
        let began = Instant::now();
        watch.changed(Duration::from_millis(100));
        assert!(began.elapsed() >= Duration::from_millis(100));
        std::fs::write(folder.path().join("beside"), "").unwrap();
        std::fs::rename(folder.path().join("beside"), folder.path().join("state.json")).unwrap();
        let began = Instant::now();
        watch.changed(Duration::from_secs(30));
        assert!(began.elapsed() < Duration::from_secs(10));
        let began = Instant::now();
        watch.changed(Duration::from_millis(100));
        assert!(began.elapsed() >= Duration::from_millis(100), "what was told once is told again");
    }
}
