//! The little of Nix's forms that the control plane has to judge, written anew from their description, so that it does
//! not share a mistake with whom it judges.

const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A SHA-256 in Nix's base 32.
pub fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 52 {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, letter) in text.bytes().rev().enumerate() {
        let value = u16::try_from(ALPHABET.iter().position(|known| *known == letter)?).ok()?;
        let (byte, shift) = (at * 5 / 8, at * 5 % 8);
        let [low, high] = (value << shift).to_le_bytes();
        bytes[byte] |= low;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high > 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #[test]
    fn base_32_is_read_as_nix_writes_it() {
        // `nix-hash --type sha256 --to-base32` of the digest of nothing.
        let digest = super::digest("0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73").unwrap();
        assert_eq!(hex::encode(digest), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert!(super::digest("0mdqa9").is_none() && super::digest(&"e".repeat(52)).is_none());
    }
}
