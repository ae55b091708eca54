//! The workflow files of a repository at GitHub, with all that they call, and the settings that decide with them.

use std::{collections::BTreeMap, sync::Mutex};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    github::{Branch, Content, Entry, Error, GitHub},
    value::Repository,
    workflow::{Actions, FOLDER, FileId, Known, Reference, Set, Variables, is_workflow_file},
};

/// Which branches are read. A push runs the files of its branch; a pull request those of its base, merged with its
/// head: any branch can be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Branches {
    Default,
    Named(Vec<String>),
    All,
}

/// The workflows of one or more branches that have the same ones.
#[derive(Debug)]
pub struct OfBranches {
    pub branches: Vec<String>,
    pub set: Set,
}

/// GitHub names no more files of one folder.
const MOST_LISTED: usize = 1000;
/// Requests under way at once.
const AT_ONCE: usize = 8;
/// As many calls as GitHub follows from one workflow, and more.
const MOST_CALLED: usize = 200;

/// What GitHub says of the repository: who can see it, its settings, its variables.
pub async fn settings(github: &GitHub<Repository>, known: &mut Known) -> Result<String, Error> {
    let repository = github.visible_repository().await?;
    let group = (!known.group.eq_ignore_ascii_case("Default")).then_some(known.group.as_str());
    let (settings, variables) = tokio::try_join!(github.settings(&repository, group), github.variables())?;
    known.settings = Some(settings);
    known.repository = Some(github.subject().to_string());
    if let Some(values) = variables {
        // What a person gave is what they ask about.
        let given =
            |name: &str| known.variables.values.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let read: Vec<_> = values.into_iter().filter(|(name, _)| !given(name)).collect();
        known.variables.values.extend(read);
        known.variables = Variables { complete: true, ..std::mem::take(&mut known.variables) };
    }
    Ok(repository.default_branch)
}

/// Read the workflows of the branches; those with the same files only once.
pub async fn workflows(
    github: &GitHub<Repository>,
    default: &str,
    wanted: &Branches,
) -> Result<Vec<OfBranches>, Error> {
    let mut branches = match wanted {
        Branches::All => github.branches().await?,
        Branches::Default => vec![github.branch(default).await?],
        Branches::Named(names) => {
            let asked = names.iter().map(|name| github.branch(name));
            stream::iter(asked).buffered(AT_ONCE).try_collect().await?
        }
    };
    // The default branch is told of first.
    branches.sort_by_key(|branch| branch.name != default);
    let listings = branches
        .iter()
        .map(|branch| async move { Ok::<_, Error>((branch, github.folder(FOLDER, branch.commit()).await?)) });
    let listings: Vec<(&Branch, Vec<Entry>)> = stream::iter(listings).buffered(AT_ONCE).try_collect().await?;

    let mut groups: Vec<(Vec<&Branch>, Vec<Entry>)> = Vec::new();
    for (branch, entries) in listings {
        match groups.iter_mut().find(|(_, known)| *known == entries) {
            Some((branches, _)) => branches.push(branch),
            None => groups.push((vec![branch], entries)),
        }
    }
    let texts = texts(github, &groups).await?;
    let mut all = Vec::new();
    for (branches, entries) in groups {
        let mut set = Set::default();
        if entries.len() >= MOST_LISTED {
            set.add_unread(FOLDER, format!("GitHub names no more than {MOST_LISTED} of its files"));
        }
        for entry in entries.into_iter().filter(is_workflow) {
            add(&mut set, &entry, texts.get(&(entry.path.clone(), entry.sha.clone())));
        }
        all.push(OfBranches {
            branches: branches.into_iter().map(|branch| branch.name.clone()).collect(),
            set,
        });
    }
    follow(github, &mut all).await?;
    Ok(all)
}

fn is_workflow(entry: &Entry) -> bool {
    (entry.is_file() || entry.is_link()) && is_workflow_file(&entry.path)
}

type Texts = BTreeMap<(String, String), Option<Content>>;

/// Every content that some branch has, asked for once.
async fn texts(github: &GitHub<Repository>, groups: &[(Vec<&Branch>, Vec<Entry>)]) -> Result<Texts, Error> {
    let mut wanted: BTreeMap<(String, String), &str> = BTreeMap::new();
    for (branches, entries) in groups {
        for entry in entries.iter().filter(|entry| entry.is_file() && is_workflow(entry)) {
            wanted.entry((entry.path.clone(), entry.sha.clone())).or_insert(branches[0].commit());
        }
    }
    let asked = wanted.into_iter().map(|(key, commit)| async move {
        let content = github.file(&key.0, commit).await?;
        Ok::<_, Error>((key, content))
    });
    stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await
}

fn add(set: &mut Set, entry: &Entry, content: Option<&Option<Content>>) -> FileId {
    let path = &entry.path;
    match content {
        None => {
            set.add_unread(path, "a symbolic link, which GitHub does not follow; put the file itself there")
        }
        Some(None) => set.add_unread(path, "it was listed, and is not there"),
        Some(Some(Content::TooLarge)) => {
            set.add_unread(path, "larger than 1 MiB, which GitHub does not read")
        }
        Some(Some(Content::Bytes(bytes))) => match std::str::from_utf8(bytes) {
            Ok(text) => set.add(path, text),
            Err(_) => set.add_unread(path, "no UTF-8 text"),
        },
    }
}

/// Fetch the workflows of other repositories that are called, and those that they call.
pub async fn follow(github: &GitHub<Repository>, all: &mut [OfBranches]) -> Result<(), Error> {
    let mut known: BTreeMap<String, Option<String>> = BTreeMap::new();
    loop {
        let missing = |set: &Set| {
            set.missing().into_iter().filter(|reference| !known.contains_key(reference)).collect()
        };
        let mut wanted: Vec<String> = all.iter().flat_map(|of| -> Vec<String> { missing(&of.set) }).collect();
        wanted.sort();
        wanted.dedup();
        wanted.truncate(MOST_CALLED.saturating_sub(known.len()));
        if wanted.is_empty() {
            return Ok(());
        }
        let asked = wanted.into_iter().map(|reference| async move {
            let text = called(github, &reference).await?;
            Ok::<_, Error>((reference, text))
        });
        let fetched: Vec<_> = stream::iter(asked).buffer_unordered(AT_ONCE).try_collect().await?;
        known.extend(fetched);
        for of in all.iter_mut() {
            for reference in of.set.missing() {
                if let Some(Some(text)) = known.get(&reference) {
                    of.set.add_remote(&reference, text);
                }
            }
        }
    }
}

/// A called workflow's text; none where it is not to be had.
async fn called(github: &GitHub<Repository>, reference: &str) -> Result<Option<String>, Error> {
    let Some(parsed) = Reference::parse(reference) else { return Ok(None) };
    let Ok(repository) = parsed.repository.parse::<Repository>() else { return Ok(None) };
    let content = match github.of(&repository).file(parsed.path, parsed.revision).await {
        Err(Error::Forbidden { .. } | Error::Sso { .. } | Error::Moved { .. } | Error::Answer { .. }) => None,
        other => other?,
    };
    Ok(content.and_then(|content| match content {
        Content::Bytes(bytes) => String::from_utf8(bytes).ok(),
        Content::TooLarge => None,
    }))
}

/// What GitHub says of the actions that a set of workflows uses.
#[derive(Debug, Default)]
pub struct Fetched {
    using: BTreeMap<String, String>,
    commits: BTreeMap<String, String>,
    flake: bool,
}

impl Fetched {
    /// Ask about actions (`uses:`), and about the flake and the actions of the repository itself at one of its
    /// revisions; without one those are another's to tell of.
    pub async fn read(
        github: &GitHub<Repository>,
        own: Option<&str>,
        uses: Vec<String>,
    ) -> Result<Self, Error> {
        let fetched = Mutex::new(Self::default());
        let store = |change: &dyn Fn(&mut Self)| {
            change(&mut fetched.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        };
        let flake = async {
            let Some(revision) = own else { return Ok(()) };
            let text = text_of(github, &["flake.nix"], revision).await?;
            store(&|all| all.flake = text.as_ref().is_some_and(|text| text.contains("substituters")));
            Ok(())
        };
        let store = &store;
        let actions =
            stream::iter(uses).map(Ok::<_, Error>).try_for_each_concurrent(AT_ONCE, |uses| async move {
                let here = uses.strip_prefix("./").zip(own);
                let (of, path, revision, commit) = match (here, Reference::parse(&uses)) {
                    (Some((path, revision)), _) => (github.clone(), path, revision.to_owned(), None),
                    (None, Some(reference)) => {
                        let Ok(repository) = reference.repository.parse::<Repository>() else {
                            return Ok(());
                        };
                        let of = github.of(&repository);
                        let commit = if reference.is_pinned() {
                            None
                        } else {
                            of.commit(reference.revision).await.ok().flatten()
                        };
                        (of, reference.path, reference.revision.to_owned(), commit)
                    }
                    (None, None) => return Ok(()),
                };
                let names = ["action.yml", "action.yaml"]
                    .map(|name| format!("{path}/{name}").trim_start_matches('/').to_owned());
                let metadata = text_of(&of, &[&names[0], &names[1]], &revision).await.unwrap_or_default();
                let using = metadata.and_then(|text| crate::workflow::using(&text));
                store(&|all| {
                    all.using.extend(using.clone().map(|using| (uses.clone(), using)));
                    all.commits.extend(commit.clone().map(|commit| (uses.clone(), commit)));
                });
                Ok(())
            });
        tokio::try_join!(flake, actions)?;
        Ok(fetched.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The first of these files that is there.
async fn text_of(
    github: &GitHub<Repository>,
    paths: &[&str],
    revision: &str,
) -> Result<Option<String>, Error> {
    for path in paths {
        if let Some(Content::Bytes(bytes)) = github.file(path, revision).await? {
            return Ok(String::from_utf8(bytes).ok());
        }
    }
    Ok(None)
}

impl Actions for Fetched {
    fn using(&self, uses: &str) -> Option<String> {
        self.using.get(uses).cloned()
    }

    fn commit(&self, uses: &str) -> Option<String> {
        self.commits.get(uses).cloned()
    }

    fn flake_names_substituter(&self) -> bool {
        self.flake
    }
}
