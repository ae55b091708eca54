//! Where paths are pushed to: a binary cache in a folder, behind HTTP, or in an object store.

mod folder;
mod http;
mod objects;

use harmonia_store_core::store_path::StoreDir;
use tokio::sync::mpsc::Receiver;
use url::Url;

use self::{folder::Folder, http::Http, objects::Objects};
use super::{Error, pack::Piece};

/// A binary cache that takes files.
#[derive(Debug)]
pub struct Place {
    /// As it was given; a password in it is not shown.
    pub shown: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder(Folder),
    Http(Http),
    Objects(Objects),
}

/// A file that goes out while it is made. A piece that is an error breaks it off: nothing of it is to be seen then.
pub struct Stream {
    pub pieces: Receiver<std::io::Result<Piece>>,
    /// In bytes, when that is known before the end.
    pub size: Option<u64>,
}

const INFO: &str = "nix-cache-info";
/// What Nix itself writes there; lower is asked first, and cache.nixos.org has 40.
const PRIORITY: u32 = 30;

impl Place {
    /// By an address: `file:///folder`, `http(s)://…`, or one of an object store (`s3://bucket/prefix?region=…`).
    pub fn at(given: &str) -> Result<Self, Error> {
        let given = if given.starts_with('/') { format!("file://{given}") } else { given.to_owned() };
        let url = Url::parse(&given).map_err(|why| Error::Address {
            given: without_login(&given),
            why: format!("{why}; give file:///folder, https://host/path, or s3://bucket"),
        })?;
        let mut shown = url.clone();
        let _ = shown.set_password(None);
        let refuse = |why: String| Error::Address { given: shown.to_string(), why };
        let kind = match url.scheme() {
            "file" => Kind::Folder(Folder::new(
                url.to_file_path().map_err(|()| refuse("it has no absolute path".to_owned()))?,
            )),
            "http" | "https" => Kind::Http(Http::new(url).map_err(refuse)?),
            _ => Kind::Objects(Objects::new(&url).map_err(refuse)?),
        };
        Ok(Self { shown: shown.as_str().trim_end_matches('/').to_owned(), kind })
    }

    /// How Nix names it as a substituter.
    pub fn substituter(&self) -> &str {
        &self.shown
    }

    /// Whether it is a cache of this store; one that is new becomes it.
    pub async fn expect_ours(&self, store: &StoreDir) -> Result<(), Error> {
        let ours = store.to_str();
        if let Kind::Folder(folder) = &self.kind {
            folder.tidy();
        }
        let Some(text) = self.get(INFO).await? else {
            let text = format!("StoreDir: {ours}\nWantMassQuery: 1\nPriority: {PRIORITY}\n");
            return self.put(INFO, text.into()).await;
        };
        let text = String::from_utf8_lossy(&text);
        let theirs = text.lines().find_map(|line| line.strip_prefix("StoreDir:")).map_or(ours, str::trim);
        if theirs == ours {
            return Ok(());
        }
        Err(Error::OtherStore { cache: self.shown.clone(), theirs: theirs.to_owned(), ours: ours.to_owned() })
    }

    /// Whether a file of this name is there.
    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        match &self.kind {
            Kind::Folder(folder) => Ok(folder.has(name)),
            Kind::Http(http) => http.has(name).await,
            Kind::Objects(objects) => objects.has(name).await,
        }
    }

    /// A small file, when it is there.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.get(name),
            Kind::Http(http) => http.get(name).await,
            Kind::Objects(objects) => objects.get(name).await,
        }
    }

    /// A file that is whole already. Seen by others it is whole too.
    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.put(name, bytes).await,
            Kind::Http(http) => http.put(name, bytes).await,
            Kind::Objects(objects) => objects.put(name, bytes).await,
        }
    }

    /// A narinfo: seen by others at the next [`Place::commit`] at the latest.
    pub async fn announce(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.announce(name, bytes).await,
            _ => self.put(name, bytes).await,
        }
    }

    /// What was announced stays, whatever comes.
    pub async fn commit(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.commit().await,
            _ => Ok(()),
        }
    }

    /// A file that is made as it goes.
    pub async fn stream(&self, name: &str, stream: Stream) -> Result<(), Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.stream(name, stream).await,
            Kind::Http(http) => http.stream(name, stream).await,
            Kind::Objects(objects) => objects.stream(name, stream).await,
        }
    }

    /// How many requests go well side by side.
    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Folder(_) => 8,
            Kind::Http(_) | Kind::Objects(_) => 48,
        }
    }
}

/// What cannot be taken apart may still have a password in it.
fn without_login(given: &str) -> String {
    match (given.split_once("://"), given.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => given.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use harmonia_store_core::store_path::StoreDir;

    use super::Place;

    #[test]
    fn an_address_is_taken_apart_and_a_password_is_not_shown() {
        assert_eq!(Place::at("/srv/cache").unwrap().shown, "file:///srv/cache");
        assert_eq!(
            Place::at("https://a:secret@cache.example.org/x/").unwrap().shown,
            "https://a@cache.example.org/x"
        );
        for given in ["cache", "ftp://host/x", "file://host/x"] {
            assert!(Place::at(given).is_err(), "{given}");
        }
        let refused = Place::at("https://me:secret@host:port/x").unwrap_err().to_string();
        assert!(refused.contains("@host:port/x") && !refused.contains("secret"), "{refused}");
    }

    #[tokio::test]
    async fn a_cache_of_another_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().to_str().unwrap()).unwrap();
        let store = StoreDir::default();
        place.expect_ours(&store).await.unwrap();
        place.expect_ours(&store).await.unwrap();
        let text = std::fs::read_to_string(folder.path().join("nix-cache-info")).unwrap();
        assert!(text.starts_with("StoreDir: /nix/store\n"), "{text}");
        place.put("nix-cache-info", "StoreDir: /gnu/store\n".into()).await.unwrap();
        assert!(place.expect_ours(&store).await.unwrap_err().to_string().contains("/gnu/store"));
    }
}
