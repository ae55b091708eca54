//! A private Sigstore: a certificate authority, a certificate transparency log and Rekor, without a network.
//!
//! It signs an image the way cosign 3 does: a Sigstore bundle v0.3 with a DSSE envelope of an in-toto
//! statement, attached to the image by an OCI referrer. Sources: the protobuf-specs' bundle and trusted
//! root, RFC 6962 (certificate transparency and its trees), Fulcio's certificate specification, C2SP's
//! signed notes and checkpoints.

mod attach;
mod authority;
mod bundle;
mod certificate;
mod flaw;
mod log;

pub use attach::{attach, attach_as_cosign};
pub use authority::{Authority, Identity};
pub use flaw::Flaw;
