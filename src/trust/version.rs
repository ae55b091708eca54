//! An image's version: the tag that its certificate names, because no registry could have moved that one.

use semver::Version;

use super::{Signature, Signer};

/// The version in a tag's name: `v1.2.3`, `builder-v1.2.3`, `1.2`.
pub fn parse(tag: &str) -> Option<Version> {
    let digits = tag.trim_start_matches(|c: char| !c.is_ascii_digit());
    if let Ok(version) = Version::parse(digits) {
        return Some(version);
    }
    // `1.2` and `1`, as many people tag.
    let dots = digits.matches('.').count();
    let plain = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    (plain && dots < 2).then(|| Version::parse(&format!("{digits}{}", &".0.0"[dots * 2..])).ok())?
}

/// The version that `signature` is for, when its certificate was issued for a tag.
pub fn of(signature: &Signature) -> Option<Version> {
    let Signer::Certificate(certificate) = &signature.signer else { return None };
    let tag = certificate.source_ref.as_deref()?.strip_prefix("refs/tags/")?;
    parse(tag)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn versions_are_found_in_the_tags_that_people_write() {
        let text = |tag| parse(tag).map(|version| version.to_string());
        assert_eq!(text("v0.18.0").as_deref(), Some("0.18.0"));
        assert_eq!(text("builder-v1.2.3-rc.1").as_deref(), Some("1.2.3-rc.1"));
        assert_eq!(text("v1.2").as_deref(), Some("1.2.0"));
        assert_eq!(text("7").as_deref(), Some("7.0.0"));
        for none in ["latest", "", "v", "1.2.3.4", "v1..2"] {
            assert_eq!(text(none), None, "{none}");
        }
    }
}
