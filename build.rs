//! How the shipped program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A program at no fixed address has a relocation for every pointer in its tables: packed they take a fortieth of the room.
    // musl 1.2.4 and later, which Rust brings, relocates itself by them.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
