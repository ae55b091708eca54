{
  # What this flake takes of nixpkgs, as bare derivations that nothing can build: with it in the place of nixpkgs, and a
  # checkout of nixpkgs' lib, `nix flake show` and `nix flake check --no-build` see every output without any network.
  inputs.lib = { };

  outputs =
    inputs:
    let
      inherit (inputs.lib) lib;
      package =
        system: name:
        derivation {
          inherit name system;
          builder = "/bin/false";
        }
        // {
          pname = name;
          version = "0";
          meta.mainProgram = name;
          src = "/source/${name}";
          override = _: package system name;
          overrideAttrs = _: package system name;
          runnerVersion = "0.0.0";
        };
      of =
        system:
        lib.makeExtensible (
          pkgs:
          let
            named = arguments: package system (arguments.name or arguments.pname);
            called = lib.callPackageWith pkgs;
          in
          lib.genAttrs [
            "aardvark-dns" "apt" "bash" "bashInteractive" "cacert" "cargo" "cargo-deny" "cargo-nextest" "clippy" "cmake" "coreutils"
            "cosign" "crun" "curl" "docker-distribution" "dpkg" "e2fsprogs" "findutils" "gawk" "git" "github-runner" "gnugrep" "gnused" "gnutar"
            "gzip" "installShellFiles" "jq" "mmdebstrap" "nix" "nixfmt" "oras" "podman" "qemu" "qemu_kvm" "rust-analyzer" "rustc" "rustfmt"
            "shellcheck" "skopeo" "syft" "util-linux" "xz"
          ] (package system)
          // {
            inherit lib;
            callPackage = called;
            pkgsStatic.callPackage = called;
            stdenv = {
              buildPlatform.canExecute = _: true;
              hostPlatform = {
                inherit system;
                isx86_64 = system == "x86_64-linux";
                go.GOARCH = if system == "x86_64-linux" then "amd64" else "arm64";
              };
            };
            rustPlatform.buildRustPackage = named;
            dockerTools.streamLayeredImage = named;
            buildEnv = named;
            closureInfo = _: package system "closure-info";
            linkFarm = name: _: package system name;
            mkShell = _: package system "shell";
            runCommand = name: _: _: package system name;
            treefmt.withConfig = _: package system "treefmt";
            writeText = name: _: package system name;
            testers.runNixOSTest = test: named test;
            fetchurl = _: package system "fetched";
            vmTools = {
              debDistros.debian13x86_64 = {
                urlPrefix = "";
                packagesList = package system "packages";
              };
              # The list of packages comes of a build; here none is needed.
              debClosureGenerator = _: ./no-packages.nix;
              runInLinuxVM = derivation: derivation;
            };
          }
        );
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] of;
    };
}
