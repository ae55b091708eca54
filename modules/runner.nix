# What an instance's values are in the units of others: bytes, seconds, the names of things.
{ lib }:

let
  units = {
    k = 1024;
    m = 1048576;
    g = 1073741824;
    t = 1099511627776;
    s = 1;
    h = 3600;
    d = 86400;
  };
  fileOr = file: other: if file != null then toString file else other;
  parsed = text: builtins.match "([0-9]+)([a-zA-Z]?)" text;
in
rec {
  # The runners that take one job after the other in one container.
  staying = lib.filterAttrs (_: instance: instance.ephemeral == 0);

  # "12g" → bytes.
  bytes =
    text:
    let
      parts = parsed text;
      unit = lib.toLower (lib.elemAt parts 1);
    in
    lib.toInt (lib.head parts) * (if unit == "" then 1 else units.${unit});

  # "10m" → seconds.
  seconds =
    text:
    let
      parts = parsed text;
      unit = lib.elemAt parts 1;
    in
    lib.toInt (lib.head parts) * (if unit == "m" then 60 else units.${unit});

  # 1.5 → "1.5", 4 → "4".
  number = value: lib.head (builtins.match "([0-9]+(\\.[0-9]*[1-9])?)(\\.?0*)" (toString value));
  # Processors in thousandths of one.
  millis = value: builtins.floor (value * 1000 + 0.5);

  # A hyphen in a slice's name is a level of the tree, and one above would be ended with the machine's first breath of it.
  slice = name: "vegabuilder_${lib.replaceStrings [ "-" ] [ "_" ] name}";
  service = name: "vega-builder-${name}";
  pusher = name: "vega-builder-${name}.pusher";
  updates = name: "vega-builder-${name}.update";
  handover = name: "/run/vega-builder/${name}";
  localImage = name: "localhost/vega-builder:${name}";

  # More caches than the image's own, and their keys: the runner's own namespace is one of them.
  substituters = instance: instance.nix.substituters ++ lib.optional (instance.cache.url != null) instance.cache.url;
  publicKeys =
    instance:
    instance.nix.trustedPublicKeys ++ lib.optional (instance.cache.publicKey != null) instance.cache.publicKey;

  isVega = instance: instance.cache.to != null && (instance.cache.to == "vega" || lib.hasPrefix "vega+" instance.cache.to);
  # What signs what is pushed; at Vega only where it was built.
  cacheKey =
    instance: fileOr instance.cache.keyFile (if isVega instance then "/var/lib/vega-builder/.host-key" else null);
  # What the cache is logged in with.
  cacheLogin =
    instance: fileOr instance.cache.loginFile (if isVega instance then "/root/.config/vega/credential" else null);
  # The folder of this host that the cache is.
  cacheFolder =
    instance:
    if instance.cache.to == null then
      null
    else if lib.hasPrefix "/" instance.cache.to then
      instance.cache.to
    else if lib.hasPrefix "file:///" instance.cache.to then
      lib.removePrefix "file://" instance.cache.to
    else
      null;

  # What mints registration tokens: its name for systemd, and its file.
  credential =
    instance:
    let
      inherit (instance.credential) tokenFile githubApp;
    in
    if githubApp.privateKeyFile != null then
      "github-app-key:${toString githubApp.privateKeyFile}"
    else if tokenFile != null then
      "github-token:${toString tokenFile}"
    else
      null;

  # The image's name with its digest in the place of its tag.
  image =
    instance:
    if instance.digest == null then
      instance.image
    else
      let
        path = lib.splitString "/" instance.image;
        last = lib.head (lib.splitString ":" (lib.last path));
      in
      "${lib.concatStringsSep "/" (lib.init path ++ [ last ])}@${instance.digest}";
}
