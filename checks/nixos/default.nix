# A scenario of checks/scenarios on a NixOS: the machine's configuration declares what `install` does elsewhere, and the
# same program plays the same steps, boot by boot.
{
  pkgs,
  module,
  name,
  file,
}:

let
  inherit (pkgs) lib;
  scenario = fromTOML (builtins.readFile file);
  # docker is for hosts without NixOS.
  engine = "podman";
  image = pkgs.callPackage ./layout.nix { };
  down = {
    # The scenario itself is not to go down with it.
    "reboot while a job runs" = "machine.shutdown()\nmachine.start()";
    "reboot" = "machine.shutdown()\nmachine.start()";
    "power cut" = "machine.crash()\nmachine.start()";
  };
  play = number: boot: ''
    machine.wait_for_unit("multi-user.target")
    print(machine.succeed(
        "VEGA_TESTBED_PROGRAM=${lib.getExe pkgs.vega-builder} "
        "scenario --nixos --engine ${engine} --life ${toString number} --image ${image} ${file}",
        timeout=900,
    ))
    ${lib.optionalString (boot ? "then") down.${boot."then"}}
  '';
in
pkgs.testers.runNixOSTest {
  name = "vega-builder-${name}";
  nodes.machine = import ./machine.nix { inherit module name; };
  testScript = lib.concatImapStrings (at: boot: play (at - 1) boot) scenario.boot;
}
