//! The tenant's namespace at Vega: NARs go to addresses that are given for each, and Vega itself writes the narinfos.

use std::{path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use harmonia_store_core::store_path::StoreDir;
use harmonia_utils_hash::Sha256;
use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use url::Url;

use super::{Stream, http};
use crate::cache::{Error, PathInfo, narinfo::File, pack::Piece, retry::patiently, vega};

#[derive(Clone)]
pub struct Vega(Arc<vega::Vega>);

impl Vega {
    pub fn new(given: Option<&str>, login: Option<&Path>) -> Result<Self, Error> {
        Ok(Self(Arc::new(vega::Vega::new(given, login)?)))
    }

    pub fn substituter(&self) -> String {
        self.0.substituter()
    }

    pub async fn public_key(&self) -> Option<String> {
        self.0.public_key().await
    }

    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let url: Url = format!("{}/{name}", self.substituter()).parse().expect("both halves were checked");
        let response = self.0.client.get(url.clone()).timeout(http::PATIENCE).send().await;
        let response = response.map_err(|why| http::failed(&url, &why))?;
        match response.status() {
            StatusCode::OK => {
                Ok(Some(response.bytes().await.map_err(|why| http::failed(&url, &why))?.to_vec()))
            }
            // A namespace of which nothing is public yet, or at all.
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Ok(None),
            _ => Err(http::refused(&url, response).await),
        }
    }

    pub async fn put(&self, name: &str, bytes: Piece) -> Result<(), Error> {
        let hash = Sha256::digest(&bytes);
        let (send, pieces) = tokio::sync::mpsc::channel(1);
        let size = Some(bytes.len() as u64);
        let _ = send.try_send(Ok(bytes));
        drop(send);
        self.stream(name, Stream { pieces, size, hash: Some(hash) }).await
    }

    /// One try: the stream is gone after it.
    pub async fn stream(&self, name: &str, stream: Stream) -> Result<(), Error> {
        let (Some(hash), Some(size)) = (stream.hash, stream.size) else {
            unreachable!("what goes to Vega is hashed before");
        };
        let address = self.0.upload_url(name, &hash).await?;
        let request = self
            .0
            .client
            .put(address.0.clone())
            .header(CONTENT_TYPE, "application/x-nix-nar")
            .header(CONTENT_LENGTH, size)
            .header("x-amz-checksum-sha256", BASE64_STANDARD.encode(hash.digest_bytes()));
        let response = http::streamed(request, &address.0, stream).await?;
        if response.status() == StatusCode::FORBIDDEN && address.has_lapsed(Timestamp::now()) {
            return Err(Error::Lapsed { url: http::shown(&address.0) });
        }
        http::accepted(&address.0, response).await
    }

    pub async fn announce(&self, info: &PathInfo, file: &File, store: &StoreDir) -> Result<(), Error> {
        patiently(|| self.0.push(info, file, store)).await
    }
}
