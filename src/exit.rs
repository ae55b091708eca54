//! Exit codes by kind of failure, so that a script can tell "not trusted" from "no network".

use crate::{
    cache,
    commands::{
        install::UnitError,
        update::{RolledBack, WindowOver},
    },
    config, engine, github, host, image, installation, systemd, trust,
};

/// A failure's kind; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something that is none of the others.
    Other = 1,
    /// A flag, a variable, a key of the configuration file, or a file that they name.
    Settings = 2,
    /// The image is not signed, or not by whom is trusted, or not what its digest says.
    NotTrusted = 3,
    /// The registry or the image in it.
    Registry = 4,
    /// GitHub refuses, or cannot be reached.
    GitHub = 5,
    /// podman or docker.
    Engine = 6,
    /// The caps are not in force; the runner was stopped.
    Caps = 7,
    /// The runner does not come online.
    Offline = 8,
    /// Another vega-builder is at work, or the host's files are in the way.
    Host = 9,
    /// A stranger can start jobs on this machine.
    Strangers = 10,
    /// Some paths were not pushed, for a reason of their own.
    StaysHere = 11,
    /// A job, or an upload, has not ended yet: a drain goes on, or an update waits for its next window.
    AtWork = 12,
}

/// The runner does not listen, for a reason that its container gave.
#[derive(Debug, thiserror::Error)]
#[error("the runner does not come online: {why}; type `vega-builder status {name}` to see more")]
pub struct NotOnline {
    pub name: String,
    pub why: String,
}

/// Waited for no longer; nothing was undone.
#[derive(Debug, thiserror::Error)]
#[error(
    "{why}; {name} goes on draining, and starts no job: `vega-builder drain {name}` waits for the rest, \
     `vega-builder resume {name}` calls it off"
)]
pub struct StillAtWork {
    pub name: String,
    pub why: String,
}

/// The repository is not push-only.
#[derive(Debug, thiserror::Error)]
#[error(
    "{repository} lets strangers start jobs on this machine: {first}{more}; mend that, then run this command again \
     (`{lint}` shows it line by line)",
    first = reasons.first().map_or("", String::as_str),
    more = more(.reasons.len())
)]
pub struct StrangersReach {
    pub repository: String,
    /// The command.
    pub lint: String,
    pub reasons: Vec<String>,
}

fn more(reasons: usize) -> String {
    if reasons > 1 { format!(", and {} more", reasons - 1) } else { String::new() }
}

/// The kind of a failure, from the first error of ours in its chain.
pub fn kind(error: &anyhow::Error) -> Kind {
    error.chain().find_map(of).unwrap_or(Kind::Other)
}

fn of(error: &(dyn std::error::Error + 'static)) -> Option<Kind> {
    if let Some(error) = error.downcast_ref::<image::Error>() {
        return Some(match error {
            image::Error::Reference { .. } | image::Error::Login { .. } => Kind::Settings,
            image::Error::Content { .. } => Kind::NotTrusted,
            _ => Kind::Registry,
        });
    }
    if let Some(error) = error.downcast_ref::<trust::Error>() {
        return Some(match error {
            trust::Error::Root { .. }
            | trust::Error::Identity { .. }
            | trust::Error::Key { .. }
            | trust::Error::Rules { .. } => Kind::Settings,
            _ => Kind::NotTrusted,
        });
    }
    if let Some(error) = error.downcast_ref::<engine::Error>() {
        return Some(match error {
            engine::Error::CapsNotInForce { .. } | engine::Error::Cgroup { .. } => Kind::Caps,
            engine::Error::WrongImage { .. } => Kind::NotTrusted,
            _ => Kind::Engine,
        });
    }
    if error.is::<host::Error>() {
        return Some(Kind::Host);
    }
    if let Some(error) = error.downcast_ref::<github::CredentialError>() {
        return Some(match error {
            github::CredentialError::None { .. } => Kind::GitHub,
            _ => Kind::Settings,
        });
    }
    if let Some(error) = error.downcast_ref::<github::Error>() {
        return Some(match error {
            github::Error::Credential(_) => Kind::Settings,
            _ => Kind::GitHub,
        });
    }
    if let Some(error) = error.downcast_ref::<installation::Error>() {
        return Some(match error {
            installation::Error::None
            | installation::Error::NotFound { .. }
            | installation::Error::Several { .. }
            | installation::Error::Taken { .. }
            | installation::Error::OtherEngine { .. }
            | installation::Error::OtherUserIds { .. }
            | installation::Error::NotOurLayout { .. }
            | installation::Error::OfARepositoryOnly { .. }
            | installation::Error::NotInstalled { .. }
            | installation::Error::ByUp { .. }
            | installation::Error::ByInstall { .. }
            | installation::Error::Declared { .. }
            | installation::Error::UserIdsTaken { .. } => Kind::Settings,
            installation::Error::NoRegistration { .. } | installation::Error::Drained { .. } => Kind::Offline,
            _ => Kind::Host,
        });
    }
    if let Some(error) = error.downcast_ref::<UnitError>() {
        return Some(match error {
            UnitError::NoCredential
            | UnitError::NoSlots(_)
            | UnitError::Stays(_)
            | UnitError::NoUnit
            | UnitError::NoTimer
            | UnitError::LoginInAddress(_)
            | UnitError::SameSlice(..) => Kind::Settings,
            _ => Kind::Host,
        });
    }
    if let Some(error) = error.downcast_ref::<cache::Error>() {
        return Some(match error {
            cache::Error::Address { .. }
            | cache::Error::Key(_)
            | cache::Error::Login(_)
            | cache::Error::CacheLogin(_)
            | cache::Error::OtherStore { .. } => Kind::Settings,
            _ => Kind::Other,
        });
    }
    whole(error)
}

/// Failures that are of one kind, whatever happened.
fn whole(error: &(dyn std::error::Error + 'static)) -> Option<Kind> {
    let is_settings = error.is::<config::Error>()
        || error.is::<cache::secrets::AllowedError>()
        || error.is::<cache::vega::CredentialError>()
        || error.is::<cache::key::KeyError>()
        || error.is::<cache::compression::CompressionError>();
    let kinds = [
        (is_settings, Kind::Settings),
        (error.is::<NotOnline>() || error.is::<RolledBack>(), Kind::Offline),
        (error.is::<StillAtWork>() || error.is::<WindowOver>(), Kind::AtWork),
        (error.is::<cache::provenance::ProvenanceError>(), Kind::NotTrusted),
        (error.is::<StrangersReach>(), Kind::Strangers),
        (matches!(error.downcast_ref(), Some(systemd::Error::Calendar { .. })), Kind::Settings),
        (error.is::<systemd::Error>(), Kind::Host),
    ];
    kinds.into_iter().find_map(|(is_it, kind)| is_it.then_some(kind))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::{Kind, kind};

    #[test]
    fn the_kind_shows_through_context() {
        let error: Result<(), _> = Err(crate::github::CredentialError::None { sudo: "" });
        let error = error.context("while registering").unwrap_err();
        assert_eq!(kind(&error), Kind::GitHub);
        assert_eq!(kind(&anyhow::anyhow!("x")), Kind::Other);
    }
}
