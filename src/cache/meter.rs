//! How far a push is: counted where it happens, read by whoever shows it.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what a person reads needs three digits"
)]

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters of one push.
#[derive(Debug, Default)]
pub struct Meter {
    paths: AtomicU64,
    paths_done: AtomicU64,
    bytes: AtomicU64,
    bytes_read: AtomicU64,
    bytes_sent: AtomicU64,
}

impl Meter {
    pub fn expect(&self, paths: u64, bytes: u64) {
        self.paths.fetch_add(paths, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub fn read(&self, bytes: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    pub fn sent(&self, bytes: u64) {
        self.bytes_sent.fetch_add(bytes, Relaxed);
    }

    pub fn path_done(&self) {
        self.paths_done.fetch_add(1, Relaxed);
    }

    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Relaxed)
    }

    /// Where it stands after `elapsed`, for a person.
    pub fn line(&self, elapsed: Duration) -> String {
        let (paths, done) = (self.paths.load(Relaxed), self.paths_done.load(Relaxed));
        // What is tried again is read again.
        let bytes = self.bytes.load(Relaxed);
        let read = self.bytes_read.load(Relaxed).min(bytes);
        let rate = read as f64 / elapsed.as_secs_f64().max(0.001);
        let left = if rate > 0.0 { (bytes - read) as f64 / rate } else { 0.0 };
        format!(
            "{done} of {paths} paths, {} of {}, {}, {left:.0} s left",
            shown(read),
            shown(bytes),
            self::rate(read, elapsed)
        )
    }
}

/// Bytes in a second, for a person.
pub fn rate(bytes: u64, elapsed: Duration) -> String {
    format!("{}/s", shown((bytes as f64 / elapsed.as_secs_f64().max(0.001)) as u64))
}

/// A number of bytes, for a person.
pub fn shown(bytes: u64) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Meter, shown};

    #[test]
    fn the_line_tells_paths_bytes_rate_and_what_is_left() {
        let meter = Meter::default();
        meter.expect(4, 4 << 20);
        meter.read(1 << 20);
        meter.path_done();
        let line = meter.line(Duration::from_secs(1));
        assert_eq!(line, "1 of 4 paths, 1.0 MiB of 4.0 MiB, 1.0 MiB/s, 3 s left");
        assert_eq!((shown(7), shown(3 << 30)), ("7 B".to_owned(), "3.0 GiB".to_owned()));
    }
}
