# What updates the runners by themselves: a timer each, and the service that it starts. A check compares them with those of
# `vega-builder install`.
{ config, lib }:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };
  program = lib.getExe' cfg.package "vega-builder";

  service = name: _: {
    description = "An update of the GitHub Actions runner ${name} (vega-builder)";
    wants = [ "network-online.target" ];
    after = [ "network-online.target" ];
    path = [ config.virtualisation.podman.package ];
    environment = config.networking.proxy.envVars;
    # A switch ends no update that is under way.
    restartIfChanged = false;
    serviceConfig = {
      Type = "oneshot";
      ExecStart = "${program} update --in-window ${name}";
      # A job went on to the end of the window: the next one tries again.
      SuccessExitStatus = 12;
    };
  };

  timer = name: instance: {
    description = "Updates of the GitHub Actions runner ${name} (vega-builder)";
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnCalendar = instance.update.at;
      # A window that this host slept through is not made up for: the next one comes.
      Persistent = false;
    };
  };

  updating = lib.filterAttrs (_: instance: instance.update.at != null) cfg.instances;
  each = value: lib.mapAttrs' (name: instance: lib.nameValuePair (of.updates name) (value name instance)) updating;
in
{
  services = each service;
  timers = each timer;
}
