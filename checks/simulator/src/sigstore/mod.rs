//! A private Sigstore: a certificate authority, a certificate transparency log and Rekor, without a network.
//!
//! The real cosign signs with it too ([`Service`]), so that our verifier meets what cosign writes; and by itself
//! it signs an image the way cosign 3 does: a Sigstore bundle v0.3 with a DSSE envelope of an in-toto
//! statement, attached to the image by an OCI referrer. Sources: the protobuf-specs' bundle and trusted
//! root, RFC 6962 (certificate transparency and its trees), Fulcio's certificate specification, C2SP's
//! signed notes and checkpoints, and TUF's own (for the repository that gives the trusted root).

mod attach;
mod authority;
mod bundle;
mod certificate;
mod flaw;
mod fulcio;
mod log;
mod rekor;
mod service;
mod simple;
mod tuf;

pub use attach::{attach, attach_as_cosign, attach_in_layout};
pub use authority::{Authority, Identity};
pub use flaw::Flaw;
pub use service::Service;
pub use simple::{SIMPLE_SIGNING, Simple, payload};
pub use tuf::Tuf;
