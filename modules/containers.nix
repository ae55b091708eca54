# The containers: the same options as `vega-builder up` and `install` give them; a check compares the two.
{ config, lib, ... }:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };

  # Without its user namespace's capabilities the container's root could not do the little that PID 1 does.
  capabilities = [
    "CHOWN"
    "DAC_OVERRIDE"
    "FOWNER"
    "SETUID"
    "SETGID"
    "KILL"
    "SYS_CHROOT"
    "SETFCAP"
    "SETPCAP"
  ];

  # The image's environment contract, without any secret.
  environment =
    name: instance:
    let
      inherit (instance) caps nix;
      owner = lib.splitString "/" instance.repository;
    in
    {
      VEGA_MODE = "runner";
      GITHUB_RUNNER_TOKEN_FILE = "/run/vega-builder/handover/registration-token";
      GITHUB_RUNNER_NAME = name;
      GITHUB_RUNNER_LABELS = lib.concatStringsSep "," instance.labels;
      VEGA_NIX_SANDBOX = if nix.sandbox == "auto" then "auto" else lib.boolToString nix.sandbox;
      VEGA_NIX_MAX_JOBS = toString nix.maxJobs;
      VEGA_NIX_CORES = toString nix.cores;
      VEGA_BUILDER_PATIENCE = instance.patience;
      VEGA_BUILDER_CAPS = "memory=${toString (of.bytes caps.memory)},millicpus=${toString (of.millis caps.cpus)},pids=${toString caps.pids}";
    }
    // lib.optionalAttrs (instance.repository != null) {
      GITHUB_OWNER = lib.head owner;
      GITHUB_REPOSITORY = lib.last owner;
    }
    // lib.optionalAttrs (instance.organization != null) { GITHUB_ORGANIZATION = instance.organization; }
    // lib.optionalAttrs (instance.runnerGroup != null) { VEGA_RUNNER_GROUP = instance.runnerGroup; }
    // lib.optionalAttrs (caps.disk != null) { VEGA_BUILDER_DISK = toString (of.bytes caps.disk); }
    // lib.optionalAttrs (caps.minFree != null) { VEGA_BUILDER_MIN_FREE = toString (of.bytes caps.minFree); }
    // lib.optionalAttrs (instance.cache.to != null) { VEGA_BUILDER_UPLOADS = instance.cache.wait; }
    // lib.optionalAttrs (instance.githubUrl != "https://github.com") {
      VEGA_GITHUB_URL = lib.removeSuffix "/" instance.githubUrl;
    }
    // lib.optionalAttrs (of.substituters instance != [ ]) {
      VEGA_EXTRA_SUBSTITUTERS = lib.concatStringsSep " " (of.substituters instance);
    }
    // lib.optionalAttrs (of.publicKeys instance != [ ]) {
      VEGA_EXTRA_TRUSTED_PUBLIC_KEYS = lib.concatStringsSep " " (of.publicKeys instance);
    };

  container =
    name: instance:
    let
      inherit (instance) caps;
      memory = toString (of.bytes caps.memory);
      ids = "0:${toString instance.userNamespace}:65536";
    in
    {
      serviceName = of.service name;
      # Fixed before its digest is known: `prepare` gives this local name to the image that it has verified.
      image = of.localImage name;
      pull = "never";
      hostname = name;
      podman.sdnotify = "container";
      environment = environment name instance;
      volumes = [
        "${name}-store:/nix"
        "${name}-runner:/home/runner/actions-runner"
      ]
      ++ lib.optional (instance.cache.to != null) "${name}-queue:/var/lib/vega-builder/queue";
      labels = {
        "dev.vega.builder.instance" = name;
        "dev.vega.builder.fingerprint" = "unit";
      };
      capabilities = lib.genAttrs capabilities (_: true) // {
        all = false;
      };
      networks = lib.optional (instance.network != null) instance.network;
      extraOptions = [
        "--memory=${memory}"
        "--memory-swap=${memory}"
        "--cpus=${of.number caps.cpus}"
        "--pids-limit=${toString caps.pids}"
        "--stop-timeout=${toString (of.seconds instance.patience + 60)}"
        "--cgroup-parent=${of.slice name}.slice"
        "--uidmap=${ids}"
        "--gidmap=${ids}"
        "--security-opt=no-new-privileges"
        "--security-opt=unmask=/proc/*"
        "--security-opt=seccomp=/var/lib/vega-builder/${name}/seccomp.json"
        "--mount=type=bind,source=${of.handover name},destination=/run/vega-builder/handover,relabel=private"
        "--env-host=false"
        "--http-proxy=false"
      ]
      # Its profile for containers forbids every mount, and with it Nix's build sandbox.
      ++ lib.optional (config.security.apparmor.enable or false) "--security-opt=apparmor=unconfined";
    };
in
{
  config = lib.mkIf cfg.enable {
    virtualisation.oci-containers = {
      backend = lib.mkDefault "podman";
      # An ephemeral runner's are made by its own service, one for every job.
      containers = lib.mapAttrs container (of.staying cfg.instances);
    };
  };
}
