//! The configuration file: TOML, every unknown key an error with its line.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue};

use super::{
    keys::KEYS,
    layer::{Error, Given, Layer, Origin},
};

/// Where the machine's own files are.
const FOLDER: &str = "/etc/vega-builder";

/// The standard places that exist, the person's own before the machine's.
pub fn standard_places() -> Vec<PathBuf> {
    places("config.toml")
}

/// The trust policy in the first standard place that has one.
pub fn trust_policy() -> Option<PathBuf> {
    places("trust.toml").into_iter().next()
}

fn places(name: &str) -> Vec<PathBuf> {
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let own = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|p| p.is_absolute()).or_else(home);
    let folders = own.map(|folder| folder.join("vega-builder")).into_iter().chain([PathBuf::from(FOLDER)]);
    // One that cannot be seen is not one that is not there: reading it says why.
    let is_missing = |path: &Path| {
        path.symlink_metadata().is_err_and(|why| {
            matches!(why.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        })
    };
    folders.map(|folder| folder.join(name)).filter(|path| !is_missing(path)).collect()
}

/// Where a person without a file would write one.
pub fn usual_place() -> PathBuf {
    Path::new(FOLDER).join("config.toml")
}

pub fn read(path: &Path) -> Result<Layer, Error> {
    let text = fs::read_to_string(path).map_err(|why| Error::unreadable(path, why))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<Layer, Error> {
    let document = DeTable::parse(text).map_err(|error| Error::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        why: error.message().to_owned(),
    })?;
    let mut layer = Layer::new();
    collect(path, text, "", document.get_ref(), &mut layer)?;
    Ok(layer)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn collect(
    path: &Path,
    text: &str,
    prefix: &str,
    table: &DeTable<'_>,
    layer: &mut Layer,
) -> Result<(), Error> {
    for (name, value) in table {
        let line = line_of(text, name.span().start);
        let key = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let is_section = KEYS.iter().any(|known| known.path.starts_with(&format!("{key}.")));
        if let (DeValue::Table(inner), true) = (value.get_ref(), is_section) {
            collect(path, text, &key, inner, layer)?;
            continue;
        }
        let Some(known) = KEYS.iter().find(|known| known.path == key) else {
            return Err(Error::UnknownKey { path: path.to_owned(), line, suggestion: suggestion(&key), key });
        };
        let origin = Origin::File { path: path.to_owned(), line, key };
        let Some(text) = plain(value.get_ref()) else {
            let why = format!(
                "a {} has no place here; write a string, a number or a list",
                value.get_ref().type_str()
            );
            return Err(Error::value(&origin, why));
        };
        layer.insert(known.path, Given { text, origin });
    }
    Ok(())
}

/// The value as a flag would write it; lists are joined as the flag's own separator reads them.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            let items = items?;
            let separator =
                if items.iter().any(|item| item.contains("://") || item.contains('=')) { " " } else { "," };
            Some(items.join(separator))
        }
        _ => None,
    }
}

/// The known key that a mistyped one most likely meant.
fn suggestion(key: &str) -> Option<&'static str> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().replace('_', "-");
    KEYS.iter()
        .map(|known| (known.path, distance(&last(known.path), &last(key))))
        .min_by_key(|(_, distance)| *distance)
        .filter(|(_, distance)| *distance <= 2)
        .map(|(known, _)| known)
}

/// Levenshtein's distance; both words are a dozen letters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::parse;

    fn error(text: &str) -> String {
        parse(Path::new("/etc/vega-builder/config.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn keys_of_sections_and_lists_are_read() {
        let text = "repository = \"a/b\"\nlabels = [\"self-hosted\", \"vega\"]\n[caps]\nmemory = \"12g\"\ncpus = 1.5\n\
                    [nix]\nextra-substituters = [\"https://a\", \"https://b\"]\n";
        let layer = parse(Path::new("c.toml"), text).unwrap();
        assert_eq!(layer["labels"].text, "self-hosted,vega");
        assert_eq!(layer["caps.cpus"].text, "1.5");
        assert_eq!(layer["caps.memory"].origin.to_string(), "c.toml:4: caps.memory");
        assert_eq!(layer["nix.extra-substituters"].text, "https://a https://b");
    }

    #[test]
    fn an_unknown_key_names_file_line_and_key() {
        assert_eq!(
            error("repository = \"a/b\"\n\n[caps]\nmemroy = \"1g\"\n"),
            "/etc/vega-builder/config.toml:4: unknown key 'caps.memroy'; did you mean 'caps.memory'?"
        );
        assert_eq!(
            error("colour = 1\n"),
            "/etc/vega-builder/config.toml:1: unknown key 'colour'; `vega-builder up --help` lists the keys"
        );
    }

    #[test]
    fn broken_toml_names_file_and_line() {
        assert!(error("a = 1\nb = = 2\n").starts_with("/etc/vega-builder/config.toml:2: "));
    }

    #[test]
    fn a_value_of_the_wrong_kind_names_file_line_and_key() {
        assert!(error("labels = [1]\n").starts_with("/etc/vega-builder/config.toml:1: labels: "));
        assert!(error("\nimage = { a = 1 }\n").starts_with("/etc/vega-builder/config.toml:2: image: "));
    }
}
