//! A cache in an object store: S3 and what speaks like it, Google's, Azure's.

use std::{ffi::OsString, sync::Arc};

use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart, path::Path};
use url::Url;

use super::Stream;
use crate::cache::{Error, pack::Piece};

#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

/// Parts of one upload that are on their way together; each is 10 MiB.
const PARTS: usize = 3;

impl Objects {
    /// The login comes from a file's variables, else from the environment's, in each store's own words
    /// (`AWS_ACCESS_KEY_ID`, …); what the address says after `?` goes before it (`region`, `endpoint`), in Nix's words.
    pub fn new(url: &Url, login: Option<Vec<(String, String)>>) -> Result<Self, String> {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        // One of them alone: half of each would be somebody else's login.
        let variables = login.unwrap_or_else(|| std::env::vars_os().filter_map(text).collect());
        let variables = variables.into_iter().map(|(name, value)| (name.to_lowercase(), value));
        let asked = url.query_pairs().filter_map(|(name, value)| {
            let (name, value) = (name.into_owned(), value.into_owned());
            match name.as_str() {
                "endpoint" => {
                    // Nix names the host alone.
                    let value = if value.contains("://") { value } else { format!("https://{value}") };
                    let name = if url.scheme() == "gs" { "google_base_url" } else { "endpoint" };
                    Some((name.to_owned(), value))
                }
                "region" => Some((name, value)),
                _ => None,
            }
        });
        let mut options: Vec<(String, String)> = variables.chain(asked).collect();
        let is_endpoint = |name: &str| matches!(name, "endpoint" | "google_base_url");
        if options.iter().any(|(name, value)| is_endpoint(name) && value.starts_with("http://")) {
            options.push(("allow_http".to_owned(), "true".to_owned()));
        }
        let mut bare = url.clone();
        bare.set_query(None);
        let (store, prefix) = object_store::parse_url_opts(&bare, options).map_err(|why| why.to_string())?;
        Ok(Self { store: Arc::from(store), prefix })
    }

    pub async fn has(&self, name: &str) -> Result<bool, Error> {
        match self.store.head(&self.at(name)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(why) => Err(why.into()),
        }
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        match self.store.get(&self.at(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?.to_vec())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(why) => Err(why.into()),
        }
    }

    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        self.store.put(&self.at(name), PutPayload::from(bytes)).await?;
        Ok(())
    }

    pub async fn stream(&self, name: &str, mut stream: Stream) -> Result<(), Error> {
        let upload = self.store.put_multipart(&self.at(name)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, 10 << 20);
        while let Some(piece) = stream.pieces.recv().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(why) => {
                    upload.abort().await?;
                    return Err(Error::Read { path: name.to_owned(), why });
                }
            };
            upload.wait_for_capacity(PARTS).await?;
            upload.put(piece);
        }
        upload.finish().await?;
        Ok(())
    }

    fn at(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }
}
