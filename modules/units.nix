# What stands around the containers: the checks before and after their start, the second wall, the way in for a token.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };
  pushers = import ./pushers.nix { inherit config lib; };
  slots = import ./slots.nix { inherit config lib; };
  updates = import ./updates.nix { inherit config lib; };
  program = lib.getExe' cfg.package "vega-builder";
  podman = lib.getExe' config.virtualisation.podman.package "podman";
  format = pkgs.formats.toml { };

  # A file of the configuration's own comes along in the Nix store; one that is named is where it is.
  file = path: if path == null then null else if builtins.isPath path then "${path}" else toString path;

  # A secret stays where it is.
  named = path: if path == null then null else toString path;

  # The runner's declaration, in the keys of vega-builder's configuration file (docs/settings.md).
  declaration =
    instance:
    lib.filterAttrsRecursive (_: value: value != null && value != { }) {
      inherit (instance)
        repository
        organization
        patience
        ephemeral
        ;
      runner-group = instance.runnerGroup;
      labels = lib.concatStringsSep "," instance.labels;
      image = of.image instance;
      image-file = file instance.imageFile;
      engine = "podman";
      network = instance.network;
      userns-base = instance.userNamespace;
      caps = {
        memory = toString (of.bytes instance.caps.memory);
        cpus = of.number instance.caps.cpus;
        inherit (instance.caps) pids;
        disk = if instance.caps.disk == null then null else toString (of.bytes instance.caps.disk);
        min-free = if instance.caps.minFree == null then null else toString (of.bytes instance.caps.minFree);
      };
      trust = {
        inherit (instance.trust) identity issuer;
        key = file instance.trust.key;
        policy = file instance.trust.policy;
        trusted-root = file instance.trust.trustedRoot;
      };
      github = {
        url = instance.githubUrl;
        token-file = named instance.credential.tokenFile;
        app-id = instance.credential.githubApp.id;
        app-key-file = named instance.credential.githubApp.privateKeyFile;
      };
      cache = lib.optionalAttrs (instance.cache.to != null) {
        inherit (instance.cache) to compression wait;
        key-file = of.cacheKey instance;
        login-file = of.cacheLogin instance;
        upstreams = lib.concatStringsSep " " instance.cache.upstreams;
        allow-secrets = lib.concatStringsSep " " instance.cache.allowSecrets;
      };
      update = lib.optionalAttrs (instance.update.at != null) { inherit (instance.update) at within; };
      nix = {
        sandbox = if instance.nix.sandbox == "auto" then "auto" else lib.boolToString instance.nix.sandbox;
        max-jobs = instance.nix.maxJobs;
        inherit (instance.nix) cores;
        store = if instance.ephemeral > 0 then instance.nix.store else null;
        extra-substituters = lib.concatStringsSep " " (of.substituters instance);
        extra-trusted-public-keys = lib.concatStringsSep " " (of.publicKeys instance);
      };
    };

  service = name: instance: {
    description = "GitHub Actions runner ${name} (vega-builder)";
    # A token may be minted, and the signatures asked for; without a network those that were kept are judged.
    wants = [
      "network-online.target"
    ]
    ++ lib.optional (instance.cache.to != null) "${of.pusher name}.service";
    after = [
      "network-online.target"
      "systemd-tmpfiles-setup.service"
    ];
    # A switch does not end a job: the new image is verified, then the runner starts anew after its job.
    reloadIfChanged = true;
    restartTriggers = [ config.environment.etc."vega-builder/runners/${name}.toml".source ];
    unitConfig = {
      # No endless loop: after ten starts in an hour it stays down and says why.
      StartLimitIntervalSec = "1h";
      StartLimitBurst = 10;
    };
    serviceConfig = {
      # Nothing to register with is no failure: one line, and the path unit below starts it when a token comes.
      ExecCondition = "${program} can-start ${name}";
      ExecStartPre = lib.mkBefore [ "${program} prepare ${name}" ];
      ExecStartPost = [ "${program} prove ${name}" ];
      ExecReload = [
        "${program} prepare --ahead ${name}"
        "${podman} kill --signal=HUP ${name}"
      ];
      TimeoutStopSec = lib.mkForce (of.seconds instance.patience + 90);
      RestartSec = 5;
      RestartSteps = 6;
      RestartMaxDelaySec = 300;
      LimitNOFILE = 1048576;
    }
    // lib.optionalAttrs (of.credential instance != null) {
      LoadCredential = of.credential instance;
    };
  };

  # A little wider than the containers' own limits: podman's monitors live in it too, and the containers that wait.
  slice =
    name: instance:
    let
      number = lib.max 1 instance.ephemeral;
      spare = ofSlots: ofOne: if instance.ephemeral > 0 then ofSlots else ofOne;
      # What fetches for all of them.
      isWarm = instance.ephemeral > 0 && instance.nix.store == "warm";
      filler = of: if isWarm then of else 0;
    in
    {
      description = "Limits of the GitHub Actions runner ${name}";
      # Ended as soon as the machine is to go down, it would end the containers in it: their services have patience.
      unitConfig.DefaultDependencies = false;
      sliceConfig = {
        MemoryMax = (of.bytes instance.caps.memory + spare 320 64 * 1048576) * number + filler 1088 * 1048576;
        MemorySwapMax = 0;
        CPUQuota = "${of.number (instance.caps.cpus * 100 * number)}%";
        TasksMax = (instance.caps.pids + spare 96 32) * number + filler 96;
      };
    };

  path = name: _: {
    description = "A registration token for the GitHub Actions runner ${name}";
    wantedBy = [ "multi-user.target" ];
    pathConfig = {
      PathExists = "${of.handover name}/registration-token";
      Unit = "${of.service name}.service";
    };
  };

  # /run is empty after a reboot.
  folder = name: instance: {
    d = {
      mode = "0700";
      user = toString instance.userNamespace;
      group = toString instance.userNamespace;
    };
  };

  each' = instances: rename: value: lib.mapAttrs' (name: instance: lib.nameValuePair (rename name) (value name instance)) instances;
  each = each' cfg.instances;
  eachStaying = each' (of.staying cfg.instances);
in
{
  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    virtualisation.podman.enable = lib.mkIf (slots != { }) true;
    environment.etc = {
      "vega-builder/seccomp.json".source = cfg.seccompProfile;
    }
    // each (name: "vega-builder/runners/${name}.toml") (
      name: instance: { source = format.generate "${name}.toml" (declaration instance); }
    );
    systemd = {
      services = eachStaying of.service service // slots // pushers // updates.services;
      inherit (updates) timers;
      slices = each of.slice slice;
      paths = eachStaying of.service path;
      tmpfiles.settings."10-vega-builder" = {
        "/run/vega-builder".d = {
          mode = "0755";
          user = "root";
          group = "root";
        };
      }
      // each of.handover folder;
    };
  };
}
