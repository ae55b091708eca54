# The machine of every scenario: one runner (and a second one, where the scenario has two), declared; around it the
# simulated GitHub, the registry and the private Sigstore, which the scenario's program brings along.
{ module, name }:
{
  lib,
  pkgs,
  ...
}:

let
  # Those with the step "an ephemeral runner".
  isEphemeral =
    name:
    lib.elem name [
      "ephemeral"
      "keeper"
      "warm"
    ];
  runner = name: tag: {
    repository = "octo-org/${name}";
    image = "127.0.0.1:5000/ad-astra-computing/vega-builder:${tag}";
    trust.trustedRoot = "/root/world/trusted_root-0.json";
    githubUrl = "http://127.0.0.1:8090";
    network = "host";
    ephemeral = if isEphemeral name then 1 else 0;
    credential.tokenFile = lib.mkIf (isEphemeral name) "/root/world/github-token";
    # As the step "a window for updates" has it elsewhere.
    update.at = lib.mkIf (name == "update") "*:*:0/20";
    # As the step "a cache for its builds" makes it ready elsewhere.
    cache = lib.mkIf (lib.elem name [ "drain" "power-cut" "reboot" ]) {
      to = "file:///srv/vega-cache/vega-${name}";
      keyFile = "/root/world/vega-${name}.cache-key";
      upstreams = [ "http://127.0.0.1:9" ];
    };
    # As the step "stores that begin warm" has it elsewhere.
    nix = lib.mkIf (name == "warm") {
      store = "warm";
      substituters = [ "http://127.0.0.1:8096" ];
      trustedPublicKeys = [ "warm-1:IIRgIKveyv1/jPLPHo8LArRe1dDVWnGSz6cPQrGXx3k=" ];
    };
    caps = {
      memory = "768m";
      cpus = 1.5;
      pids = 256;
    };
  };
  instances =
    kind:
    {
      "vega-${name}" = runner name "vega-${name}${kind}";
    }
    // lib.optionalAttrs (name == "several") {
      "vega-${name}-2" = runner "${name}-2" "vega-${name}-2";
    };
  other = kind: { services.vega-builder.instances = lib.mkForce (instances kind); };
in
{
  imports = [ module ];

  services.vega-builder = {
    enable = true;
    instances = instances "";
  };

  specialisation = {
    next.configuration = other "-next";
    unsigned.configuration = other "-unsigned";
    without.configuration.services.vega-builder.enable = lib.mkForce false;
  };

  environment.systemPackages = [
    pkgs.curl
    # By the name that it has on a Debian.
    (pkgs.writeShellScriptBin "docker-registry" ''exec ${lib.getExe' pkgs.docker-distribution "registry"} "$@"'')
    pkgs.skopeo
    pkgs.vega-builder-simulator
  ];
  virtualisation = {
    cores = 2;
    memorySize = 4096;
    diskSize = 8192;
  };
}
