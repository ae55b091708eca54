//! What `up` leaves on the host: a folder with the record of one runner, a lock, and the handover folder.

mod drained;
mod handover;
mod images;
mod locked;
mod next;
mod places;
mod record;
mod unfinished;
mod update;

pub use drained::Drained;
pub use locked::Locked;
pub use places::{Installation, Places};
pub use record::{Accepted, Identity, Receipt, Record, Store};
pub use update::{Previous, Refused, Updates};

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {why}; {hint}", .path.display())]
    File { path: PathBuf, why: std::io::Error, hint: &'static str },
    #[error(
        "another vega-builder is at work on {name} (process {pid}); wait until it has ended, then run this command again"
    )]
    Busy { name: String, pid: String },
    #[error(
        "another vega-builder changes the image of {name} (process {pid}); wait until it has ended, then run this command again; while it waits for a job, `kill {pid}` calls it off"
    )]
    Switching { name: String, pid: String },
    #[error("another vega-builder changed the image of {name} meanwhile; run this command again")]
    Switched { name: String },
    #[error(
        "the slots of {name} are kept already, by process {pid}; `vega-builder status {name}` shows them"
    )]
    SlotsKept { name: String, pid: String },
    #[error(
        "nobody keeps the slots of {0}: type `systemctl start vega-builder-{0}`, or `vega-builder slots {0}` without systemd"
    )]
    SlotsNotKept(String),
    #[error("{} cannot be understood: {why}; it was written by a newer vega-builder, or damaged: type `{away} --offline`, which goes by the names alone, then install it again", .path.display())]
    Record { path: PathBuf, away: String, why: String },
    #[error(
        "{name} is installed here for {other} already; choose another name with --name, or type `{away}` first"
    )]
    Taken { name: String, other: String, away: String },
    #[error(
        "another machine's runner of the name {name} is online at {scope}: choose another one with --name; if it was this machine's, and its files are gone, wait until GitHub calls it offline, or remove it at {page}"
    )]
    Elsewhere { name: String, scope: String, page: String },
    #[error("{name} runs with {engine}; to run it with {wanted}, type `{away}` first")]
    OtherEngine { name: String, engine: String, wanted: String, away: String },
    #[error(
        "a {kind} named {thing} is there that is not ours; choose another name with --name, or remove it with `{engine} {kind} rm {thing}` when nobody needs it"
    )]
    NotOurs { kind: &'static str, thing: String, engine: &'static str },
    #[error(
        "{name} is at work ({job}), and this would cancel it; run this command again when it is idle, or add --now"
    )]
    AtWork { name: String, job: String },
    #[error(
        "{name} is of an image that takes a token only when its container is created; type `vega-builder down {name}`, then `up` again"
    )]
    NoHandover { name: String },
    #[error(
        "the volumes of {name} belong to the user ids from {base} on, and not from {wanted} on: leave --userns-base out, or type `{away}` first"
    )]
    OtherUserIds { name: String, base: u32, wanted: u32, away: String },
    #[error(
        "the user ids from {wanted} on are those of {other}; name others with --userns-base, or leave it out"
    )]
    UserIdsTaken { wanted: u32, other: String },
    #[error("no range of user ids is free for another runner; remove one with `vega-builder down`")]
    NoUserIds,
    #[error(
        "{name} was installed by `up`; to hand it to systemd, type `vega-builder down {name} --keep-store` first, then this command again"
    )]
    ByUp { name: String },
    #[error("{name} is drained since {since:.0}, and takes no jobs: type `vega-builder resume {name}`")]
    Drained { name: String, since: jiff::Timestamp },
    #[error("{name} has no units of ours: type `vega-builder down {name}`")]
    NotInstalled { name: String },
    #[error("`install` has handed {name} to systemd: type `vega-builder uninstall {name}`")]
    ByInstall { name: String },
    #[error("{name} is declared by {}, which this command does not change: {next}", .file.display())]
    Declared { name: String, file: PathBuf, next: String },
    #[error("{image} is not of our layout, and no unit can run it: use `vega-builder up`")]
    NotOurLayout { image: String },
    #[error(
        "{image} is not of our layout, and takes the jobs of one repository only: name that, or another image"
    )]
    OfARepositoryOnly { image: String },
    #[error(
        "{name} is a service of this host itself: it has no container and no image; for a newer runner of GitHub's, type `vega-builder drain {name}`, unpack that in its place, and type `vega-builder resume {name}`"
    )]
    OnHost { name: String },
    #[error("{why}")]
    NoRegistration { why: String },
    #[error("no runner is installed here{}; type `vega-builder up OWNER/REPO`", of_whom())]
    None,
    #[error("no runner for '{wanted}' is installed here; installed: {}", .have.join(", "))]
    NotFound { wanted: String, have: Vec<String> },
    #[error("several runners are installed here; name one: {}", .have.join(", "))]
    Several { have: Vec<String> },
}

/// Root's runners are root's to see.
fn of_whom() -> &'static str {
    if nix::unistd::geteuid().is_root() { "" } else { " for you (root's are seen with sudo)" }
}

impl Error {
    fn file(path: &std::path::Path, why: std::io::Error) -> Self {
        let hint = match why.kind() {
            std::io::ErrorKind::PermissionDenied => "run this command with sudo, as the runner was installed",
            _ => "check the disk and the folder's permissions",
        };
        Self::File { path: path.to_owned(), why, hint }
    }
}
