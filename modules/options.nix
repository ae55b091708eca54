# The options: one runner at the top, or several under `instances`, which take what they do not say from the top.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) literalExpression mkOption types;
  cfg = config.services.vega-builder;
  size = types.strMatching "[0-9]+[kmgtKMGT]?";

  # What a runner is, whether it is the only one or one of several. `of` gives an instance's default: the option's own
  # at the top, the top's value below.
  runner = of: {
    repository = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9-]+/[A-Za-z0-9._-]+");
      default = null;
      example = "octo-org/heavy-builds";
      description = "The repository whose jobs run here, as `OWNER/NAME`.";
    };
    organization = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9-]+");
      default = null;
      example = "octo-org";
      description = ''
        Instead of a `repository`: the organisation whose repositories' jobs run here, as far as the runner's group lets
        them. Every one of them is looked at before the runner is registered.
      '';
    };
    runnerGroup = mkOption {
      type = types.nullOr (types.strMatching "[^-[:cntrl:]][^[:cntrl:]]*");
      default = null;
      example = "heavy builds";
      description = "The organisation's group of runners that this one joins; its default group unless given.";
    };
    labels = mkOption {
      type = types.nonEmptyListOf (types.strMatching "[A-Za-z0-9._-]+");
      description = "The runner's labels: a job runs here when all of its `runs-on` are among them.";
    }
    // of "labels" [
      "self-hosted"
      "vega"
    ];
    image = mkOption {
      type = types.str;
      example = "ghcr.io/octo-org/vega-builder:v1";
      description = ''
        The runner image. A tag is resolved once, when the image is first prepared; from then on the verified digest
        runs until this option, or `digest`, changes.
      '';
    }
    // of "image" "ghcr.io/ad-astra-computing/vega-builder:latest";
    digest = mkOption {
      type = types.nullOr (types.strMatching "sha256:[0-9a-f]{64}");
      example = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
      description = "Pin the image to a digest; its signature is verified all the same.";
    }
    // of "digest" null;
    imageFile = mkOption {
      type = types.nullOr types.path;
      example = literalExpression "./runner";
      description = ''
        An OCI layout (a folder) that holds the image named by `image` and its signatures, instead of the image's registry
        (docs/trust.md). Its signature is verified all the same.
      '';
    }
    // of "imageFile" null;
    trust = {
      identity = mkOption {
        type = types.nullOr types.str;
        example = "https://github.com/octo-org/image/.github/workflows/publish.yml@refs/tags/.*";
        description = ''
          Regular expression that the signing certificate's URI name must match as a whole, instead of the policy's
          publishers (Vega's publish workflow, unless `policy` says otherwise).
        '';
      }
      // of "trust.identity" null;
      issuer = mkOption {
        type = types.nullOr types.str;
        example = "https://token.actions.githubusercontent.com";
        description = "The certificate's issuer, letter by letter; only with an identity.";
      }
      // of "trust.issuer" null;
      key = mkOption {
        type = types.nullOr types.path;
        example = literalExpression "./cosign.pub";
        description = "A public key (PEM) instead of an identity.";
      }
      // of "trust.key" null;
      policy = mkOption {
        type = types.nullOr types.path;
        example = literalExpression "./trust.toml";
        description = "A policy file: publishers, provenance, versions and ages that are demanded (docs/trust.md).";
      }
      // of "trust.policy" null;
      trustedRoot = mkOption {
        type = types.nullOr types.path;
        example = literalExpression "./trusted_root.json";
        description = "A `trusted_root.json` instead of the public Sigstore's, for a private Sigstore.";
      }
      // of "trust.trustedRoot" null;
    };
    caps = {
      memory = mkOption {
        type = size;
        example = "12g";
        description = ''
          Hard limit of memory, swap included: a number of bytes, or with `k`, `m`, `g` or `t`. There is no default,
          because only you know what this host can spare, and no way to go without.
        '';
      }
      // of "caps.memory" null;
      cpus = mkOption {
        type = types.addCheck types.number (cpus: cpus >= 0.1) // {
          description = "number of processors, at least 0.1";
        };
        example = 4;
        description = "Hard limit of processors, e.g. `4` or `1.5`. It has no default either.";
      }
      // of "caps.cpus" null;
      pids = mkOption {
        type = types.ints.between 64 4194304;
        description = "Hard limit of processes and threads.";
      }
      // of "caps.pids" 4096;
      disk = mkOption {
        type = types.nullOr size;
        example = "200g";
        description = ''
          How much the Nix store may hold. Above it garbage is collected between two jobs, and no job is taken while that
          does not help. `null`: half of the file system on which podman's volumes are.
        '';
      }
      // of "caps.disk" null;
      minFree = mkOption {
        type = types.nullOr size;
        example = "20g";
        description = ''
          How much of the disk stays free. Below it garbage is collected, while it stays below no job is taken, and a job
          that leaves less than an eighth of it is ended. `null`: 2 GiB, or a tenth of a smaller file system.
        '';
      }
      // of "caps.minFree" null;
    };
    credential = {
      tokenFile = mkOption {
        type = types.nullOr types.path;
        example = "/run/keys/github-token";
        description = ''
          A file with a GitHub token (Administration: write on the repository) that mints registration tokens on this
          host. systemd hands it to the unit alone (LoadCredential); it must not be in the Nix store. Without one, type
          `vega-builder register` once: a registration needs no second token.
        '';
      }
      // of "credential.tokenFile" null;
      githubApp = {
        id = mkOption {
          type = types.nullOr types.str;
          example = "Iv23li0123456789abcd";
          description = ''
            A GitHub App, by its client id, instead of a token: it mints tokens of an hour for the one repository. It needs
            Administration: write and Contents: read there; for an organisation Self-hosted runners: write, and
            Administration: read and Contents: read in its repositories.
          '';
        }
        // of "credential.githubApp.id" null;
        privateKeyFile = mkOption {
          type = types.nullOr types.path;
          example = "/run/keys/github-app.pem";
          description = "The App's private key, as GitHub gave it; outside of the Nix store.";
        }
        // of "credential.githubApp.privateKeyFile" null;
      };
    };
    cache = {
      url = mkOption {
        type = types.nullOr types.str;
        example = "https://vega-cache.dev/tenant/octo-org/heavy-builds";
        description = "Your own namespace in a binary cache, from which builds are read.";
      }
      // of "cache.url" null;
      to = mkOption {
        type = types.nullOr types.str;
        example = "vega";
        description = ''
          Where every build that Nix finishes in the runner is pushed to by itself: `vega` (your namespace there), a folder
          (`file:///srv/cache`), `https://…`, or an object store (`s3://bucket?region=…`). A service of this host does it;
          what it signs with and is logged in with never enters the runner's container (docs/push.md).
        '';
      }
      // of "cache.to" null;
      keyFile = mkOption {
        type = types.nullOr types.path;
        example = "/run/keys/cache-key";
        description = ''
          The secret key that signs them (`vega-builder key generate`); outside of the Nix store. Vega signs the paths with
          your namespace's own key: there it signs where they were built, and is this host's own unless given.
        '';
      }
      // of "cache.keyFile" null;
      loginFile = mkOption {
        type = types.nullOr types.path;
        example = "/run/keys/cache-login";
        description = ''
          What the cache is logged in with, outside of the Nix store: a netrc file for `https://…`, lines like
          `AWS_ACCESS_KEY_ID=…` for an object store; for `vega` what `vega-builder login` keeps for root, unless given.
        '';
      }
      // of "cache.loginFile" null;
      upstreams = mkOption {
        type = types.listOf types.str;
        description = "Caches whose paths need not be pushed.";
      }
      // of "cache.upstreams" [ "https://cache.nixos.org" ];
      compression = mkOption {
        type = types.enum [
          "zstd"
          "xz"
          "none"
        ];
        description = "How NARs are compressed.";
      }
      // of "cache.compression" "zstd";
      allowSecrets = mkOption {
        type = types.listOf types.str;
        example = [ "private-key:.*/test/.*\\.pem" ];
        description = ''
          No secrets although they look like them, each `RULE:EXPRESSION` as `push --allow-secret` has it; any other path with
          a secret in it stays here.
        '';
      }
      // of "cache.allowSecrets" [ ];
      wait = mkOption {
        type = types.enum [
          "no"
          "job"
        ];
        description = "`job`: a job ends when its builds are in the cache; `no`: they go on their way beside the next one.";
      }
      // of "cache.wait" "no";
      publicKey = mkOption {
        type = types.nullOr types.str;
        example = "vega-octo-org-1:AAAA…";
        description = "The key that signs it.";
      }
      // of "cache.publicKey" null;
    };
    update = {
      at = mkOption {
        type = types.nullOr (types.strMatching "[A-Za-z0-9*][A-Za-z0-9 :*,./~_+-]*");
        example = "Sun 03:00";
        description = ''
          When a window for updates by themselves opens, as systemd's timers have it (systemd.time(7)): the `image`'s tag is
          resolved again, what it names is verified and tried, and the runner changes to it once its job has ended. It goes
          back by itself when that does not listen. `null`: the verified digest stays until this configuration changes.
        '';
      }
      // of "update.at" null;
      within = mkOption {
        type = types.strMatching "[0-9]*[1-9][0-9]*[smhd]";
        description = "How long the window stays open: a job that still runs at its end goes on, and so does the old image.";
      }
      // of "update.within" "2h";
    };
    ephemeral = mkOption {
      # It was a yes or no once.
      type = types.coercedTo types.bool (is: if is then 1 else 0) (types.ints.between 0 64);
      example = 2;
      description = ''
        So many jobs at once, each in a fresh container with a registration and a store of its own, and the next container
        booted while the last one works; the `caps` are each slot's. Needs a `credential`. 0: the runner stays, and takes
        one job after the other.
      '';
    }
    // of "ephemeral" 0;
    patience = mkOption {
      type = types.strMatching "[0-9]+[smhd]";
      example = "2h";
      description = ''
        How long a running job may go on when the unit is stopped or the host shuts down; then it is cancelled. A switch
        to another configuration waits for no patience: the runner starts anew once its job has ended.
      '';
    }
    // of "patience" "10m";
    network = mkOption {
      type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9_.-]*");
      example = "host";
      description = ''
        The container's network: one of podman's, or `host` (jobs then reach every service on this host's loopback).
      '';
    }
    // of "network" null;
    githubUrl = mkOption {
      type = types.strMatching "https?://[^/?#]+/?";
      example = "https://github.example.com";
      description = "The GitHub server, for GitHub Enterprise Server.";
    }
    // of "githubUrl" "https://github.com";
    nix = {
      maxJobs = mkOption {
        type = types.ints.positive;
        description = "Derivations that Nix builds at once.";
      }
      // of "nix.maxJobs" 2;
      cores = mkOption {
        type = types.ints.unsigned;
        description = "Processors that one derivation may use; 0 means all that the caps allow.";
      }
      // of "nix.cores" 0;
      sandbox = mkOption {
        type = types.enum [
          true
          false
          "auto"
        ];
        description = ''
          Nix's build sandbox: `true`, proven by a real build or the runner does not start; `"auto"`, proven or a
          warning; `false`.
        '';
      }
      // of "nix.sandbox" true;
      store = mkOption {
        type = types.enum [
          "fresh"
          "warm"
        ];
        description = ''
          What the store of an `ephemeral` runner's job begins with: `"fresh"`, the image's own paths; `"warm"`, and what
          earlier jobs had from caches, fetched once more where no job is, and shared read-only. What a job adds is discarded.
        '';
      }
      // of "nix.store" "fresh";
      substituters = mkOption {
        type = types.listOf types.str;
        example = [ "https://vega-cache.dev/tenant/octo-org/heavy-builds" ];
        description = "More binary caches than the image's own.";
      }
      // of "nix.substituters" [ ];
      trustedPublicKeys = mkOption {
        type = types.listOf types.str;
        description = "Their public keys.";
      }
      // of "nix.trustedPublicKeys" [ ];
    };
    userNamespace = mkOption {
      type = types.ints.between 65536 4294901759;
      description = ''
        The first of the 65536 host ids that the container's users are. It stays the same for as long as the runner has
        its volumes, because their files belong to it.
      '';
    };
  };

  # What nobody can guess has no default.
  demanded = [
    "caps.memory"
    "caps.cpus"
  ];
  top = path: default: if lib.elem path demanded then { } else { inherit default; };
  below =
    path: _:
    let
      steps = lib.splitString "." path;
    in
    {
      default = lib.getAttrFromPath steps cfg;
      defaultText = literalExpression "config.services.vega-builder.${path}";
    };

  scope = if cfg.repository != null then cfg.repository else cfg.organization;

  # A slot of its own among 4095, by the name: it moves with nothing else.
  slot =
    name: lib.mod (fromTOML "it = 0x${lib.substring 0 7 (builtins.hashString "sha256" name)}").it 4095;

  instance = types.submodule (
    { name, ... }:
    {
      options = runner below;
      config.userNamespace = lib.mkDefault (4026531840 + 65536 * slot name);
    }
  );
in
{
  options.services.vega-builder =
    removeAttrs (runner top) [ "userNamespace" ]
    // {
      enable = lib.mkEnableOption "GitHub Actions runners for heavy Nix builds, in verified containers under hard caps";
      package = lib.mkPackageOption pkgs "vega-builder" { };
      instances = mkOption {
        type = types.attrsOf instance;
        default = { };
        example = literalExpression ''
          {
            vega-heavy = { repository = "octo-org/heavy"; caps = { memory = "24g"; cpus = 8; }; };
            vega-docs = { repository = "octo-org/docs"; caps = { memory = "4g"; cpus = 2; }; };
          }
        '';
        description = ''
          Several runners, by their names at GitHub. What one of them does not say, it takes from the options of the
          same name above; `repository` or `organization` at the top declares one runner more, `vega-NAME`.
        '';
      };
      seccompProfile = mkOption {
        type = types.path;
        description = ''
          The containers' default seccomp profile, from which the runner's is made (two calls more, which Nix's build
          sandbox needs).
        '';
        default = pkgs.runCommand "seccomp.json" { } ''
          profile=$(find ${pkgs.podman.src}/vendor -path '*/common/pkg/seccomp/seccomp.json' -print -quit)
          test -n "$profile"
          cp "$profile" $out
        '';
        defaultText = literalExpression "the one in podman's source";
      };
    };

  config.services.vega-builder.instances = lib.mkIf (scope != null) {
    "vega-${lib.last (lib.splitString "/" scope)}" = {
      inherit (cfg) repository organization runnerGroup;
    };
  };
}
