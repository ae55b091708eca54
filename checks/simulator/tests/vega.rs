//! The control plane refuses what the real one refuses.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simulator::vega::Server;

const ALPHABET: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";

fn base32(digest: &[u8]) -> String {
    let letter = |at: usize| {
        let bit = at * 5;
        let low = u16::from(digest[bit / 8]);
        let high = digest.get(bit / 8 + 1).copied().map_or(0, u16::from);
        char::from(ALPHABET[usize::from(((high << 8 | low) >> (bit % 8)) & 31)])
    };
    (0..52).rev().map(letter).collect()
}

fn hash(bytes: &[u8]) -> String {
    format!("sha256:{}", base32(&Sha256::digest(bytes)))
}

struct Bench {
    vega: Server,
    client: Client,
    bearer: String,
}

impl Bench {
    fn new() -> Self {
        let vega = Server::start().unwrap();
        let client = Client::new();
        let (url, token) = vega.identity_of("octo-org/a");
        let minted: Value = client
            .get(format!("{url}&audience={}", vega.url()))
            .bearer_auth(token)
            .send()
            .and_then(Response::json)
            .unwrap();
        let bearer = minted["value"].as_str().unwrap().to_owned();
        Self { vega, client, bearer }
    }

    fn post(&self, path: &str, body: &Value) -> Response {
        self.client
            .post(format!("{}{path}", self.vega.url()))
            .bearer_auth(&self.bearer)
            .json(body)
            .send()
            .unwrap()
    }

    fn address(&self, nar: &[u8]) -> String {
        let body = json!({ "narUrl": name(nar), "fileHash": hash(nar) });
        let answer: Value = self.post("/api/cache/upload-url", &body).json().unwrap();
        answer["url"].as_str().unwrap().to_owned()
    }

    fn put(&self, address: &str, checksum_of: &[u8], bytes: &'static [u8]) -> u16 {
        let checksum = BASE64_STANDARD.encode(Sha256::digest(checksum_of));
        let request = self.client.put(address).header("x-amz-checksum-sha256", checksum).body(bytes);
        request.send().unwrap().status().as_u16()
    }

    fn push(&self, change: impl FnOnce(&mut Value)) -> u16 {
        let mut body = json!({
            "storePath": "/nix/store/00000000000000000000000000000000-a", "url": name(NAR), "compression": "none",
            "fileHash": hash(NAR), "fileSize": NAR.len(), "narHash": hash(NAR), "narSize": NAR.len(),
            "references": [],
        });
        change(&mut body);
        self.post("/api/cache/push", &body).status().as_u16()
    }
}

const NAR: &[u8] = b"what a NAR would be";
const OTHER: &[u8] = b"what another NAR would be";

fn name(nar: &[u8]) -> String {
    format!("nar/{}.nar", hash(nar).trim_start_matches("sha256:"))
}

#[test]
fn a_wrong_checksum_another_file_and_a_lapsed_address_are_refused() {
    let bench = Bench::new();
    let address = bench.address(NAR);
    assert_eq!(bench.put(&address, OTHER, NAR), 403, "the checksum is signed");
    assert_eq!(bench.put(&address, NAR, OTHER), 400, "the content is not what the checksum says");
    let elsewhere = address.replace(&name(NAR), &name(OTHER));
    assert_eq!(bench.put(&elsewhere, OTHER, OTHER), 403, "the address of another file is replayed");
    assert_eq!(bench.put(&address, NAR, NAR), 200);
    bench.vega.lapsed(1);
    assert_eq!(bench.put(&bench.address(NAR), NAR, NAR), 403);
    let unasked = bench.client.post(format!("{}/api/cache/upload-url", bench.vega.url()));
    let unasked = unasked.json(&json!({ "narUrl": name(NAR), "fileHash": hash(NAR) })).send().unwrap();
    assert_eq!(unasked.status(), 401);
}

#[test]
fn what_is_not_so_is_not_published() {
    let bench = Bench::new();
    assert_eq!(bench.push(|_| {}), 409, "its NAR is not there");
    assert_eq!(bench.put(&bench.address(NAR), NAR, NAR), 200);
    assert_eq!(bench.push(|body| body["fileSize"] = json!(1)), 422);
    assert_eq!(bench.push(|body| body["narSize"] = json!(1)), 422);
    assert_eq!(bench.push(|body| body["fileHash"] = json!(hash(OTHER))), 422);
    assert_eq!(bench.push(|body| body["narHash"] = json!(hash(OTHER))), 422);
    let missing = "11111111111111111111111111111111-b";
    assert_eq!(bench.push(|body| body["references"] = json!([missing])), 409);
    assert_eq!(bench.push(|body| body["references"] = json!(["00000000000000000000000000000000-a"])), 200);
    bench.vega.is_upstream(&missing[..32]);
    assert_eq!(bench.push(|body| body["references"] = json!([missing])), 200);
    // The same again is the same; another content under its name is not.
    assert_eq!(bench.push(|_| {}), 200);
    assert_eq!(bench.put(&bench.address(OTHER), OTHER, OTHER), 200);
    let replaced = bench.push(|body| {
        body["url"] = json!(name(OTHER));
        for (field, value) in [("fileHash", hash(OTHER)), ("narHash", hash(OTHER))] {
            body[field] = json!(value);
        }
        body["fileSize"] = json!(OTHER.len());
        body["narSize"] = json!(OTHER.len());
    });
    assert_eq!(replaced, 409);
}
