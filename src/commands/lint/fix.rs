//! `--fix`: remedies that need no thought, written into the files.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::Context as _;

use super::{files::Folder, report::Checked};
use crate::workflow::{Edit, apply as apply_edits};

/// Mend what can be mended; how many findings that is.
pub fn apply(folder: &Folder, checked: &Checked) -> anyhow::Result<usize> {
    let mut by_file: BTreeMap<_, Vec<&Edit>> = BTreeMap::new();
    let mut mended = 0;
    for fix in checked.findings.iter().filter_map(|finding| finding.fix.as_ref()) {
        let edits = by_file.entry(fix.file).or_default();
        // One change for two jobs of a file is one change.
        if !fix.edits.iter().all(|edit| edits.contains(&edit)) {
            edits.extend(&fix.edits);
        }
        mended += 1;
    }
    for (file, edits) in by_file {
        let (name, text) = checked.set.source(file);
        let Some(path) = folder.path(name) else { continue };
        replace(path, &apply_edits(text, &edits))
            .with_context(|| format!("{} cannot be written; it is as it was", path.display()))?;
    }
    Ok(mended)
}

/// All of it or nothing, with the mode that the file had.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.as_file().set_permissions(fs::metadata(path)?.permissions())?;
    new.persist(path)?;
    Ok(())
}
