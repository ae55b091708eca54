//! The workflow files of one repository at one place, and those of others that they call.

use super::{
    file::Workflow,
    lines::Lines,
    yaml::{Fault, Node},
};

/// Which file of a [`Set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub usize);

#[derive(Debug, Default)]
pub struct Set {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    workflow: Result<Workflow, Unread>,
    /// `owner/name/PATH@REF` of a file that is another repository's, or of another revision.
    remote: Option<String>,
    lines: Lines,
}

/// A file that cannot be read, or a call of one that cannot be had.
#[derive(Debug, Clone)]
pub struct Unread {
    pub path: String,
    pub text: String,
    pub fault: Fault,
}

impl Set {
    /// Add one of the repository's own files.
    pub fn add(&mut self, path: &str, text: &str) -> FileId {
        self.push(path, text, None)
    }

    /// Add a file that `uses:` names as `reference`.
    pub fn add_remote(&mut self, reference: &str, text: &str) -> FileId {
        self.push(reference, text, Some(reference.to_owned()))
    }

    /// Add a file that cannot be had, and why.
    pub fn add_unread(&mut self, path: &str, why: impl Into<String>) -> FileId {
        let unread = Unread { path: path.to_owned(), text: String::new(), fault: Fault::new(0..0, why) };
        self.files.push(File { workflow: Err(unread), remote: None, lines: Lines::of("") });
        FileId(self.files.len() - 1)
    }

    fn push(&mut self, path: &str, text: &str, remote: Option<String>) -> FileId {
        let workflow = Workflow::read(path, text).map_err(|fault| Unread {
            path: path.to_owned(),
            text: text.to_owned(),
            fault,
        });
        self.files.push(File { workflow, remote, lines: Lines::of(text) });
        FileId(self.files.len() - 1)
    }

    pub fn get(&self, id: FileId) -> Option<&Workflow> {
        self.files.get(id.0)?.workflow.as_ref().ok()
    }

    /// The path and the text of a file, read or not.
    pub fn source(&self, id: FileId) -> (&str, &str) {
        match &self.files[id.0].workflow {
            Ok(workflow) => (&workflow.path, &workflow.text),
            Err(unread) => (&unread.path, &unread.text),
        }
    }

    pub fn lines(&self, id: FileId) -> &Lines {
        &self.files[id.0].lines
    }

    /// Line and column of a byte of a file, both from 1; columns count characters.
    pub fn line_and_column(&self, id: FileId, at: usize) -> (usize, usize) {
        self.lines(id).line_and_column(self.source(id).1, at)
    }

    /// Those that GitHub itself starts: the repository's own.
    pub fn own(&self) -> impl Iterator<Item = (FileId, &Workflow)> {
        let own = self.files.iter().enumerate().filter(|(_, file)| file.remote.is_none());
        own.filter_map(|(at, file)| Some((FileId(at), file.workflow.as_ref().ok()?)))
    }

    pub fn unread(&self) -> impl Iterator<Item = (FileId, &Unread)> {
        let all = self.files.iter().enumerate();
        all.filter_map(|(at, file)| Some((FileId(at), file.workflow.as_ref().err()?)))
    }

    pub fn len(&self) -> usize {
        self.files.len()
    }

    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file that a job's `uses:` names, as seen from the file where that stands.
    pub fn called(&self, from: FileId, uses: &str) -> Option<FileId> {
        let at = match self.qualified(from, uses) {
            Called::Own(path) => {
                let own = |file: &File| file.remote.is_none() && path_of(file) == path;
                self.files.iter().position(own)
            }
            Called::Remote(reference) => {
                self.files.iter().position(|file| file.remote.as_deref() == Some(reference.as_str()))
            }
        };
        at.map(FileId)
    }

    fn qualified(&self, from: FileId, uses: &str) -> Called {
        let Some(path) = uses.strip_prefix("./") else { return Called::Remote(uses.to_owned()) };
        // `./` in another repository's file is that repository's, at the same revision.
        match self.files.get(from.0).and_then(|file| file.remote.as_deref()).and_then(Reference::parse) {
            Some(caller) => Called::Remote(format!("{}/{path}@{}", caller.repository, caller.revision)),
            None => Called::Own(path.to_owned()),
        }
    }

    /// The references of other repositories' files that are called and not here yet.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (at, file) in self.files.iter().enumerate() {
            let Ok(workflow) = &file.workflow else { continue };
            for job in workflow.jobs() {
                let Some(uses) = job.body.get("uses").and_then(Node::text) else { continue };
                if let Called::Remote(reference) = self.qualified(FileId(at), uses)
                    && self.called(FileId(at), uses).is_none()
                    && !missing.contains(&reference)
                {
                    missing.push(reference);
                }
            }
        }
        missing
    }
}

enum Called {
    Own(String),
    Remote(String),
}

fn path_of(file: &File) -> &str {
    match &file.workflow {
        Ok(workflow) => &workflow.path,
        Err(unread) => &unread.path,
    }
}

/// `owner/name/PATH@REVISION`, of an action or of a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'text> {
    /// `owner/name`
    pub repository: &'text str,
    pub path: &'text str,
    pub revision: &'text str,
}

impl<'text> Reference<'text> {
    pub fn parse(uses: &'text str) -> Option<Self> {
        let (what, revision) = uses.split_once('@')?;
        let slash = what.match_indices('/').nth(1).map_or(what.len(), |(at, _)| at);
        let (repository, path) = what.split_at(slash);
        let (owner, name) = repository.split_once('/')?;
        let whole = !owner.is_empty() && !name.is_empty() && !revision.is_empty() && !owner.starts_with('.');
        whole.then_some(Self { repository, path: path.trim_start_matches('/'), revision })
    }

    /// Whether the revision is a commit, which nobody can move.
    pub fn is_pinned(&self) -> bool {
        matches!(self.revision.len(), 40 | 64) && self.revision.chars().all(|c| c.is_ascii_hexdigit())
    }
}

#[cfg(test)]
mod tests {
    use super::{Reference, Set};

    const CALLED: &str = "on: workflow_call\njobs: {a: {runs-on: x}}\n";

    #[test]
    fn a_reference_is_taken_apart() {
        let reference = Reference::parse("octo/tools/.github/workflows/x.yml@v1").unwrap();
        assert_eq!((reference.repository, reference.path), ("octo/tools", ".github/workflows/x.yml"));
        assert!(!reference.is_pinned());
        assert!(Reference::parse(&format!("a/b@{}", "0a".repeat(20))).unwrap().is_pinned());
        for wrong in ["a/b", "a@v1", "./a/b@v1", "/b@v1", "a/b@"] {
            assert_eq!(Reference::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_local_call_in_anothers_file_is_that_repositorys() {
        let mut set = Set::default();
        let remote = "octo/tools/.github/workflows/x.yml@v1";
        let nested = "on: workflow_call\njobs: {b: {uses: ./.github/workflows/y.yml}}\n";
        let own = set.add(".github/workflows/y.yml", CALLED);
        let caller =
            set.add(".github/workflows/ci.yml", &format!("on: push\njobs: {{c: {{uses: '{remote}'}}}}\n"));
        assert_eq!(set.missing(), [remote]);
        let tools = set.add_remote(remote, nested);
        assert_eq!(set.called(caller, remote), Some(tools));
        assert_eq!(set.called(caller, "./.github/workflows/y.yml"), Some(own));
        assert_eq!(set.called(tools, "./.github/workflows/y.yml"), None);
        assert_eq!(set.missing(), ["octo/tools/.github/workflows/y.yml@v1"]);
    }
}
