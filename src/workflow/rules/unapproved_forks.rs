use super::super::{
    finding::{Finding, Rule, Severity},
    known::Known,
};
use crate::value::{Approval, RepositorySettings};

pub const RULE: Rule = Rule {
    id: "unapproved-forks",
    summary: "In this public repository a stranger's workflow runs without anybody's approval",
    why: "A pull request from a fork brings its own workflow files: it can add `runs-on: [self-hosted, vega]` to one, and \
          no reading of the files that are here now says anything about that. Only GitHub can hold it back, by waiting \
          for a maintainer's approval. Unless that is asked of all outside contributors, whoever once had a typo's \
          correction merged needs none.",
    example: "approval_policy: first_time_contributors\n",
    remedy: "approval_policy: all_external_contributors\n",
    severity: Severity::Error,
};

pub fn check(known: &Known, findings: &mut Vec<Finding>) {
    let Some(settings @ RepositorySettings { private: false, approval, .. }) = &known.settings else {
        return;
    };
    let title = match approval {
        Some(Approval::AllExternalContributors) => return,
        Some(Approval::FirstTimeContributors) => {
            "whoever had one pull request merged here can run any job on this runner, without approval"
        }
        Some(Approval::FirstTimeContributorsNewToGithub) => {
            "everybody whose account is not new can run any job on this runner, without approval"
        }
        None => {
            "whose pull requests from forks run without approval could not be read, and that may be anyone's"
        }
    };
    let repository = known.repository.as_deref().unwrap_or("OWNER/REPO");
    let help = vec![
        "choose \"Require approval for all external contributors\" there, or type".to_owned(),
        format!(
            "gh api -X PUT repos/{repository}/actions/permissions/fork-pr-contributor-approval -f \
             approval_policy=all_external_contributors"
        ),
    ];
    findings.push(Finding::of_setting(&RULE, address(settings), title.to_owned(), help));
}

fn address(settings: &RepositorySettings) -> String {
    format!("{}/settings/actions", settings.page)
}
