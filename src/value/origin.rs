use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Caps;

/// The runner that builds: what its host has verified, and what it is held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrigin {
    /// The runner's name at GitHub.
    pub runner: String,
    /// The repository, or the organisation, whose jobs it takes.
    pub scope: String,
    /// Nothing, where it runs on the host itself.
    #[serde(flatten)]
    pub image: Option<ImageOrigin>,
    pub caps: Caps,
}

/// The image that it runs from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrigin {
    pub image: String,
    /// `sha256:…`, as it was verified.
    pub digest: String,
    /// Whose signature the image has.
    pub signer: String,
}

/// What the runner is, and what it was before: a build may wait longer for its upload than an update takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    now: BuildOrigin,
    /// The oldest first, each with when it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<(Timestamp, BuildOrigin)>,
}

/// No build waits for so many updates.
const KEPT: usize = 32;

impl Origins {
    pub fn new(now: BuildOrigin) -> Self {
        Self { now, earlier: Vec::new() }
    }

    /// The same, with another one from `at` on.
    #[must_use]
    pub fn followed_by(mut self, now: BuildOrigin, at: Timestamp) -> Self {
        if now != self.now {
            self.earlier.push((at, std::mem::replace(&mut self.now, now)));
            let surplus = self.earlier.len().saturating_sub(KEPT);
            self.earlier.drain(..surplus);
        }
        self
    }

    /// What the runner was when a build ended.
    pub fn at(&self, ended: Timestamp) -> &BuildOrigin {
        self.earlier.iter().find(|(end, _)| ended < *end).map_or(&self.now, |(_, earlier)| earlier)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{BuildOrigin, KEPT, Origins};
    use crate::value::{ByteSize, Caps};

    fn of(digest: &str) -> BuildOrigin {
        let caps = Caps { memory: ByteSize::gib(1), cpus: "1".parse().unwrap(), pids: 64 };
        BuildOrigin {
            runner: "vega-x".into(),
            scope: "octo/x".into(),
            image: Some(super::ImageOrigin {
                image: "example.com/x".into(),
                digest: digest.to_owned(),
                signer: "someone".into(),
            }),
            caps,
        }
    }

    #[test]
    fn a_build_that_waited_through_an_update_is_of_the_image_that_built_it() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let origins = Origins::new(of("a")).followed_by(of("b"), at(10)).followed_by(of("b"), at(15));
        let origins = origins.followed_by(of("c"), at(20));
        let digest = |origin: &BuildOrigin| origin.image.clone().unwrap().digest;
        let digests: Vec<_> = [9, 10, 19, 20, 99].map(|time| digest(origins.at(at(time)))).into();
        assert_eq!(digests, ["a", "b", "b", "c", "c"]);
        let many = (0..100).fold(origins, |all, time| all.followed_by(of(&time.to_string()), at(100 + time)));
        assert_eq!((many.earlier.len(), digest(many.at(at(1000)))), (KEPT, "99".to_owned()));
    }
}
