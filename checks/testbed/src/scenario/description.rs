use std::{fs, path::Path};

use anyhow::{Context as _, ensure};

use super::steps;

/// A scenario as its file has it.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The file's name.
    #[serde(skip)]
    pub name: String,
    pub title: String,
    /// How its runner comes to the machine.
    #[serde(default)]
    pub by: By,
    /// With which engines it is played.
    #[serde(default = "podman")]
    pub engines: Vec<String>,
    /// Left out, and said so, where the processor is emulated and nobody asked for all of them.
    #[serde(default)]
    pub long: bool,
    pub boot: Vec<Boot>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// As a service of the machine: by `install`, or by its configuration.
    #[default]
    Service,
    /// `vega-builder up`, typed by somebody.
    Up,
    /// `vega-builder up --host`: a service of the machine without a container.
    Host,
}

/// What happens between the machine's start and its end.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boot {
    pub steps: Vec<String>,
    /// How the machine goes down, when it comes back.
    pub then: Option<Then>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Then {
    #[serde(rename = "reboot")]
    Reboot,
    /// Its job is not to notice.
    #[serde(rename = "reboot while a job runs")]
    RebootAtWork,
    #[serde(rename = "power cut")]
    PowerCut,
}

fn podman() -> Vec<String> {
    vec!["podman".to_owned()]
}

impl Description {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut description: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        description.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for (number, boot) in description.boot.iter().enumerate() {
            let is_last = number + 1 == description.boot.len();
            ensure!(
                boot.then.is_none() == is_last,
                "{}: `then` stands in every boot but the last",
                path.display()
            );
            for step in &boot.steps {
                ensure!(steps::named(step).is_some(), "{}: there is no step '{step}'", path.display());
            }
        }
        Ok(description)
    }

    /// Every scenario of a folder, by name.
    pub fn all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut files: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        files.iter().map(|path| Self::read(path)).collect()
    }

    /// The life of a shared machine in which it begins: it reboots after its first life, and loses its power after
    /// its second.
    pub fn first_life(&self) -> usize {
        usize::from(self.boot.first().is_some_and(|boot| boot.then == Some(Then::PowerCut)))
    }
}

#[cfg(test)]
mod tests {
    use super::Description;
    use crate::layout;

    #[test]
    fn every_scenario_is_made_of_steps_that_there_are() {
        let all = Description::all(&layout::project().join("checks/scenarios")).unwrap();
        assert!(all.len() >= 10, "{}", all.len());
    }
}
