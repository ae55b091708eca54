# The scenarios of checks/scenarios on a Debian 13, as `make test` plays them: `install` and `up`, with podman and docker,
# in three lives of one machine.
{ pkgs }:

let
  # A Debian has no Nix store of ours: what runs there is linked statically.
  player = pkgs.pkgsStatic.callPackage ../../nix/simulator.nix { };
in
pkgs.runCommand "vega-builder-debian"
  {
    nativeBuildInputs = [
      pkgs.jq
      pkgs.qemu_kvm
    ];
    requiredSystemFeatures = [ "kvm" ];
  }
  ''
    mkdir checks
    cp -R ${../vm} checks/vm
    cp -R ${../scenarios} checks/scenarios
    bash checks/vm/play --program ${pkgs.vega-builder-static}/bin/vega-builder --player ${player}/bin/scenario \
      --image ${pkgs.callPackage ../nixos/layout.nix { }} --machine ${pkgs.callPackage ./machine.nix { }} --out lives
    jq -s 'map({name, title, engine, boot, seconds, ok})' lives/told >$out
  ''
