//! What is published: judged by its NAR, signed with the tenant's key, served as a binary cache.

use std::io::Read as _;

use axum::{
    Json, Router,
    extract::{Path, State as Shared},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Hub, State, nix, refusal};

pub struct Published {
    nar_hash: String,
    pub narinfo: String,
}

pub fn routes() -> Router<Hub> {
    Router::new()
        .route("/api/cache/push", post(push))
        .route("/api/cache/attest", post(attest))
        .route("/tenant/{*path}", get(serve))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Words {
    store_path: String,
    url: String,
    compression: String,
    file_hash: String,
    file_size: u64,
    nar_hash: String,
    nar_size: u64,
    references: Vec<String>,
    deriver: Option<String>,
    #[serde(rename = "attr")]
    _attr: Option<String>,
    #[serde(rename = "dir")]
    _dir: Option<String>,
    #[serde(rename = "noContinent")]
    _no_continent: Option<bool>,
}

async fn push(hub: Shared<Hub>, headers: HeaderMap, words: Json<Words>) -> Response {
    match publish(&hub, &headers, &words) {
        Ok(tenant) => Json(json!({
            "published": true, "tenant": tenant, "substituter": format!("/tenant/{tenant}"),
        }))
        .into_response(),
        Err(refused) => *refused,
    }
}

async fn attest(hub: Shared<Hub>, headers: HeaderMap, words: Json<Words>) -> Response {
    match publish(&hub, &headers, &words) {
        Ok(_) => Json(json!({
            "decision": { "promote": false }, "publishedTenant": true, "publishedShared": false,
        }))
        .into_response(),
        Err(refused) => *refused,
    }
}

fn publish(hub: &Hub, headers: &HeaderMap, words: &Words) -> Result<String, Box<Response>> {
    let mut state = hub.lock();
    let tenant = state.tenant(headers)?;
    let base = words.store_path.strip_prefix("/nix/store/").unwrap_or_default();
    let (Some((hash, _)), false) = (base.split_once('-'), base.contains('/')) else {
        return Err(Box::new(refusal(400, "storePath is no store path")));
    };
    judge(&state, &tenant, words, base).map_err(|(status, why)| Box::new(refusal(status, &why)))?;
    let narinfo = narinfo(&tenant, words);
    let published = Published { nar_hash: words.nar_hash.clone(), narinfo };
    state.tenants.entry(tenant.clone()).or_default().insert(hash.to_owned(), published);
    Ok(tenant)
}

/// Whether all of it is true.
fn judge(state: &State, tenant: &str, words: &Words, base: &str) -> Result<(), (u16, String)> {
    let no = |status: u16, why: &str| Err((status, why.to_owned()));
    let Some(object) = state.objects.get(&words.url) else { return no(409, "the NAR was not uploaded") };
    let digest = |text: &str| text.strip_prefix("sha256:").and_then(nix::digest);
    if digest(&words.file_hash).is_none_or(|digest| digest[..] != Sha256::digest(object)[..]) {
        return no(422, "fileHash is not that of the uploaded NAR");
    }
    if words.file_size != object.len() as u64 {
        return no(422, "fileSize is not that of the uploaded NAR");
    }
    let mut nar = Vec::new();
    let read = match words.compression.as_str() {
        "none" => (&object[..]).read_to_end(&mut nar),
        "zstd" => zstd::Decoder::new(&object[..]).and_then(|mut decoder| decoder.read_to_end(&mut nar)),
        _ => return no(400, "compression is not zstd or none"),
    };
    if read.is_err() || words.nar_size != nar.len() as u64 {
        return no(422, "narSize is not that of the NAR");
    }
    if digest(&words.nar_hash).is_none_or(|digest| digest[..] != Sha256::digest(&nar)[..]) {
        return no(422, "narHash is not that of the NAR");
    }
    let theirs = state.tenants.get(tenant);
    for reference in &words.references {
        let hash = reference.split('-').next().unwrap_or_default();
        let has = theirs.is_some_and(|theirs| theirs.contains_key(hash)) || state.upstream.contains(hash);
        if reference.contains('/') || (reference != base && !has) {
            return Err((409, format!("the reference {reference} is not published")));
        }
    }
    let hash = base.split('-').next().unwrap_or_default();
    match theirs.and_then(|theirs| theirs.get(hash)) {
        Some(before) if before.nar_hash != words.nar_hash => {
            no(409, "another content is published under this path")
        }
        _ => Ok(()),
    }
}

fn narinfo(tenant: &str, words: &Words) -> String {
    let mut references: Vec<&str> = words.references.iter().map(String::as_str).collect();
    references.sort_unstable();
    let full: Vec<String> = references.iter().map(|name| format!("/nix/store/{name}")).collect();
    let fingerprint =
        format!("1;{};{};{};{}", words.store_path, words.nar_hash, words.nar_size, full.join(","));
    let (pair, public) = key(tenant);
    let name = public.split(':').next().unwrap_or_default();
    let signature = BASE64_STANDARD.encode(pair.sign(fingerprint.as_bytes()));
    let deriver = words.deriver.as_ref().map(|name| format!("Deriver: {name}\n")).unwrap_or_default();
    format!(
        "StorePath: {}\nURL: {}\nCompression: {}\nFileHash: {}\nFileSize: {}\nNarHash: {}\nNarSize: {}\n\
         References: {}\n{deriver}Sig: {name}:{signature}\n",
        words.store_path,
        words.url,
        words.compression,
        words.file_hash,
        words.file_size,
        words.nar_hash,
        words.nar_size,
        references.join(" "),
    )
}

/// A tenant's key, made of its name, and the public half as Nix writes it.
pub fn key(tenant: &str) -> (Ed25519KeyPair, String) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&Sha256::digest(tenant)).expect("a seed has 32 bytes");
    let sanitised: String =
        tenant.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let public = format!("vega-{sanitised}-1:{}", BASE64_STANDARD.encode(pair.public_key()));
    (pair, public)
}

async fn serve(Shared(hub): Shared<Hub>, Path(path): Path<String>) -> Response {
    let (tenant, name) = match path.split_once("/nar/") {
        Some((tenant, name)) => (tenant.to_owned(), format!("nar/{name}")),
        None => match path.rsplit_once('/') {
            Some((tenant, name)) => (tenant.to_owned(), name.to_owned()),
            None => return StatusCode::NOT_FOUND.into_response(),
        },
    };
    let state = hub.lock();
    match name.as_str() {
        "key" => Json(json!({ "publicKey": key(&tenant).1 })).into_response(),
        "nix-cache-info" => "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n".into_response(),
        nar if nar.starts_with("nar/") => match state.objects.get(nar) {
            Some(bytes) => bytes.clone().into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        narinfo => {
            let hash = narinfo.strip_suffix(".narinfo").unwrap_or_default();
            match state.tenants.get(&tenant).and_then(|theirs| theirs.get(hash)) {
                Some(published) => published.narinfo.clone().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        }
    }
}
