//! Certificates as Fulcio issues them, with the certificate transparency log's receipt inside.

use std::time::{Duration, SystemTime};

use p256::{
    ecdsa::{DerSignature, SigningKey, signature::Signer as _},
    pkcs8::EncodePublicKey as _,
};
use sha2::{Digest as _, Sha256};
use x509_cert::{
    Certificate, TbsCertificate, Version,
    der::{
        Decode as _, Encode as _,
        asn1::{BitString, ObjectIdentifier, OctetString, UtcTime, Utf8StringRef},
    },
    ext::{
        Extension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
    name::Name,
    serial_number::SerialNumber,
    spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned},
    time::{Time, Validity},
};

use super::authority::Identity;

const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const FULCIO_ISSUER_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.1");
const FULCIO_ISSUER_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.8");
/// Fulcio's claims about a workflow's run, by the last part of their names: source repository, commit, ref, runner, run.
const FULCIO_CLAIMS: [(&str, &str); 5] = [
    ("1.3.6.1.4.1.57264.1.12", "repository"),
    ("1.3.6.1.4.1.57264.1.13", "commit"),
    ("1.3.6.1.4.1.57264.1.14", "ref"),
    ("1.3.6.1.4.1.57264.1.11", "runner"),
    ("1.3.6.1.4.1.57264.1.21", "run"),
];
const SCT_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// The public key in the form that certificates and key identifiers are made of.
pub fn public_key(key: &SigningKey) -> anyhow::Result<Vec<u8>> {
    Ok(key.verifying_key().to_public_key_der()?.into_vec())
}

fn key_identifier(public_key: &[u8]) -> anyhow::Result<OctetString> {
    Ok(OctetString::new(Sha256::digest(public_key)[..20].to_vec())?)
}

fn extension(id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> anyhow::Result<Extension> {
    Ok(Extension { extn_id: id, critical, extn_value: OctetString::new(value)? })
}

fn known<T: x509_cert::der::oid::AssociatedOid + x509_cert::der::Encode>(
    critical: bool,
    value: &T,
) -> anyhow::Result<Extension> {
    extension(T::OID, critical, value.to_der()?)
}

struct Draft<'a> {
    /// In the form of [`public_key`].
    key: &'a [u8],
    subject: Name,
    issuer: Name,
    from: SystemTime,
    lasts: Duration,
    extensions: Vec<Extension>,
}

impl Draft<'_> {
    fn tbs(&self) -> anyhow::Result<TbsCertificate> {
        let mut serial = rand::random::<[u8; 16]>();
        serial[0] &= 0x7f;
        serial[0] |= 0x01;
        Ok(TbsCertificate {
            version: Version::V3,
            serial_number: SerialNumber::new(&serial)?,
            signature: AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None },
            issuer: self.issuer.clone(),
            validity: Validity { not_before: time(self.from)?, not_after: time(self.from + self.lasts)? },
            subject: self.subject.clone(),
            subject_public_key_info: SubjectPublicKeyInfoOwned::from_der(self.key)?,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: Some(self.extensions.clone()),
        })
    }
}

/// RFC 5280 wants the short form until 2049; who writes a certificate anew to check its receipt relies on it.
fn time(time: SystemTime) -> anyhow::Result<Time> {
    Ok(Time::UtcTime(UtcTime::from_unix_duration(time.duration_since(SystemTime::UNIX_EPOCH)?)?))
}

fn signed(tbs: TbsCertificate, by: &SigningKey) -> anyhow::Result<Certificate> {
    let signature: DerSignature = by.sign(&tbs.to_der()?);
    let signature_algorithm = tbs.signature.clone();
    Ok(Certificate {
        tbs_certificate: tbs,
        signature_algorithm,
        signature: BitString::from_bytes(signature.as_bytes())?,
    })
}

/// How long the authority has been there.
pub const AGE: Duration = Duration::from_secs(400 * 86400);

/// A certificate authority: its key and its own certificate.
pub struct Issuer {
    key: SigningKey,
    name: Name,
    pub certificate: Certificate,
}

impl Issuer {
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let key = SigningKey::random(&mut p256::elliptic_curve::rand_core::OsRng);
        let name: Name = format!("CN={name},O=vega-builder checks").parse()?;
        let public = public_key(&key)?;
        let usages = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
        let draft = Draft {
            key: &public,
            subject: name.clone(),
            issuer: name.clone(),
            from: SystemTime::now() - AGE,
            lasts: Duration::from_secs(10 * 365 * 86400),
            extensions: vec![
                known(true, &usages)?,
                known(true, &BasicConstraints { ca: true, path_len_constraint: Some(0) })?,
                known(false, &SubjectKeyIdentifier(key_identifier(&public)?))?,
            ],
        };
        let certificate = signed(draft.tbs()?, &key)?;
        Ok(Self { key, name, certificate })
    }

    /// A certificate of ten minutes for somebody's public key; `log` is the certificate transparency log that has
    /// seen it.
    pub fn issue(
        &self,
        key: &[u8],
        identity: &Identity,
        from: SystemTime,
        log: Option<&SigningKey>,
    ) -> anyhow::Result<Certificate> {
        let uri =
            GeneralName::UniformResourceIdentifier(x509_cert::der::asn1::Ia5String::new(&identity.uri)?);
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(key_identifier(&public_key(&self.key)?)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        let issuer = identity.issuer.as_str();
        let draft = Draft {
            key,
            subject: Name::default(),
            issuer: self.name.clone(),
            from,
            lasts: Duration::from_secs(600),
            extensions: vec![
                known(true, &KeyUsage(KeyUsages::DigitalSignature.into()))?,
                known(false, &ExtendedKeyUsage(vec![CODE_SIGNING]))?,
                known(false, &SubjectKeyIdentifier(key_identifier(key)?))?,
                known(false, &authority)?,
                known(true, &SubjectAltName(vec![uri]))?,
                extension(FULCIO_ISSUER_V1, false, issuer.as_bytes().to_vec())?,
                extension(FULCIO_ISSUER_V2, false, Utf8StringRef::new(issuer)?.to_der()?)?,
            ],
        };
        let mut tbs = draft.tbs()?;
        if let Some((repository, reference)) = identity.source() {
            for (id, claim) in FULCIO_CLAIMS {
                let text = match claim {
                    "repository" => repository.clone(),
                    "ref" => reference.clone(),
                    "commit" => "0123456789abcdef0123456789abcdef01234567".to_owned(),
                    "runner" => "github-hosted".to_owned(),
                    _ => format!("{repository}/actions/runs/1/attempts/1"),
                };
                let value = Utf8StringRef::new(&text)?.to_der()?;
                let id = ObjectIdentifier::new(id).map_err(|why| anyhow::anyhow!("{id}: {why}"))?;
                tbs.extensions.get_or_insert_default().push(extension(id, false, value)?);
            }
        }
        if let Some(log) = log {
            let receipt = self.receipt(&tbs, log, from)?;
            let list = OctetString::new(receipt)?.to_der()?;
            tbs.extensions.get_or_insert_default().push(extension(SCT_LIST, false, list)?);
        }
        signed(tbs, &self.key)
    }

    /// A list of one signed certificate timestamp, over the certificate without it (RFC 6962, 3.2 and 3.3).
    fn receipt(&self, tbs: &TbsCertificate, log: &SigningKey, at: SystemTime) -> anyhow::Result<Vec<u8>> {
        let millis = u64::try_from(at.duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?;
        let tbs = tbs.to_der()?;
        let mut to_sign = vec![0, 0];
        to_sign.extend(millis.to_be_bytes());
        to_sign.extend([0, 1]);
        to_sign.extend(Sha256::digest(public_key(&self.key)?));
        to_sign.extend(&u32::try_from(tbs.len())?.to_be_bytes()[1..]);
        to_sign.extend(&tbs);
        to_sign.extend([0, 0]);
        let signature: DerSignature = log.sign(&to_sign);
        let mut sct = vec![0];
        sct.extend(Sha256::digest(public_key(log)?));
        sct.extend(millis.to_be_bytes());
        // No extensions; SHA-256 with ECDSA.
        sct.extend([0, 0, 4, 3]);
        sct.extend(u16::try_from(signature.as_bytes().len())?.to_be_bytes());
        sct.extend(signature.as_bytes());
        let mut list = u16::try_from(sct.len() + 2)?.to_be_bytes().to_vec();
        list.extend(u16::try_from(sct.len())?.to_be_bytes());
        list.extend(sct);
        Ok(list)
    }
}
