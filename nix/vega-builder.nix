# The program, with its manual pages and completions.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  cmake,
}:

let
  manifest = (lib.importTOML ../Cargo.toml).workspace.package;
in
rustPlatform.buildRustPackage {
  pname = "vega-builder";
  inherit (manifest) version;
  src = import ./source.nix { inherit lib; };
  cargoLock.lockFile = ../Cargo.lock;

  nativeBuildInputs = [
    installShellFiles
    # aws-lc's own build.
    cmake
  ];
  dontUseCmakeConfigure = true;

  cargoBuildFlags = [ "--package=vega-builder" ];
  # Tests with engines, registries and whole machines are `make test`'s and the flake's checks.
  cargoTestFlags = [
    "--package=vega-builder"
    "--lib"
  ];

  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    mkdir -p man
    $out/bin/vega-builder man man
    installManPage man/*
    installShellCompletion --cmd vega-builder \
      --bash <($out/bin/vega-builder completions bash) \
      --fish <($out/bin/vega-builder completions fish) \
      --zsh <($out/bin/vega-builder completions zsh)
  '';

  meta = {
    description = "Put your own machine behind GitHub Actions for heavy Nix builds";
    homepage = manifest.repository;
    license = lib.licenses.asl20;
    mainProgram = "vega-builder";
    platforms = lib.platforms.linux;
  };
}
