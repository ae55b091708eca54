# What services.vega-builder makes of a configuration, without NixOS: the real module system (nixpkgs' `lib`) and the real
# oci-containers.nix, with bare stand-ins for what else a NixOS declares. Gives containers, units, slices, paths, timers, tmpfiles,
# files in /etc, and the messages of failed assertions, without what is empty.
#
#   nix-instantiate --eval --strict --json checks/nix/evaluate.nix \
#     --argstr nixpkgs DIR --argstr oci FILE --argstr settings checks/nix/settings/least.nix
{
  # A folder with lib/ in it: nixpkgs, or a checkout of its lib alone.
  nixpkgs,
  # nixos/modules/virtualisation/oci-containers.nix
  oci,
  settings,
  # "config" (what comes of the settings) or "options" (the documentation of all options).
  what ? "config",
}:

let
  lib = import (/. + nixpkgs + "/lib");
  inherit (lib) mkOption types;

  package = name: {
    type = "derivation";
    inherit name;
    pname = name;
    outPath = "/package/${name}";
    src = "/source/${name}";
    meta.mainProgram = name;
  };
  written = name: content: package name // { inherit content; };
  pkgs = {
    vega-builder = package "vega-builder";
    podman = package "podman";
    docker = package "docker";
    runCommand = name: _: _: package name;
    writeShellApplication = { name, text, ... }: written name text;
    formats.toml = _: { generate = name: value: written name value; };
  };

  # Declared by NixOS, merged as it does, and checked no further.
  free = types.attrsOf types.anything;
  bag = default: mkOption { type = types.anything; inherit default; };
  lists = mkOption {
    type = types.listOf types.anything;
    default = [ ];
  };
  values = types.attrsOf (
    types.mkOptionType {
      name = "a unit's value";
      merge =
        at: definitions:
        if lib.any (one: lib.isList one.value) definitions then
          lib.concatMap (one: lib.toList one.value) definitions
        else
          lib.mergeEqualOption at definitions;
    }
  );
  section = mkOption {
    type = values;
    default = { };
  };
  lines = mkOption {
    type = types.lines;
    default = "";
  };
  unit = types.submodule {
    freeformType = free;
    options =
      lib.genAttrs [ "serviceConfig" "sliceConfig" "pathConfig" "timerConfig" "unitConfig" "environment" ] (_: section)
      // lib.genAttrs [ "after" "before" "wants" "requires" "wantedBy" "path" "restartTriggers" ] (_: lists)
      // lib.genAttrs [ "script" "preStart" "preStop" "postStop" ] (_: lines);
  };
  units = mkOption {
    type = types.attrsOf unit;
    default = { };
  };

  machine = {
    options = {
      assertions = lists;
      warnings = lists;
      environment.systemPackages = lists;
      environment.etc = mkOption {
        type = types.attrsOf free;
        default = { };
      };
      networking.proxy.envVars = bag { };
      security.apparmor.enable = bag false;
      system.stateVersion = bag "26.05";
      systemd.services = units;
      systemd.slices = units;
      systemd.paths = units;
      systemd.timers = units;
      systemd.tmpfiles.settings = bag { };
      users.users = mkOption {
        type = types.attrsOf free;
        default.root = {
          uid = 0;
          linger = false;
        };
      };
      virtualisation.podman.enable = bag false;
      virtualisation.podman.package = bag pkgs.podman;
      virtualisation.docker.enable = bag false;
      virtualisation.docker.package = bag pkgs.docker;
    };
    config._module.args = { inherit pkgs; };
  };

  evaluated = lib.evalModules {
    modules = [
      machine
      (/. + oci)
      ../../modules
      (/. + settings)
    ];
  };
  inherit (evaluated) config;

  isEmpty = value: value == null || value == "" || value == [ ] || value == { };
  shown =
    value:
    if value ? content then
      { inherit (value) name; content = shown value.content; }
    else if lib.isDerivation value then
      toString value
    else if lib.isAttrs value then
      lib.filterAttrs (_: one: !isEmpty one) (lib.mapAttrs (_: shown) value)
    else if lib.isList value then
      lib.unique (map shown value)
    else
      value;

  documented =
    let
      ours = lib.filter (option: lib.hasPrefix "services.vega-builder." option.name && option.visible) (
        lib.optionAttrSetToDocList evaluated.options
      );
      plain = value: value.text or (if value == null then null else value);
    in
    map (option: {
      inherit (option) name type;
      description = plain option.description or "";
      default = plain (option.default or null);
      example = plain (option.example or null);
    }) ours;
in
if what == "options" then
  documented
else
  shown {
    failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
    inherit (config.virtualisation.oci-containers) containers;
    inherit (config.systemd) services slices paths timers;
    tmpfiles = config.systemd.tmpfiles.settings;
    inherit (config.environment) etc;
  }
