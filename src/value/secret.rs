use zeroize::Zeroizing;

/// A runner's registration token: good for one hour, and for registering any runner it is handed to.
///
/// It has no `Debug`, `Display`, `Clone` or `Serialize`, so it cannot slip into a log, an error or a file
/// by accident, and its memory is wiped when it is dropped.
pub struct RegistrationToken(Zeroizing<String>);

impl RegistrationToken {
    pub fn new(token: impl Into<String>) -> Self {
        Self(Zeroizing::new(token.into()))
    }

    /// The token itself. Every caller is a place where it leaves our hands: keep them countable.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
