# Everything that contradicts itself, at once.
{
  services.vega-builder = {
    enable = true;
    caps = {
      memory = "1g";
      cpus = 1;
    };
    instances = {
      a-b = {
        repository = "octo-org/one";
        credential.tokenFile = builtins.storeDir + "/0123456789abcdef0123456789abcdef-token";
        credential.githubApp.id = "Iv23li0123456789abcd";
        cache.url = "https://cache.example.com";
        cache.keyFile = builtins.storeDir + "/0123456789abcdef0123456789abcdef-cache-key";
        trust.key = "/etc/cosign.pub";
        trust.identity = "x";
        userNamespace = 1000000;
      };
      a_b = {
        runnerGroup = "heavy";
        credential.githubApp.privateKeyFile = builtins.storeDir + "/0123456789abcdef0123456789abcdef-key";
        cache.to = "https://me:secret@cache.example.com";
        nix.store = "warm";
        nix.trustedPublicKeys = [ "no-key:AAAA" ];
        cache.loginFile = builtins.storeDir + "/0123456789abcdef0123456789abcdef-cache-login";
        caps.memory = "100m";
        caps.disk = "1g";
        caps.minFree = "100m";
        userNamespace = 1000001;
      };
      "c/d" = {
        repository = "octo-org/three";
        organization = "octo-org";
        ephemeral = true;
        update.at = "daily";
        trust.issuer = "https://issuer.example.com";
        image = "example.com/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        nix.substituters = [ "https://cache.example.com" ];
        githubUrl = "http://github.example.com";
      };
    };
  };
  virtualisation.oci-containers.backend = "docker";
}
