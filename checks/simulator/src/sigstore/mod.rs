//! A private Sigstore: a certificate authority, a certificate transparency log and Rekor, without a network.
