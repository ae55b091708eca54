# `nix flake check`: the programs, the image twice, the module's evaluation, the formatting, and every scenario of
# checks/scenarios on a NixOS and on a Debian.
{
  self,
  pkgs,
  nixpkgs,
}:

let
  inherit (pkgs) lib;
  scenarios = lib.mapAttrs' (
    file: _: lib.nameValuePair (lib.removeSuffix ".toml" file) (./scenarios + "/${file}")
  ) (lib.filterAttrs (file: _: lib.hasSuffix ".toml" file) (builtins.readDir ./scenarios));
  # On NixOS the configuration declares every runner; nobody types `up`.
  declared = lib.filterAttrs (_: file: !(fromTOML (builtins.readFile file)) ? by) scenarios;
  nixos = lib.mapAttrs' (
    name: file:
    lib.nameValuePair "nixos-${name}" (
      import ./nixos {
        inherit pkgs name file;
        module = self.nixosModules.default;
      }
    )
  ) declared;
in
{
  inherit (pkgs) vega-builder vega-builder-static;
  image = import ./image.nix { inherit pkgs; };
  module = import ./nix { inherit pkgs nixpkgs; };
  formatting = pkgs.runCommand "formatting" { nativeBuildInputs = [ self.formatter.${pkgs.stdenv.hostPlatform.system} ]; } ''
    cp -R ${self} tree
    chmod -R u+w tree
    cd tree
    treefmt --ci --no-cache --walk filesystem
    touch $out
  '';
}
// nixos
# Debian's machine, and with it its packages, are for the one architecture.
// lib.optionalAttrs pkgs.stdenv.hostPlatform.isx86_64 {
  debian = import ./debian { inherit pkgs; };
}
