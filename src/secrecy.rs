//! What keeps a process that holds a token from leaking it by accident.

use nix::sys::{
    prctl::set_dumpable,
    resource::{Resource, setrlimit},
};

/// No core dump, and no look into our memory or /proc files by other processes of the same user.
///
/// Both can only fail where the kernel forbids even that; the token's other walls stand all the same.
pub fn harden() {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_dumpable(false);
}
