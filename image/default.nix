# The runner image by dockerTools, to the layout of LAYOUT.md: one closure under /nix/store, its registration as data, the
# static program as a real file outside of it, and users. Prints as a stream; two builds give one digest.
{
  lib,
  dockerTools,
  buildEnv,
  closureInfo,
  runCommand,
  linkFarm,
  vega-builder-static,
  github-runner,
  bashInteractive,
  cacert,
  coreutils,
  curl,
  findutils,
  gawk,
  git,
  gnugrep,
  gnused,
  gnutar,
  gzip,
  jq,
  nix,
  util-linux,
  xz,
}:

let
  # What a workflow's `run:` steps take for granted, and Nix with its daemon.
  programs = buildEnv {
    name = "vega-builder-programs";
    paths = [
      bashInteractive
      coreutils
      curl
      findutils
      gawk
      git
      gnugrep
      gnused
      gnutar
      gzip
      jq
      nix
      util-linux
      xz
    ];
    pathsToLink = [
      "/bin"
      "/libexec"
    ];
    ignoreCollisions = true;
  };

  # Its closure is everything in /nix/store; PID 1 holds it with a GC root.
  root = linkFarm "vega-builder-root" {
    runner = github-runner;
    inherit programs;
    certificates = cacert;
  };
  registration = "${closureInfo { rootPaths = [ root ]; }}/registration";

  certificates = "${cacert}/etc/ssl/certs/ca-bundle.crt";
  builders = lib.range 1 8;
  passwd = [
    "root:x:0:0:root:/root:/bin/bash"
    "runner:x:1001:1001:GitHub Actions runner:/home/runner:/bin/bash"
    "nobody:x:65534:65534:nobody:/var/empty:/bin/false"
  ]
  ++ map (n: "nixbld${toString n}:x:${toString (30000 + n)}:30000:Nix build user ${toString n}:/var/empty:/bin/false") builders;
  group = [
    "root:x:0:"
    "runner:x:1001:"
    "nogroup:x:65534:"
    "nixbld:x:30000:${lib.concatMapStringsSep "," (n: "nixbld${toString n}") builders}"
  ];
  lines = lib.concatMapStrings (line: "${line}\n");

  # Files that must be there without /nix, which is a volume: the program, and what links into the closure.
  # The registration is written without the references that a scan of it would find a second time.
  files = runCommand "vega-builder-files" { } ''
    mkdir -p $out/{bin,etc/vega-builder,etc/ssl/certs,etc/nix,usr/bin,usr/share/vega-builder}
    cp ${vega-builder-static}/bin/vega-builder $out/bin/vega-builder
    cp ${./demo/files/job-started.sh} $out/etc/vega-builder/job-started.sh
    cp ${./demo/files/job-completed.sh} $out/etc/vega-builder/job-completed.sh
    chmod 0755 $out/etc/vega-builder/*.sh
    cp ${registration} $out/usr/share/vega-builder/closure-registration
    ln -s ${programs}/bin/bash $out/bin/bash
    ln -s ${programs}/bin/bash $out/bin/sh
    ln -s ${programs}/bin/env $out/usr/bin/env
    ln -s ${certificates} $out/etc/ssl/certs/ca-certificates.crt
    printf %s ${lib.escapeShellArg (lines passwd)} >$out/etc/passwd
    printf %s ${lib.escapeShellArg (lines group)} >$out/etc/group
    echo 'hosts: files dns' >$out/etc/nsswitch.conf
  '';
in
dockerTools.streamLayeredImage {
  name = "vega-builder";
  tag = vega-builder-static.version;
  # Below the limit of every engine's file system drivers.
  maxLayers = 60;
  # The tool writes a creation date always: the epoch says as little as none.
  created = "1970-01-01T00:00:01Z";

  fakeRootCommands = ''
    cp -R --no-preserve=ownership ${files}/. .
    chmod -R u+w .
    mkdir -p home/runner/actions-runner root tmp var/tmp var/empty run/vega-builder nix/store
    chmod 1777 tmp var/tmp
    chmod 0700 root
    chown -R 1001:1001 home/runner
    # Where Actions Runner Controller starts a runner; gone once PID 1 has begun.
    install -m 0755 -o root -g root ${./demo/files/run.sh} home/runner/run.sh
  '';

  config = {
    Entrypoint = [
      "/bin/vega-builder"
      "entrypoint"
    ];
    WorkingDir = "/home/runner";
    Env = lib.mapAttrsToList (name: value: "${name}=${value}") {
      PATH = "${programs}/bin:/bin:/usr/bin";
      HOME = "/home/runner";
      USER = "runner";
      SSL_CERT_FILE = certificates;
      NIX_SSL_CERT_FILE = certificates;
      VEGA_BUILDER_ROOT = root;
      VEGA_BUILDER_VERSION = vega-builder-static.version;
      VEGA_NIX_REGINFO = "/usr/share/vega-builder/closure-registration";
      RUNNER_DIST = github-runner;
      RUNNER_ROOT = "/home/runner/actions-runner";
    };
    Volumes = {
      "/nix" = { };
      "/home/runner/actions-runner" = { };
    };
    Labels = {
      "dev.vega.builder.layout" = "1";
      "org.opencontainers.image.version" = vega-builder-static.version;
      "org.opencontainers.image.source" = "https://github.com/Ad-Astra-Computing/vega-builder";
    };
  };

  passthru = {
    inherit root;
    runnerVersion = github-runner.version;
  };
}
