//! A log in the form of RFC 6962, and its signed checkpoint.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use sha2::{Digest as _, Sha256};

type Hash = [u8; 32];

/// A Merkle tree over what was logged.
#[derive(Default)]
pub struct Tree(Vec<Hash>);

/// An entry's place in a tree.
pub struct Proof {
    pub index: usize,
    pub size: usize,
    pub root: Hash,
    pub path: Vec<Hash>,
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The largest power of two below `size`.
fn split(size: usize) -> usize {
    size.next_power_of_two() / 2
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return vec![];
    }
    let middle = split(leaves.len());
    let (left, right) = leaves.split_at(middle);
    let (mut below, beside) = if index < middle {
        (path(index, left), root(right))
    } else {
        (path(index - middle, right), root(left))
    };
    below.push(beside);
    below
}

impl Tree {
    /// Add an entry and prove that it is there.
    pub fn add(&mut self, entry: &[u8]) -> Proof {
        self.0.push(Sha256::new().chain_update([0]).chain_update(entry).finalize().into());
        let (index, size) = (self.0.len() - 1, self.0.len());
        Proof { index, size, root: root(&self.0), path: path(index, &self.0) }
    }
}

/// The state of a log as a signed note.
pub fn checkpoint(origin: &str, proof: &Proof, key: &SigningKey, key_id: &[u8]) -> String {
    let text = format!("{origin} - 1\n{}\n{}\n", proof.size, STANDARD.encode(proof.root));
    let signature: DerSignature = key.sign(text.as_bytes());
    let mut hinted = key_id[..4].to_vec();
    hinted.extend_from_slice(signature.as_bytes());
    format!("{text}\n— {origin} {}\n", STANDARD.encode(hinted))
}

#[cfg(test)]
mod tests {
    use super::{Hash, Tree, node};

    /// As RFC 9162, 2.1.3.2 verifies it.
    fn root_of_path(index: usize, size: usize, leaf: Hash, path: &[Hash]) -> Hash {
        let (mut at, mut last, mut hash) = (index, size - 1, leaf);
        for beside in path {
            if at % 2 == 1 || at == last {
                hash = node(beside, &hash);
                while at % 2 == 0 && at != 0 {
                    at /= 2;
                    last /= 2;
                }
            } else {
                hash = node(&hash, beside);
            }
            at /= 2;
            last /= 2;
        }
        hash
    }

    #[test]
    fn every_entrys_path_leads_to_the_root() {
        let mut tree = Tree::default();
        for number in 0..20u8 {
            let proof = tree.add(&[number]);
            let leaf = tree.0[proof.index];
            assert_eq!(root_of_path(proof.index, proof.size, leaf, &proof.path), proof.root, "{number}");
        }
    }
}
