# A shell with everything that `make` installs on a Debian.
{
  mkShell,
  cargo,
  cargo-deny,
  cargo-nextest,
  clippy,
  cmake,
  cosign,
  crun,
  docker-distribution,
  jq,
  podman,
  qemu,
  rust-analyzer,
  rustc,
  rustfmt,
  shellcheck,
  skopeo,
}:

mkShell {
  packages = [
    cargo
    cargo-deny
    cargo-nextest
    clippy
    cmake
    cosign
    crun
    docker-distribution
    jq
    podman
    qemu
    rust-analyzer
    rustc
    rustfmt
    shellcheck
    skopeo
  ];
}
