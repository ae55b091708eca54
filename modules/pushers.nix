# The services that push the runners' builds: outside of their containers, with nothing of the host in sight but the store,
# the queue and their own credential. A check compares them with those of `vega-builder install`.
{ config, lib }:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };
  program = lib.getExe' cfg.package "vega-builder";
  storage = config.virtualisation.containers.storage.settings.storage or { };
  volumes = "${storage.graphroot or "/var/lib/containers/storage"}/volumes";

  service =
    name: instance:
    let
      store = "${volumes}/${name}-store/_data/store";
      queue = "${volumes}/${name}-queue/_data";
      state = "/var/lib/vega-builder/${name}";
      folder = of.cacheFolder instance;
      credentials =
        lib.optional (of.cacheKey instance != null) {
          name = "cache-key";
          flag = "key";
          file = of.cacheKey instance;
        }
        ++ lib.optional (of.cacheLogin instance != null) {
          name = "cache-login";
          flag = "login";
          file = of.cacheLogin instance;
        };
      given = map (one: "--${one.flag}=\${CREDENTIALS_DIRECTORY}/${one.name}") credentials;
    in
    {
      description = "Uploads of the GitHub Actions runner ${name} (vega-builder)";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      # Ended after the runner, whose last builds it pushes.
      before = [ "${of.service name}.service" ];
      unitConfig.StartLimitIntervalSec = 0;
      serviceConfig = {
        Type = "exec";
        ExecStart = lib.concatStringsSep " " (
          [ "${program} pusher --store=${store} --queue=${queue} --settings=${state}/cache.json" ] ++ given
        );
        TimeoutStopSec = of.seconds instance.patience + 30;
        Restart = "always";
        RestartSec = 5;
        RestartSteps = 6;
        RestartMaxDelaySec = 300;
        BindReadOnlyPaths = [
          program
          "-${state}"
          "-${store}"
        ];
        BindPaths = [ "-${queue}" ] ++ lib.optional (folder != null) "-${folder}";
        CapabilityBoundingSet = "CAP_DAC_OVERRIDE";
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        MemoryMax = "512M";
        MemorySwapMax = 0;
        Nice = 5;
        NoNewPrivileges = true;
        PrivateDevices = true;
        PrivateTmp = true;
        ProcSubset = "pid";
        ProtectClock = true;
        ProtectControlGroups = true;
        ProtectHome = "tmpfs";
        ProtectHostname = true;
        ProtectKernelLogs = true;
        ProtectKernelModules = true;
        ProtectKernelTunables = true;
        ProtectProc = "invisible";
        ProtectSystem = "strict";
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_UNIX"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = "@system-service";
        TasksMax = 256;
        TemporaryFileSystem = "/var:ro";
        InaccessiblePaths = [
          "-/run/vega-builder"
          "-/run/docker.sock"
          "-/run/podman"
          "-/etc/shadow"
          "-/etc/gshadow"
          "-/etc/ssh"
          "-/etc/vega-builder"
        ];
      }
      // lib.optionalAttrs (credentials != [ ]) {
        LoadCredential = map (one: "${one.name}:${one.file}") credentials;
      };
    };
  # An ephemeral runner's jobs have one each, beside their container.
  pushing = lib.filterAttrs (_: instance: instance.cache.to != null) (of.staying cfg.instances);
in
lib.mapAttrs' (name: instance: lib.nameValuePair (of.pusher name) (service name instance)) pushing
