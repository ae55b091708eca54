//! Settings that are one of a few words.

use std::{fmt, str::FromStr};

/// Which engine runs the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineChoice {
    /// podman when it is installed, else docker.
    Auto,
    Podman,
    Docker,
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "auto" => Ok(Self::Auto),
            "podman" => Ok(Self::Podman),
            "docker" => Ok(Self::Docker),
            other => Err(format!("'{other}' is not an engine; write podman, docker or auto")),
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Podman => "podman",
            Self::Docker => "docker",
        })
    }
}

/// The image's `VEGA_NIX_SANDBOX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    Auto,
    Required,
    Off,
}

impl FromStr for Sandbox {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        match given {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Required),
            "false" => Ok(Self::Off),
            other => Err(format!("'{other}' is not a sandbox mode; write true, auto or false")),
        }
    }
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Required => "true",
            Self::Off => "false",
        })
    }
}
