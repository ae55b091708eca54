//! What `sigstore-verify` passes over in a log entry: fields that nobody signs, and that a reader would believe.
//!
//! Each must be what the log's own signed words say: the log that the entry names is the one whose key signed the
//! checkpoint, and the proof repeats the checkpoint's figures.

use sigstore_verify::{
    crypto::{Checkpoint, VerificationKey},
    types::{Bundle, KindVersion, TransparencyLogEntry, bundle::InclusionProof},
};

use super::{Refusal, Root};

/// One log is asked, and a log has a handful of witnesses: who brings thousands wants to keep us busy.
const MOST_ENTRIES: usize = 8;
const MOST_SIGNATURES: usize = 64;

/// Refuse a bundle whose log entries say more than the log does.
pub fn check(root: &Root, bundle: &Bundle) -> Result<(), Refusal> {
    if bundle.verification_material.tlog_entries.len() > MOST_ENTRIES {
        return Err(Refusal(format!("a signature has more than {MOST_ENTRIES} log entries")));
    }
    bundle.verification_material.tlog_entries.iter().try_for_each(|entry| check_entry(root, entry))
}

fn check_entry(root: &Root, entry: &TransparencyLogEntry) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal(format!("a signature's log entry {why}")));
    let Some(log) = root.log(&entry.log_id.key_id) else {
        return refuse("names a log that the trusted root does not know");
    };
    let is_second = entry.kind_version == KindVersion::HashedRekordV002;
    if is_second && (entry.integrated_time.is_some() || entry.inclusion_promise.is_some()) {
        return refuse("has a time or a promise, which Rekor v2 gives to nobody");
    }
    let Some(proof) = &entry.inclusion_proof else { return Ok(()) };
    let Some(checkpoint) = proof.checkpoint.checkpoint() else {
        return refuse("has a proof without a checkpoint");
    };
    if checkpoint.signatures().len() > MOST_SIGNATURES {
        return refuse("has a checkpoint with more signatures than a log has witnesses");
    }
    if !repeats(proof, checkpoint) {
        return refuse("gives a tree that is not its checkpoint's");
    }
    // A log of several trees counts entries over all of them; Rekor v2's has one tree.
    if is_second && proof.log_index != entry.log_index {
        return refuse("has two places in the log");
    }
    let key =
        VerificationKey::from_spki(&log.public_key.raw_bytes).map_err(|why| Refusal(why.to_string()))?;
    let signed_by_the_log = checkpoint.signatures().iter().any(|line| {
        is_of(&line.name, checkpoint.origin())
            && key.verify(checkpoint.signed_data(), &line.signature).is_ok()
    });
    if !signed_by_the_log {
        return refuse("has a checkpoint that the log which it names did not sign");
    }
    Ok(())
}

fn repeats(proof: &InclusionProof, checkpoint: &Checkpoint) -> bool {
    proof.root_hash == *checkpoint.root_hash() && proof.tree_size == checkpoint.tree_size()
}

/// A log signs under the name that its tree's origin begins with (`rekor.sigstore.dev - 1193…`).
fn is_of(signer: &str, origin: &str) -> bool {
    origin == signer || origin.strip_prefix(signer).is_some_and(|rest| rest.starts_with(" - "))
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn a_log_signs_for_its_own_trees_only() {
        assert!(is_of("rekor.sigstore.dev", "rekor.sigstore.dev - 1193050959916656506"));
        assert!(is_of("log2025-1.rekor.sigstore.dev", "log2025-1.rekor.sigstore.dev"));
        assert!(!is_of("rekor.sigstore.dev", "rekor.sigstore.dev.example - 1"));
        assert!(!is_of("rekor", "rekor.sigstore.dev"));
    }
}
