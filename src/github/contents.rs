//! A repository's branches and files.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Error, GitHub, Operation};
use crate::value::Repository;

/// A branch and the commit that it is at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Branch {
    pub name: String,
    commit: Commit,
}

impl Branch {
    /// What the branch is now, which does not move while it is read.
    pub fn commit(&self) -> &str {
        &self.commit.sha
    }
}

/// A file's content, as far as GitHub gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Bytes(Vec<u8>),
    /// More than a megabyte, which is given in another way, and no workflow's.
    TooLarge,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Commit {
    sha: String,
}

/// Something in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Deserialize)]
pub struct Entry {
    #[serde(rename = "type")]
    kind: String,
    pub path: String,
    /// Git's name for its content: two files of one name have one content.
    pub sha: String,
}

#[derive(serde::Deserialize)]
struct File {
    content: String,
    encoding: String,
}

const PAGE: usize = 100;
const MOST_PAGES: u32 = 100;
/// A reference, and a path, as parts of an address: a branch may be called `a/b#c?`.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &PART.remove(b'/');

impl Entry {
    pub fn is_file(&self) -> bool {
        self.kind == "file"
    }

    pub fn is_link(&self) -> bool {
        self.kind == "symlink"
    }
}

impl GitHub<Repository> {
    /// Every branch.
    ///
    /// Source: `GET /repos/{owner}/{repo}/branches`.
    pub async fn branches(&self) -> Result<Vec<Branch>, Error> {
        let operation = Operation::ListBranches;
        let mut branches = Vec::new();
        for number in 1..=MOST_PAGES {
            let route = self.route(&format!("/branches?per_page={PAGE}&page={number}"));
            let page: Vec<Branch> = self.parsed(operation, &self.read(operation, &route).await?)?;
            let is_last = page.len() < PAGE;
            branches.extend(page);
            if is_last {
                return Ok(branches);
            }
        }
        let target = self.subject.to_string();
        let why = format!("it lists more than {} branches", branches.len());
        Err(Error::Answer { operation, target, status: 200, why })
    }

    /// What is in a folder at a branch, a tag or a commit; nothing where there is no such folder.
    ///
    /// Source: `GET /repos/{owner}/{repo}/contents/{path}`.
    pub async fn folder(&self, path: &str, reference: &str) -> Result<Vec<Entry>, Error> {
        let operation = Operation::ReadWorkflows;
        match self.read(operation, &self.contents(path, reference)).await {
            Ok(reply) => self.parsed(operation, &reply),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A file's content, or none if there is no such file.
    ///
    /// Source: `GET /repos/{owner}/{repo}/contents/{path}`.
    pub async fn file(&self, path: &str, reference: &str) -> Result<Option<Content>, Error> {
        let operation = Operation::ReadWorkflows;
        let reply = match self.read(operation, &self.contents(path, reference)).await {
            Ok(reply) => reply,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let file: File = self.parsed(operation, &reply)?;
        if file.encoding != "base64" {
            return Ok(Some(Content::TooLarge));
        }
        let text: String = file.content.split_whitespace().collect();
        let bytes = STANDARD.decode(text).map_err(|why| Error::Answer {
            operation,
            target: self.subject.to_string(),
            status: 200,
            why: format!("the content of {path} is no base64: {why}"),
        })?;
        Ok(Some(Content::Bytes(bytes)))
    }

    fn contents(&self, path: &str, reference: &str) -> String {
        let (path, reference) = (utf8_percent_encode(path, PATH), utf8_percent_encode(reference, PART));
        self.route(&format!("/contents/{path}?ref={reference}"))
    }

    /// One branch.
    ///
    /// Source: `GET /repos/{owner}/{repo}/branches/{branch}`.
    pub async fn branch(&self, name: &str) -> Result<Branch, Error> {
        let operation = Operation::ListBranches;
        let route = self.route(&format!("/branches/{}", utf8_percent_encode(name, PART)));
        self.parsed(operation, &self.read(operation, &route).await?)
    }

    /// The commit that a branch, a tag or a commit's name is now.
    ///
    /// Source: `GET /repos/{owner}/{repo}/commits/{ref}`.
    pub async fn commit(&self, reference: &str) -> Result<Option<String>, Error> {
        let operation = Operation::ReadRepository;
        let route = self.route(&format!("/commits/{}", utf8_percent_encode(reference, PART)));
        match self.read(operation, &route).await {
            Ok(reply) => Ok(Some(self.parsed::<Commit>(operation, &reply)?.sha)),
            Err(Error::NotFound { .. } | Error::Invalid { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
