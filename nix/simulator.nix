# What stands in for GitHub in checks, and plays the scenarios on a machine.
{
  lib,
  rustPlatform,
  cmake,
}:

rustPlatform.buildRustPackage {
  pname = "vega-builder-simulator";
  inherit ((lib.importTOML ../Cargo.toml).workspace.package) version;
  src = import ./source.nix { inherit lib; };
  cargoLock.lockFile = ../Cargo.lock;
  nativeBuildInputs = [ cmake ];
  dontUseCmakeConfigure = true;
  cargoBuildFlags = [
    "--package=simulator"
    "--package=testbed"
  ];
  doCheck = false;
  meta.mainProgram = "simulator";
}
