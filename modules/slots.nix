# The services that keep ephemeral runners' slots: vega-builder itself makes a container for every job. A check compares them
# with those of `vega-builder install`.
{ config, lib }:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };
  program = lib.getExe' cfg.package "vega-builder";

  service = name: instance: {
    description = "GitHub Actions runner ${name} (vega-builder)";
    wantedBy = [ "multi-user.target" ];
    wants = [ "network-online.target" ];
    after = [
      "network-online.target"
      "systemd-tmpfiles-setup.service"
    ];
    path = [ config.virtualisation.podman.package ];
    environment = config.networking.proxy.envVars;
    # A switch ends no job: containers that have none are made anew.
    reloadIfChanged = true;
    restartTriggers = [ config.environment.etc."vega-builder/runners/${name}.toml".source ];
    unitConfig = {
      StartLimitIntervalSec = "1h";
      StartLimitBurst = 10;
    };
    serviceConfig = {
      Type = "notify";
      NotifyAccess = "main";
      ExecCondition = "${program} can-start ${name}";
      ExecStart = "${program} slots ${name}";
      ExecReload = [
        "${program} prepare --ahead ${name}"
        "${program} slots --reload ${name}"
      ];
      # Its containers are not its children's to lose: should it die, the next one goes on with them.
      KillMode = "process";
      TimeoutStartSec = "infinity";
      TimeoutStopSec = of.seconds instance.patience + 90;
      Restart = "always";
      RestartSec = 5;
      RestartSteps = 6;
      RestartMaxDelaySec = 300;
      LimitNOFILE = 1048576;
    }
    // lib.optionalAttrs (of.credential instance != null) {
      LoadCredential = of.credential instance;
    };
  };

  ephemeral = lib.filterAttrs (_: instance: instance.ephemeral > 0) cfg.instances;
in
lib.mapAttrs' (name: instance: lib.nameValuePair (of.service name) (service name instance)) ephemeral
