# What contradicts itself is told before anything is built, by the option's name.
{ config, lib, ... }:

let
  cfg = config.services.vega-builder;
  of = import ./runner.nix { inherit lib; };
  inherit (cfg) instances;
  names = lib.attrNames instances;
  option = name: path: "services.vega-builder.instances.${name}.${path}";

  # Names that share what must be one's own.
  sharing = value: lib.filter (group: lib.length group > 1) (lib.attrValues (lib.groupBy value names));
  overlaps =
    name:
    lib.findFirst (
      other:
      other != name
      && lib.max instances.${name}.userNamespace instances.${other}.userNamespace
        - lib.min instances.${name}.userNamespace instances.${other}.userNamespace
        < 65536
    ) null names;
  inStore = path: path != null && lib.hasPrefix builtins.storeDir (toString path);

  ofInstance =
    name: instance:
    let
      inherit (instance) trust caps cache;
      of' = option name;
      other = overlaps name;
    in
    [
      {
        assertion =
          builtins.match "[A-Za-z0-9][A-Za-z0-9._-]{0,63}" name != null
          && !(lib.any (end: lib.hasSuffix end name) [
            ".next"
            ".before"
            ".seed"
            ".preflight"
            ".pusher"
            ".update"
          ]);
        message = "services.vega-builder.instances: \"${name}\" is no name: a runner's name has letters, digits, hyphens, underscores and dots only, at most 64 of them, and no .next, .before, .seed, .preflight, .pusher or .update at its end.";
      }
      {
        assertion = instance.repository != null || instance.organization != null;
        message = "${of' "repository"} is missing, and so is ${of' "organization"}: whose jobs run here?";
      }
      {
        assertion = !(instance.repository != null && instance.organization != null);
        message = "${of' "repository"} and ${of' "organization"} contradict each other: give one of them.";
      }
      {
        assertion = instance.runnerGroup != null -> instance.organization != null;
        message = "${of' "runnerGroup"} is nothing without ${of' "organization"}: a repository has no groups of runners.";
      }
      {
        assertion = !(inStore instance.credential.tokenFile);
        message = "${of' "credential.tokenFile"} is in the Nix store, where everybody can read it: give the path of a file outside, as a string.";
      }
      {
        assertion = !(inStore instance.credential.githubApp.privateKeyFile);
        message = "${of' "credential.githubApp.privateKeyFile"} is in the Nix store, where everybody can read it: give the path of a file outside, as a string.";
      }
      {
        assertion = (instance.credential.githubApp.id != null) == (instance.credential.githubApp.privateKeyFile != null);
        message = "${of' "credential.githubApp.id"} and ${of' "credential.githubApp.privateKeyFile"} are nothing without each other.";
      }
      {
        assertion = instance.credential.tokenFile != null -> instance.credential.githubApp.id == null;
        message = "${of' "credential.tokenFile"} and ${of' "credential.githubApp"} contradict each other: give one of them.";
      }
      {
        assertion = (cache.url != null) == (cache.publicKey != null);
        message = "${of' "cache.url"} and ${of' "cache.publicKey"} are nothing without each other.";
      }
      {
        assertion = !(inStore cache.keyFile);
        message = "${of' "cache.keyFile"} is in the Nix store, where everybody can read it: give the path of a file outside, as a string.";
      }
      {
        assertion = !(inStore cache.loginFile);
        message = "${of' "cache.loginFile"} is in the Nix store, where everybody can read it: give the path of a file outside, as a string.";
      }
      {
        assertion = cache.to != null -> builtins.match "[a-z0-9+]+://[^/?#]*@.*" cache.to == null;
        message = "${of' "cache.to"} has a login in it, and the configuration is everybody's to read: give the address without, and the login in ${of' "cache.loginFile"}.";
      }
      {
        assertion = (cache.keyFile != null || cache.loginFile != null) -> cache.to != null;
        message = "${of' "cache.keyFile"} and ${of' "cache.loginFile"} are nothing without ${of' "cache.to"}.";
      }
      {
        assertion = lib.all (
          key: builtins.match "[^: ]+:[A-Za-z0-9+/]{43}=" key != null
        ) (of.publicKeys instance);
        message = "${of' "nix.trustedPublicKeys"} and ${of' "cache.publicKey"}: each is NAME:KEY, as who runs the cache tells it; with one that Nix cannot read it believes no cache at all.";
      }
      {
        assertion = instance.nix.store != "fresh" -> instance.ephemeral > 0;
        message = "${of' "nix.store"} is about the jobs of an ephemeral runner (${of' "ephemeral"}): one that stays keeps its store.";
      }
      {
        assertion = instance.ephemeral > 0 -> of.credential instance != null;
        message = "${of' "ephemeral"} needs ${of' "credential.tokenFile"} or ${of' "credential.githubApp"}: a runner is registered for every job.";
      }
      {
        assertion = instance.ephemeral > 0 -> lib.stringLength name <= 46;
        message = "services.vega-builder.instances: \"${name}\" is longer than the 46 letters that leave room for the names of its jobs (${of' "ephemeral"}).";
      }
      {
        assertion = !(lib.hasInfix ".job-" name);
        message = "services.vega-builder.instances: \"${name}\" looks like the name of a job's own runner (.job-).";
      }
      {
        assertion = !(trust.key != null && trust.identity != null);
        message = "${of' "trust.key"} and ${of' "trust.identity"} contradict each other: an image is signed with a key or by a workflow.";
      }
      {
        assertion = trust.issuer != null -> trust.identity != null;
        message = "${of' "trust.issuer"} is nobody's without ${of' "trust.identity"}.";
      }
      {
        assertion = of.bytes caps.memory >= 256 * 1048576;
        message = "${of' "caps.memory"}: a runner needs 256m.";
      }
      {
        assertion = caps.disk != null -> of.bytes caps.disk >= 2147483648;
        message = "${of' "caps.disk"}: a store needs 2g.";
      }
      {
        assertion = caps.minFree != null -> of.bytes caps.minFree >= 268435456;
        message = "${of' "caps.minFree"}: a host needs 256m.";
      }
      {
        assertion = instance.digest != null -> !(lib.hasInfix "@" instance.image);
        message = "${of' "digest"} and a digest in ${of' "image"} contradict each other: give one of them.";
      }
      {
        assertion = instance.update.at != null -> instance.digest == null && !(lib.hasInfix "@" instance.image);
        message = "${of' "update.at"} and a pinned digest contradict each other: a digest never moves; give ${of' "image"} a tag.";
      }
      {
        assertion =
          lib.length instance.nix.trustedPublicKeys >= lib.length instance.nix.substituters;
        message = "${of' "nix.substituters"} has more caches than ${of' "nix.trustedPublicKeys"} has keys: nothing of theirs would be believed.";
      }
      {
        assertion = lib.hasPrefix "https://" instance.githubUrl || builtins.match "http://(localhost|127\\.0\\.0\\.1|\\[::1])(:[0-9]+)?/?" instance.githubUrl != null;
        message = "${of' "githubUrl"}: a token is sent over https only.";
      }
      {
        assertion = other == null;
        message = "${of' "userNamespace"} overlaps that of ${toString other}: give one of them another range.";
      }
    ];
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = instances != { };
        message = "services.vega-builder.enable needs services.vega-builder.repository, services.vega-builder.organization, or an instance in services.vega-builder.instances.";
      }
      {
        assertion = config.virtualisation.oci-containers.backend == "podman";
        message = "services.vega-builder needs virtualisation.oci-containers.backend = \"podman\": docker has no user namespace per container, and no unit that is up when the runner listens.";
      }
    ]
    ++ map (group: {
      assertion = false;
      message = "services.vega-builder.instances: ${lib.concatStringsSep " and " group} would share the slice ${of.slice (lib.head group)}: choose names that differ in more than hyphens and underscores.";
    }) (sharing of.slice)
    ++ lib.concatLists (lib.mapAttrsToList ofInstance instances);
  };
}
