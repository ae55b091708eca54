use url::{Host, Url};

/// Whether an address is on this machine's loopback: only there plain HTTP carries a secret, because only there nobody
/// listens.
pub fn is_loopback(address: &Url) -> bool {
    match address.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
