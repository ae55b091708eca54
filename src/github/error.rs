use std::fmt;

/// What was asked of GitHub, for an error's first words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    MintRegistrationToken,
    GenerateJitConfig,
    ListRunners,
    ReadEndOfLife,
    ListJobs,
    DeleteRunner,
    ReadRepository,
    ListBranches,
    ReadWorkflows,
    ReadSettings,
    ReadGroups,
    ListRepositories,
    FindInstallation,
    MintAccessToken,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MintRegistrationToken => "minting a registration token",
            Self::GenerateJitConfig => "asking for a just-in-time configuration",
            Self::ListRunners => "listing the runners",
            Self::ReadEndOfLife => "asking how long the runner's version is served",
            Self::ListJobs => "listing the jobs of a run",
            Self::DeleteRunner => "removing the runner",
            Self::ReadRepository => "asking for the repository",
            Self::ListBranches => "listing the branches",
            Self::ReadWorkflows => "reading the workflows",
            Self::ReadSettings => "reading the settings",
            Self::ReadGroups => "reading the groups of runners",
            Self::ListRepositories => "listing the repositories",
            Self::FindInstallation => "looking for the installation of the GitHub App",
            Self::MintAccessToken => "minting the GitHub App's token",
        })
    }
}

impl Error {
    /// Whether it may well go another way later, without anybody's doing.
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Server { .. }
                | Self::Unreachable { .. }
                | Self::LostReply { .. }
        )
    }
}

/// What is to be done about a token, by where it came from: a file, a GitHub App, or somebody's login.
fn by_origin(origin: &str, [file, app, login]: [&'static str; 3]) -> &'static str {
    match origin {
        of if of.starts_with("the token file") => file,
        of if of.starts_with("the GitHub App") => app,
        _ => login,
    }
}

fn allowed(origin: &str) -> &'static str {
    by_origin(
        origin,
        [
            "put one that has it into that file",
            "give the App that permission, on its page at GitHub",
            "type `gh auth refresh -s repo`, or give a token that has it",
        ],
    )
}

fn seen(origin: &str) -> &'static str {
    by_origin(
        origin,
        [
            "put the token of somebody who administers it into that file",
            "let the App into it, on the page of its installation",
            "type `gh auth login` as somebody who administers it",
        ],
    )
}

fn renewed(origin: &str) -> &'static str {
    by_origin(
        origin,
        [
            "put a new one into that file",
            "type this command again, and look at the App's installation when that does not help",
            "type `gh auth login`, or give a new one",
        ],
    )
}

/// GitHub's refusals, apart; each says what to type next. None of them carries a token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{operation} of {target}: GitHub does not accept the token from {origin} (401); it may have lapsed: {}", renewed(.origin)
    )]
    Unauthorized { operation: Operation, target: String, origin: String },
    #[error(
        "{operation} of {target}: the token from {origin} lacks a permission (403: {message}); it needs {needed}: {}", allowed(.origin)
    )]
    Forbidden { operation: Operation, target: String, origin: String, message: String, needed: String },
    #[error(
        "{operation} of {target}: the organisation wants the token authorised for single sign-on (403); open {url}, then run this command again"
    )]
    Sso { operation: Operation, target: String, url: String },
    #[error(
        "{operation} of {target}: there is no such repository or organisation, or the token from {origin} may not see it (404); check the name, or {}", seen(.origin)
    )]
    NotFound { operation: Operation, target: String, origin: String },
    #[error(
        "{operation} of {target}: GitHub refuses it in this state (409: {message}); wait a minute, then run this command again"
    )]
    Conflict { operation: Operation, target: String, message: String },
    #[error(
        "{operation} of {target}: GitHub finds the request wrong (422: {message}); check the runner's name and labels"
    )]
    Invalid { operation: Operation, target: String, message: String },
    #[error(
        "{operation} of {target}: GitHub's rate limit is used up ({status}); run this command again {when}"
    )]
    RateLimited { operation: Operation, target: String, status: u16, when: String },
    #[error(
        "{operation} of {target}: the repository has moved ({status}): use its new name; a runner that is installed here under the old one is taken away by `vega-builder down --offline`"
    )]
    Moved { operation: Operation, target: String, status: u16 },
    #[error(
        "{operation} of {target}: GitHub has trouble of its own ({status}); see https://www.githubstatus.com, then run this command again"
    )]
    Server { operation: Operation, target: String, status: u16 },
    #[error("{operation} of {target}: GitHub's answer ({status}) cannot be understood: {why}")]
    Answer { operation: Operation, target: String, status: u16, why: String },
    #[error(
        "{operation} of {target}: {server} cannot be reached: {why}; check the network, then run this command again"
    )]
    Unreachable { operation: Operation, target: String, server: String, why: String },
    #[error(
        "{operation} of {target}: no answer came from {server} ({why}); it was not asked again, because a token may have been minted; one that nobody uses lapses within the hour: run this command again"
    )]
    LostReply { operation: Operation, target: String, server: String, why: String },
    #[error(
        "{organization} has no group of runners called '{wanted}', but {}; give one of them with --runner-group, or make it on the organisation's page", .have.join(", ")
    )]
    NoGroup { organization: String, wanted: String, have: Vec<String> },
    #[error(
        "more than {most} repositories of {organization} may use the group '{group}', and what can reach this runner cannot be read in all of them: let only those use the group that build here"
    )]
    TooManyRepositories { organization: String, group: String, most: usize },
    #[error(transparent)]
    Credential(#[from] super::CredentialError),
    #[error("the connection to GitHub cannot be set up: {0}; is the package ca-certificates installed?")]
    Client(String),
}
