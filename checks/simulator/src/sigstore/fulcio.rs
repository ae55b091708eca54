//! Fulcio as a service: a certificate for whoever proves that they hold the key, and shows an identity token.
//!
//! Sources: Fulcio's `fulcio.proto` (`/api/v2/signingCert`) and its older `/api/v1/signingCert`, which
//! cosign 2 asks. The token's own signature is not checked: who may ask at all is on this machine.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, ensure};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use p256::{
    ecdsa::{DerSignature, VerifyingKey, signature::Verifier as _},
    pkcs8::{DecodePublicKey as _, EncodePublicKey as _},
};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_cert::der::{EncodePem as _, pem::LineEnding};

use super::{Authority, Identity, service::refusal};

pub fn routes() -> Router<Arc<Authority>> {
    Router::new().route("/api/v2/signingCert", post(version_2)).route("/api/v1/signingCert", post(version_1))
}

impl Identity {
    /// An identity token as GitHub Actions gives one to a workflow's job (unsigned).
    pub fn token(&self) -> String {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": self.issuer, "aud": "sigstore", "iat": now, "exp": now + 600, "sub": self.uri,
            "job_workflow_ref": self.uri.trim_start_matches("https://github.com/"),
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = part(&json!({ "alg": "RS256", "typ": "JWT" }));
        format!("{header}.{}.{}", part(&claims), URL_SAFE_NO_PAD.encode("unsigned"))
    }

    fn of_token(token: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
            sub: String,
        }
        let claims = token.split('.').nth(1).context("not a token")?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
        Ok(Self { uri: claims.sub, issuer: claims.iss, called_for: None })
    }
}

/// What both versions ask for.
struct Wish {
    token: String,
    key: VerifyingKey,
    /// A signature over the token's subject.
    proof: Vec<u8>,
}

#[derive(Deserialize)]
struct Version2 {
    credentials: Option<Credentials>,
    #[serde(rename = "publicKeyRequest")]
    request: KeyRequest,
}

#[derive(Deserialize)]
struct Credentials {
    #[serde(rename = "oidcIdentityToken")]
    token: String,
}

#[derive(Deserialize)]
struct KeyRequest {
    #[serde(rename = "publicKey")]
    key: KeyText,
    #[serde(rename = "proofOfPossession")]
    proof: String,
}

#[derive(Deserialize)]
struct Version1 {
    #[serde(rename = "publicKey")]
    key: KeyText,
    #[serde(rename = "signedEmailAddress")]
    proof: String,
}

/// PEM; in version 1 in base64 once more.
#[derive(Deserialize)]
struct KeyText {
    content: String,
}

/// cosign 3 shows its token here in both versions.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

async fn version_2(
    State(authority): State<Arc<Authority>>,
    headers: HeaderMap,
    Json(asked): Json<Version2>,
) -> Response {
    let issue = || -> anyhow::Result<Response> {
        let token = asked.credentials.map(|credentials| credentials.token).or_else(|| bearer(&headers));
        let wish = Wish {
            token: token.context("no identity token")?,
            key: VerifyingKey::from_public_key_pem(&asked.request.key.content)?,
            proof: STANDARD.decode(&asked.request.proof)?,
        };
        let chain = json!({ "chain": { "certificates": authority.grant(&wish)? } });
        Ok(Json(json!({ "signedCertificateEmbeddedSct": chain })).into_response())
    };
    issue().unwrap_or_else(|why| refusal(400, &format!("{why:#}")))
}

async fn version_1(
    State(authority): State<Arc<Authority>>,
    headers: HeaderMap,
    Json(asked): Json<Version1>,
) -> Response {
    let issue = || -> anyhow::Result<Response> {
        let wish = Wish {
            token: bearer(&headers).context("no identity token")?,
            key: VerifyingKey::from_public_key_pem(&String::from_utf8(
                STANDARD.decode(&asked.key.content)?,
            )?)?,
            proof: STANDARD.decode(&asked.proof)?,
        };
        let chain = authority.grant(&wish)?.concat();
        let kind = [(header::CONTENT_TYPE, "application/pem-certificate-chain")];
        Ok((StatusCode::CREATED, kind, chain).into_response())
    };
    issue().unwrap_or_else(|why| refusal(400, &format!("{why:#}")))
}

impl Authority {
    /// The certificate and its issuer's, in PEM.
    fn grant(&self, wish: &Wish) -> anyhow::Result<Vec<String>> {
        let identity = Identity::of_token(&wish.token)?;
        let proof = DerSignature::try_from(wish.proof.as_slice())?;
        let holds = wish.key.verify(identity.uri.as_bytes(), &proof).is_ok();
        ensure!(holds, "the proof of possession is no signature over the token's subject");
        let from = SystemTime::now() - Duration::from_secs(5);
        let key = wish.key.to_public_key_der()?;
        let certificate = self.issuer.issue(key.as_bytes(), &identity, from, Some(&self.transparency))?;
        Ok(vec![certificate.to_pem(LineEnding::LF)?, self.issuer.certificate.to_pem(LineEnding::LF)?])
    }
}
