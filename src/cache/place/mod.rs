//! Where paths are pushed to: a binary cache in a folder, behind HTTP, or in an object store.

mod folder;
pub mod http;
mod login;
mod objects;
mod vega;

use std::path::Path;

use harmonia_store_core::{
    signature::SecretKey,
    store_path::{StoreDir, StorePath},
};
use harmonia_utils_hash::Sha256;
use tokio::sync::mpsc::Receiver;
use url::Url;

pub use self::login::LoginError;
use self::{folder::Folder, http::Http, objects::Objects, vega::Vega};
use super::{
    Error, PathInfo,
    narinfo::{self, File},
    pack::Piece,
    retry::patiently,
};

/// A binary cache that takes files.
pub struct Place {
    /// As it was given; a password in it is not shown.
    pub shown: String,
    kind: Kind,
}

enum Kind {
    Folder(Folder),
    Http(Http),
    Objects(Objects),
    Vega(Vega),
}

/// A file that goes out while it is made. A piece that is an error breaks it off: nothing of it is to be seen then.
pub struct Stream {
    pub pieces: Receiver<std::io::Result<Piece>>,
    /// In bytes, when that is known before the end.
    pub size: Option<u64>,
    /// Of the whole of it, for a place that wants that before.
    pub hash: Option<Sha256>,
}

/// The tenant's namespace at Vega.
const VEGA: &str = "vega";
const INFO: &str = "nix-cache-info";
/// What Nix itself writes there; lower is asked first, and cache.nixos.org has 40.
const PRIORITY: u32 = 30;

impl Place {
    /// By an address: `file:///folder`, `http(s)://…`, one of an object store (`s3://bucket/prefix?region=…`), or
    /// `vega` for the tenant's namespace there (`vega+https://…`: another control plane). `login` is the file that its
    /// login is in, when it is not where such a cache's own is looked for.
    pub fn at(given: &str, login: Option<&Path>) -> Result<Self, Error> {
        if let Some(control_plane) = given.strip_prefix(VEGA)
            && (control_plane.is_empty() || control_plane.starts_with('+'))
        {
            let control_plane = control_plane.trim_start_matches('+');
            let vega = Vega::new(Some(control_plane).filter(|url| !url.is_empty()), login)?;
            return Ok(Self { shown: vega.substituter(), kind: Kind::Vega(vega) });
        }
        let given = if given.starts_with('/') { format!("file://{given}") } else { given.to_owned() };
        let url = Url::parse(&given).map_err(|why| Error::Address {
            given: without_login(&given),
            why: format!("{why}; give vega, file:///folder, https://host/path, or s3://bucket"),
        })?;
        let mut shown = url.clone();
        let _ = shown.set_password(None);
        let refuse = |why: String| Error::Address { given: shown.to_string(), why };
        let kind = match url.scheme() {
            "file" => match login {
                Some(path) => return Err(LoginError::Folder { path: path.to_owned() }.into()),
                None => Kind::Folder(Folder::new(
                    url.to_file_path().map_err(|()| refuse("it has no absolute path".to_owned()))?,
                )),
            },
            "http" | "https" => {
                let login = login.map(|login| login::of_host(login, &url)).transpose()?;
                Kind::Http(Http::new(url, login).map_err(refuse)?)
            }
            _ => {
                let login = login.map(login::variables).transpose()?;
                Kind::Objects(Objects::new(&url, login).map_err(refuse)?)
            }
        };
        Ok(Self { shown: shown.as_str().trim_end_matches('/').to_owned(), kind })
    }

    /// How Nix names it as a substituter.
    pub fn substituter(&self) -> String {
        match &self.kind {
            Kind::Vega(vega) => vega.substituter(),
            _ => self.shown.clone(),
        }
    }

    /// The key that it signs with itself.
    pub async fn public_key(&self) -> Option<String> {
        match &self.kind {
            Kind::Vega(vega) => vega.public_key().await,
            _ => None,
        }
    }

    /// Whether paths are signed there, and not by whoever pushes.
    pub fn signs(&self) -> bool {
        matches!(self.kind, Kind::Vega(_))
    }

    /// Whether it takes no file whose hash it does not know.
    pub fn wants_hash(&self) -> bool {
        matches!(self.kind, Kind::Vega(_))
    }

    /// Make a cache of this store of what was none yet.
    pub async fn become_ours(&self, store: &StoreDir) -> Result<(), Error> {
        let ours = store.to_str();
        let text = format!("StoreDir: {ours}\nWantMassQuery: 1\nPriority: {PRIORITY}\n");
        self.put(INFO, text.into()).await
    }

    /// Whether it is a cache, then of this store, and not only the place for one.
    pub async fn is_ours(&self, store: &StoreDir) -> Result<bool, Error> {
        let ours = store.to_str();
        if self.signs() {
            return Ok(true);
        }
        if let Kind::Folder(folder) = &self.kind {
            folder.tidy();
        }
        let Some(text) = self.get(INFO).await? else { return Ok(false) };
        let text = String::from_utf8_lossy(&text);
        let theirs = text.lines().find_map(|line| line.strip_prefix("StoreDir:")).map_or(ours, str::trim);
        if theirs == ours {
            return Ok(true);
        }
        Err(Error::OtherStore { cache: self.shown.clone(), theirs: theirs.to_owned(), ours: ours.to_owned() })
    }

    /// What a path that is there refers to, by its narinfo; nothing when it is not there.
    pub async fn references(&self, path: &StorePath) -> Result<Option<Vec<StorePath>>, Error> {
        let text = self.get(&narinfo::name(path)).await?;
        Ok(text.and_then(|text| narinfo::references(&text, path, &StoreDir::default())))
    }

    /// Whether a file of this name is there.
    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        match &self.kind {
            Kind::Folder(folder) => Ok(folder.has(name)),
            Kind::Http(http) => http.has(name).await,
            Kind::Objects(objects) => objects.has(name).await,
            Kind::Vega(vega) => Ok(vega.get(name).await?.is_some()),
        }
    }

    /// A small file, when it is there.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.get(name),
            Kind::Http(http) => http.get(name).await,
            Kind::Objects(objects) => objects.get(name).await,
            Kind::Vega(vega) => vega.get(name).await,
        }
    }

    /// A file that is whole already. Seen by others it is whole too.
    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        match &self.kind {
            Kind::Folder(folder) => folder.put(name, bytes).await,
            Kind::Http(http) => http.put(name, bytes).await,
            Kind::Objects(objects) => objects.put(name, bytes).await,
            Kind::Vega(vega) => vega.put(name, bytes).await,
        }
    }

    /// What a path is, signed with this key: seen by others at the next [`Place::commit`] at the latest.
    pub async fn announce(
        &self,
        info: &PathInfo,
        file: &File,
        store: &StoreDir,
        key: Option<&SecretKey>,
    ) -> Result<(), Error> {
        if let Kind::Vega(vega) = &self.kind {
            return vega.announce(info, file, store).await;
        }
        let text = Piece::from(narinfo::narinfo(info, file, store, key));
        let name = narinfo::name(&info.path);
        match &self.kind {
            Kind::Folder(folder) => folder.announce(&name, text).await,
            _ => patiently(|| self.put(&name, text.clone())).await,
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
            Kind::Vega(vega) => vega.stream(name, stream).await,
        }
    }

    /// How many small questions go well side by side.
    pub fn questions(&self) -> usize {
        match &self.kind {
            Kind::Folder(_) => 1,
            Kind::Http(http) => http.questions(),
            Kind::Objects(_) | Kind::Vega(_) => 128,
        }
    }

    /// How many requests go well side by side.
    pub fn width(&self) -> usize {
        match &self.kind {
            Kind::Folder(_) => 8,
            Kind::Http(_) | Kind::Objects(_) | Kind::Vega(_) => 48,
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
        assert_eq!(Place::at("/srv/cache", None).unwrap().shown, "file:///srv/cache");
        assert_eq!(
            Place::at("https://a:secret@cache.example.org/x/", None).unwrap().shown,
            "https://a@cache.example.org/x"
        );
        for given in ["cache", "ftp://host/x", "file://host/x"] {
            assert!(Place::at(given, None).is_err(), "{given}");
        }
        let refused = Place::at("https://me:secret@host:port/x", None).err().unwrap().to_string();
        assert!(refused.contains("@host:port/x") && !refused.contains("secret"), "{refused}");
    }

    #[tokio::test]
    async fn a_cache_of_another_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::at(folder.path().to_str().unwrap(), None).unwrap();
        let store = StoreDir::default();
        assert!(!place.is_ours(&store).await.unwrap());
        place.become_ours(&store).await.unwrap();
        assert!(place.is_ours(&store).await.unwrap());
        let text = std::fs::read_to_string(folder.path().join("nix-cache-info")).unwrap();
        assert!(text.starts_with("StoreDir: /nix/store\n"), "{text}");
        place.put("nix-cache-info", "StoreDir: /gnu/store\n".into()).await.unwrap();
        assert!(place.is_ours(&store).await.unwrap_err().to_string().contains("/gnu/store"));
    }
}
