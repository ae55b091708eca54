# The module through the real module system, by the very files of nixpkgs; the results are compared with the snapshots
# that `make test` compares them with.
{ pkgs, nixpkgs }:

let
  inherit (pkgs) lib;
  settings = lib.filterAttrs (file: _: lib.hasSuffix ".nix" file) (builtins.readDir ./settings);
  evaluated = lib.mapAttrs (
    file: _:
    builtins.toJSON (
      import ./evaluate.nix {
        nixpkgs = toString nixpkgs;
        oci = "${nixpkgs}/nixos/modules/virtualisation/oci-containers.nix";
        settings = toString (./settings + "/${file}");
      }
    )
  ) settings;
in
pkgs.runCommand "module" { nativeBuildInputs = [ pkgs.jq ]; } ''
  failed=
  ${lib.concatStrings (
    lib.mapAttrsToList (
      file: text:
      let
        name = lib.removeSuffix ".nix" file;
      in
      ''
        jq -S . ${pkgs.writeText "${name}.json" (builtins.unsafeDiscardStringContext text)} >${name}.json
        diff -u ${./snapshots + "/${name}.json"} ${name}.json || failed=1
      ''
    ) evaluated
  )}
  test -z "$failed"
  touch $out
''
