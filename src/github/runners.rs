//! The calls that this project makes, with the fields that it needs: GitHub's replies leave out others.

use jiff::Timestamp;

use super::{Error, GitHub, Operation};
use crate::value::{Labels, RegistrationToken, RunnerName};

/// A runner as GitHub lists it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Runner {
    pub id: u64,
    pub name: String,
    pub status: String,
    pub busy: bool,
    /// The version of GitHub's program; not there before it connected once.
    #[serde(default)]
    pub version: Option<String>,
    labels: Vec<Label>,
}

/// Until when GitHub serves a version of its runner; a date that is not set yet is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct EndOfLife {
    /// It is sent no job after this.
    pub runtime_deprecates_at: Option<Timestamp>,
    /// It is not registered after this.
    pub registration_deprecates_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Label {
    name: String,
}

impl Runner {
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }

    /// GitHub adds `self-hosted`, the system and the architecture by itself.
    pub fn has_labels(&self, labels: &Labels) -> bool {
        labels.iter().all(|wanted| self.labels.iter().any(|label| label.name.eq_ignore_ascii_case(wanted)))
    }
}

#[derive(serde::Deserialize)]
struct Minted {
    token: String,
    expires_at: Timestamp,
}

#[derive(serde::Deserialize)]
struct Page {
    total_count: u64,
    runners: Vec<Runner>,
}

const PAGE: u64 = 100;
/// As many runners as a repository or an organisation may have, and more.
const MOST_PAGES: u64 = 100;

impl GitHub {
    /// A registration token and the time of its lapse (an hour from now).
    ///
    /// Source: `POST /repos/{owner}/{repo}/actions/runners/registration-token`, and the same under `/orgs/{org}`.
    pub async fn mint_registration_token(&self) -> Result<(RegistrationToken, Timestamp), Error> {
        let operation = Operation::MintRegistrationToken;
        let reply = self.post(operation, &self.route("/actions/runners/registration-token")).await?;
        let minted: Minted = self.parsed(operation, &reply)?;
        Ok((RegistrationToken::new(minted.token), minted.expires_at))
    }

    /// The runner of this name, when GitHub knows one; it compares names without case.
    ///
    /// Source: `GET /repos/{owner}/{repo}/actions/runners?name=…`. Older servers pass over `name` and list all.
    pub async fn runner(&self, name: &RunnerName) -> Result<Option<Runner>, Error> {
        let operation = Operation::ListRunners;
        for number in 1..=MOST_PAGES {
            let route = self.route(&format!("/actions/runners?name={name}&per_page={PAGE}&page={number}"));
            let reply = self.read(operation, &route).await?;
            let page: Page = self.parsed(operation, &reply)?;
            let is_it = |runner: &Runner| runner.name.eq_ignore_ascii_case(name.as_str());
            if let Some(runner) = page.runners.into_iter().find(is_it) {
                return Ok(Some(runner));
            }
            if number * PAGE >= page.total_count {
                break;
            }
        }
        Ok(None)
    }

    /// All runners of which this is true.
    ///
    /// Source: `GET /repos/{owner}/{repo}/actions/runners`, and the same under `/orgs/{org}`.
    pub async fn runners(&self, wanted: impl Fn(&Runner) -> bool) -> Result<Vec<Runner>, Error> {
        let operation = Operation::ListRunners;
        let mut all = Vec::new();
        for number in 1..=MOST_PAGES {
            let route = self.route(&format!("/actions/runners?per_page={PAGE}&page={number}"));
            let page: Page = self.parsed(operation, &self.read(operation, &route).await?)?;
            let is_last = number * PAGE >= page.total_count || page.runners.is_empty();
            all.extend(page.runners.into_iter().filter(|runner| wanted(runner)));
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Until when GitHub serves a version of its runner; nothing where it does not say so (GitHub Enterprise Server, or a
    /// version that it does not know).
    ///
    /// Source: `GET /repos/{owner}/{repo}/actions/runners/deprecations/{version}`, and the same under `/orgs/{org}`.
    pub async fn end_of_life(&self, version: &str) -> Result<Option<EndOfLife>, Error> {
        let operation = Operation::ReadEndOfLife;
        if version.is_empty() || !version.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)) {
            return Ok(None);
        }
        match self.read(operation, &self.route(&format!("/actions/runners/deprecations/{version}"))).await {
            Ok(reply) => Ok(Some(self.parsed(operation, &reply)?)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Take the runner off GitHub's list; one that is not there is no error.
    ///
    /// Source: `DELETE /repos/{owner}/{repo}/actions/runners/{id}`.
    pub async fn delete_runner(&self, runner: &Runner) -> Result<(), Error> {
        let route = self.route(&format!("/actions/runners/{}", runner.id));
        let gone = |result: Result<_, Error>| match result {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        match gone(self.delete(Operation::DeleteRunner, &route).await) {
            Err(Error::LostReply { .. } | Error::Server { .. }) => {
                gone(self.delete(Operation::DeleteRunner, &route).await)
            }
            other => other,
        }
    }
}
