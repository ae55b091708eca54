//! Every valid bundle that there is, with one decoded byte of one signed or signing field changed: none verifies, none
//! panics.

use std::{fs, panic::catch_unwind, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{content_info::ContentInfo, signed_data::SignedData};
use serde_json::Value;
use simulator::sigstore::{Authority, Identity};
use testbed::conformance::Case;
use vega_builder::trust::{Root, blob::Expected};
use x509_cert::der::{Any, Decode as _, Encode as _};

/// At least so many, or the claim is not what it says.
const LEAST: usize = 10_000;
/// Of a long field every so-many-th byte, so that a run takes a minute and not an hour.
const BYTES_OF_A_FIELD: usize = 120;

struct Valid {
    name: String,
    bundle: Value,
    root: Root,
    expected: Expected,
    artifact: String,
}

/// The suite's good cases, and what the private Sigstore signs.
fn valid() -> Vec<Valid> {
    let mut all = Vec::new();
    for case in Case::all().unwrap().unwrap_or_default().into_iter().filter(|case| !case.is_bad()) {
        let (identity, issuer) = case.certificate.clone();
        all.push(Valid {
            bundle: serde_json::from_slice(&fs::read(case.bundle()).unwrap()).unwrap(),
            root: case.trusted_root.as_deref().map_or_else(Root::embedded, Root::from_file).unwrap(),
            expected: match &case.key {
                Some(key) => Expected::key_file(key).unwrap(),
                None => Expected::Certificate { identity, issuer },
            },
            artifact: case.artifact.display().to_string(),
            name: case.name,
        });
    }
    let authority = Authority::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("trusted_root.json");
    fs::write(&root, authority.trusted_root().unwrap()).unwrap();
    for number in 0..3 {
        let identity = Identity::github("octo/image", "publish.yml", &format!("refs/tags/v{number}"));
        let artifact = vega_builder::value::ImageDigest::of(&[number]).to_string();
        let bundle = authority.sign(&artifact, &identity).unwrap();
        all.push(Valid {
            name: format!("private {number}"),
            bundle: serde_json::from_str(&bundle).unwrap(),
            root: Root::from_file(&root).unwrap(),
            expected: Expected::Certificate { identity: identity.uri, issuer: identity.issuer },
            artifact,
        });
    }
    all
}

/// A field and how its bytes are written down.
struct Field {
    pointer: String,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Base64,
    Text,
    /// A number, as a string of digits.
    Number,
    /// A signed note: its text, and the signature whose key the log's id begins with. A witness's is nobody's whom the
    /// root knows.
    Note,
    /// A timestamp token: what the authority signed, and its signature. What it carries beside (certificates, which the
    /// root may have too) is no more than a hint.
    Token,
}

fn fields(bundle: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    let mut add = |pointer: String, form| {
        if bundle.pointer(&pointer).is_some_and(Value::is_string) {
            found.push(Field { pointer, form });
        }
    };
    let material = "/verificationMaterial";
    for pointer in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig", "/messageSignature/signature"]
    {
        add(pointer.to_owned(), Form::Base64);
    }
    add("/dsseEnvelope/payloadType".to_owned(), Form::Text);
    add("/messageSignature/messageDigest/digest".to_owned(), Form::Base64);
    add(format!("{material}/certificate/rawBytes"), Form::Base64);
    add(format!("{material}/x509CertificateChain/certificates/0/rawBytes"), Form::Base64);
    for n in 0..3 {
        let entry = format!("{material}/tlogEntries/{n}");
        add(format!("{entry}/canonicalizedBody"), Form::Base64);
        add(format!("{entry}/inclusionPromise/signedEntryTimestamp"), Form::Base64);
        add(format!("{entry}/logId/keyId"), Form::Base64);
        add(format!("{entry}/logIndex"), Form::Number);
        add(format!("{entry}/integratedTime"), Form::Number);
        add(format!("{entry}/inclusionProof/rootHash"), Form::Base64);
        add(format!("{entry}/inclusionProof/logIndex"), Form::Number);
        add(format!("{entry}/inclusionProof/treeSize"), Form::Number);
        add(format!("{entry}/inclusionProof/checkpoint/envelope"), Form::Note);
        for hash in 0..40 {
            add(format!("{entry}/inclusionProof/hashes/{hash}"), Form::Base64);
        }
        add(
            format!("{material}/timestampVerificationData/rfc3161Timestamps/{n}/signedTimestamp"),
            Form::Token,
        );
    }
    found
}

/// The field's text with the byte at `at` changed by `flip`; `None` when that makes nothing else of it.
fn mutate(text: &str, form: Form, at: usize, flip: u8) -> Option<String> {
    match form {
        Form::Base64 | Form::Token => {
            let mut bytes = STANDARD.decode(text).ok()?;
            bytes[at] ^= flip;
            Some(STANDARD.encode(bytes))
        }
        Form::Text | Form::Note => {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= flip;
            let changed = String::from_utf8(bytes).ok()?;
            // Padding and the like: the same signature, written otherwise.
            (decoded(&changed) != decoded(text)).then_some(changed)
        }
        Form::Number => {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = b'0' + (bytes[at] - b'0' + 1 + flip % 9) % 10;
            String::from_utf8(bytes).ok()
        }
    }
}

/// A note's lines with its signatures decoded, so that one that reads the same is not called another.
fn decoded(note: &str) -> Vec<Result<Vec<u8>, String>> {
    let decode = |line: &str| match line.starts_with('\u{2014}').then(|| line.rsplit_once(' ')).flatten() {
        Some((name, text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok([name.as_bytes(), &bytes].concat()),
            Err(_) => Err(line.to_owned()),
        },
        None => Err(line.to_owned()),
    };
    note.lines().map(decode).collect()
}

/// Which bytes of a field are signed or sign.
fn places(text: &str, form: Form, log_id: &[u8]) -> Vec<usize> {
    match form {
        Form::Base64 => (0..STANDARD.decode(text).unwrap().len()).collect(),
        Form::Token => signed_in_token(&STANDARD.decode(text).unwrap()),
        Form::Text | Form::Number => (0..text.len()).collect(),
        Form::Note => {
            let (body, signatures) = text.split_once("\n\n").unwrap();
            let mut places: Vec<usize> = (0..body.len()).collect();
            let mut start = body.len() + 2;
            for line in signatures.split_inclusive('\n') {
                let hinted = line.trim().rsplit_once(' ').map(|(_, text)| STANDARD.decode(text).unwrap());
                if hinted.is_some_and(|hinted| hinted[..4] == log_id[..4]) {
                    places.extend(start..start + line.trim_end().len());
                }
                start += line.len();
            }
            assert!(places.len() > body.len(), "no signature of the log's");
            places
        }
    }
}

/// Where a token's content, its signed attributes and its signature are.
fn signed_in_token(token: &[u8]) -> Vec<usize> {
    // A response: its status, then the token (RFC 3161, 2.4.2).
    let response = Vec::<Any>::from_der(token).unwrap();
    let content: ContentInfo = response[1].decode_as().unwrap();
    let inner: SignedData = content.content.decode_as().unwrap();
    let author = inner.signer_infos.0.iter().next().unwrap();
    let attributes = author.signed_attrs.as_ref().unwrap();
    let parts = [
        inner.encap_content_info.econtent.as_ref().unwrap().value().to_vec(),
        attributes.iter().map(|one| one.to_der().unwrap()).collect::<Vec<_>>().concat(),
        author.signature.as_bytes().to_vec(),
    ];
    let mut places = Vec::new();
    for part in parts {
        let start = token.windows(part.len()).position(|window| window == part).unwrap();
        places.extend(start..start + part.len());
    }
    places
}

fn verifies(valid: &Valid, bundle: &Value, file: &Path) -> bool {
    fs::write(file, bundle.to_string()).unwrap();
    catch_unwind(std::panic::AssertUnwindSafe(|| {
        valid.expected.verify(&valid.root, file, &valid.artifact).is_ok()
    }))
    .unwrap_or_else(|_| panic!("{}: it panicked: {bundle}", valid.name))
}

#[test]
fn no_mutant_of_a_valid_bundle_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.json");
    let (mut count, mut survivors) = (0, Vec::new());
    for valid in valid() {
        assert!(verifies(&valid, &valid.bundle, &file), "{} is not valid itself", valid.name);
        for Field { pointer, form } in fields(&valid.bundle) {
            let text = valid.bundle.pointer(&pointer).and_then(Value::as_str).unwrap().to_owned();
            let log_id = pointer.replace("/inclusionProof/checkpoint/envelope", "/logId/keyId");
            let log_id = valid.bundle.pointer(&log_id).and_then(Value::as_str).unwrap_or_default();
            let places = places(&text, form, &STANDARD.decode(log_id).unwrap_or_default());
            for &at in places.iter().step_by(places.len().div_ceil(BYTES_OF_A_FIELD).max(1)) {
                let flip = 1 << (at % 7);
                let Some(changed) = mutate(&text, form, at, flip) else { continue };
                let mut bundle = valid.bundle.clone();
                *bundle.pointer_mut(&pointer).unwrap() = changed.into();
                count += 1;
                if verifies(&valid, &bundle, &file) {
                    survivors.push(format!("{} {pointer} byte {at}, bit {flip}", valid.name));
                }
            }
        }
    }
    println!("{count} mutants, {} verify", survivors.len());
    assert!(survivors.is_empty(), "{} of {count}: {survivors:#?}", survivors.len());
    let least = if Case::all().unwrap().is_some() { LEAST } else { LEAST / 10 };
    assert!(count >= least, "{count} mutants only");
}
