/// What is wrong with a signature, one thing each; none of them may be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// No certificate transparency log has seen the certificate.
    NoSct,
    /// A log that nobody trusts has.
    ForeignSct,
    /// Not in Rekor at all.
    NoLogEntry,
    /// In Rekor, as it says, but with a proof that leads elsewhere.
    WrongInclusionProof,
    /// A checkpoint signed by another log's key.
    ForeignCheckpoint,
    /// Rekor's promise is signed by another key.
    ForeignPromise,
    /// A certificate of another authority.
    ForeignAuthority,
    /// Logged after the certificate had lapsed.
    Lapsed,
    /// True, but no signature: another kind of statement.
    OtherPredicate,
    /// A signature of another image.
    OtherSubject,
    /// One bit of the signature is another one.
    BrokenSignature,
    /// The log's entry is about another envelope.
    OtherEntry,
}

impl Flaw {
    pub const ALL: [Self; 12] = [
        Self::NoSct,
        Self::ForeignSct,
        Self::NoLogEntry,
        Self::WrongInclusionProof,
        Self::ForeignCheckpoint,
        Self::ForeignPromise,
        Self::ForeignAuthority,
        Self::Lapsed,
        Self::OtherPredicate,
        Self::OtherSubject,
        Self::BrokenSignature,
        Self::OtherEntry,
    ];
}
