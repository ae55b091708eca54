//! A repository as GitHub hosts it: branches, files, variables, and the settings that decide who can start jobs.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What a test may change; as it is made, it lets pushes alone start jobs here.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Hosted {
    pub private: bool,
    pub of_organization: bool,
    pub default_branch: String,
    /// Branch → path → text.
    pub branches: BTreeMap<String, BTreeMap<String, String>>,
    /// Paths that are symbolic links.
    pub links: Vec<String>,
    pub approval: String,
    pub forks_run: bool,
    pub forks_need_approval: bool,
    pub token: String,
    pub variables: BTreeMap<String, String>,
    pub organization_variables: BTreeMap<String, String>,
    pub writers: usize,
}

const WORKFLOW: &str = "\
name: Heavy
on: push
permissions: {contents: read}
concurrency: {group: heavy}
jobs:
  build:
    runs-on: [self-hosted, vega]
    timeout-minutes: 60
    steps:
      - run: make
";

impl Default for Hosted {
    fn default() -> Self {
        let files = BTreeMap::from([(".github/workflows/heavy.yml".to_owned(), WORKFLOW.to_owned())]);
        Self {
            private: false,
            of_organization: true,
            default_branch: "main".to_owned(),
            branches: BTreeMap::from([("main".to_owned(), files)]),
            links: Vec::new(),
            approval: "all_external_contributors".to_owned(),
            forks_run: false,
            forks_need_approval: true,
            token: "read".to_owned(),
            variables: BTreeMap::new(),
            organization_variables: BTreeMap::new(),
            writers: 2,
        }
    }
}

/// A name for a content, of git's form.
fn sha(content: &str) -> String {
    hex::encode(Sha256::digest(content))[..40].to_owned()
}

impl Hosted {
    /// Put a file on a branch, which is made from the default one if it is new.
    pub fn file(&mut self, branch: &str, path: &str, text: &str) {
        let files = self.branches.get(branch).or_else(|| self.branches.get(&self.default_branch)).cloned();
        let mut files = files.unwrap_or_default();
        files.insert(path.to_owned(), text.to_owned());
        self.branches.insert(branch.to_owned(), files);
    }

    /// The commit that a branch is at.
    pub fn commit(&self, branch: &str) -> Option<String> {
        let files = self.branches.get(branch)?;
        let names: Vec<String> = files.iter().map(|(path, text)| format!("{path}\0{}", sha(text))).collect();
        Some(sha(&names.join("\0")))
    }

    /// The files at a branch, a tag (here: a branch as well) or a commit; at the default branch without one.
    fn at(&self, reference: Option<&str>) -> Option<&BTreeMap<String, String>> {
        let reference = reference.unwrap_or(&self.default_branch);
        let at_commit =
            || self.branches.keys().find(|branch| self.commit(branch).as_deref() == Some(reference));
        self.branches.get(reference).or_else(|| self.branches.get(at_commit()?))
    }

    /// `GET …/contents/{path}`: an array for a folder, an object for a file.
    pub fn contents(&self, api: &str, path: &str, reference: Option<&str>) -> Option<Value> {
        let files = self.at(reference)?;
        let item = |path: &str, text: &str| {
            let url = format!("{api}/contents/{path}");
            let kind = if self.links.iter().any(|link| link == path) { "symlink" } else { "file" };
            json!({
                "type": kind, "size": text.len(), "name": path.rsplit('/').next(), "path": path, "sha": sha(text),
                "url": url, "git_url": url, "html_url": url, "download_url": url,
                "_links": { "self": url, "git": url, "html": url },
            })
        };
        if let Some(text) = files.get(path) {
            let mut file = item(path, text);
            // GitHub breaks the lines, and gives no content of more than a megabyte.
            let is_large = text.len() > 1 << 20;
            let encoded = STANDARD.encode(text);
            let lines: Vec<&str> =
                (0..encoded.len()).step_by(60).map(|at| &encoded[at..encoded.len().min(at + 60)]).collect();
            file["content"] = json!(if is_large { String::new() } else { lines.join("\n") });
            file["encoding"] = json!(if is_large { "none" } else { "base64" });
            return Some(file);
        }
        let folder = format!("{path}/");
        let inside: Vec<Value> = files
            .iter()
            .filter(|(known, _)| known.strip_prefix(&folder).is_some_and(|rest| !rest.contains('/')))
            .map(|(path, text)| item(path, text))
            .collect();
        (!inside.is_empty()).then_some(Value::Array(inside))
    }

    pub fn branch(&self, name: &str) -> Option<Value> {
        let commit = self.commit(name)?;
        Some(
            json!({ "name": name, "commit": { "sha": commit, "url": "http://localhost/" }, "protected": false }),
        )
    }

    /// `GET /repos/{owner}/{repo}`, with every field that the description demands.
    pub fn described(&self, api: &str, owner: &str, name: &str) -> Value {
        let account = |login: &str, kind: &str| {
            let mut account = json!({ "login": login, "id": 1, "node_id": "x", "gravatar_id": "", "type": kind, "site_admin": false });
            for url in [
                "avatar_url",
                "url",
                "html_url",
                "followers_url",
                "following_url",
                "gists_url",
                "starred_url",
                "subscriptions_url",
                "organizations_url",
                "repos_url",
                "events_url",
                "received_events_url",
            ] {
                account[url] = json!("http://localhost/");
            }
            account
        };
        let mut repository = json!({
            "id": 1, "node_id": "x", "name": name, "full_name": format!("{owner}/{name}"), "private": self.private,
            "owner": account(owner, if self.of_organization { "Organization" } else { "User" }),
            "visibility": if self.private { "private" } else { "public" },
            "description": "", "fork": false, "url": api, "homepage": "", "language": "Nix", "license": { "key": "apache-2.0", "name": "Apache License 2.0", "spdx_id": "Apache-2.0", "url": "http://localhost/", "node_id": "x" },
            "mirror_url": "http://localhost/", "default_branch": self.default_branch, "forks": 0, "forks_count": 0, "size": 1,
            "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "open_issues": 0, "open_issues_count": 0,
            "network_count": 0, "subscribers_count": 0, "archived": false, "disabled": false,
            "has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false, "has_discussions": false,
            "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z", "pushed_at": "2026-01-01T00:00:00Z",
        });
        for url in [
            "archive",
            "assignees",
            "blobs",
            "branches",
            "clone",
            "collaborators",
            "comments",
            "commits",
            "compare",
            "contents",
            "contributors",
            "deployments",
            "downloads",
            "events",
            "forks",
            "git",
            "git_commits",
            "git_refs",
            "git_tags",
            "hooks",
            "html",
            "issue_comment",
            "issue_events",
            "issues",
            "keys",
            "labels",
            "languages",
            "merges",
            "milestones",
            "notifications",
            "pulls",
            "releases",
            "ssh",
            "stargazers",
            "statuses",
            "subscribers",
            "subscription",
            "svn",
            "tags",
            "teams",
            "trees",
        ] {
            repository[format!("{url}_url")] = json!("http://localhost/");
        }
        repository
    }
}
