# What Rust is built from: a change of a page or of a module builds nothing anew.
{ lib }:
lib.fileset.toSource {
  root = ../.;
  fileset = lib.fileset.unions [
    ../Cargo.toml
    ../Cargo.lock
    ../build.rs
    ../src
    ../tests
    ../docs/lint-rules.md
    ../checks/simulator
    ../checks/testbed
    ../checks/scenarios
  ];
}
