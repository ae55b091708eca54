# Every option of a runner that stays, none at its default.
{
  services.vega-builder = {
    enable = true;
    instances.heavy = {
      repository = "octo-org/heavy.builds_2";
      labels = [
        "self-hosted"
        "big"
      ];
      image = "registry.example.com:5000/octo/image:v1";
      digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
      imageFile = "/var/lib/images/runner";
      trust = {
        identity = "https://github.com/octo/image/.github/workflows/publish.yml@refs/tags/.*";
        issuer = "https://token.actions.githubusercontent.com";
        policy = "/etc/trust.toml";
        trustedRoot = "/etc/trusted_root.json";
      };
      caps = {
        memory = "1500m";
        cpus = 1.5;
        pids = 512;
        disk = "50g";
        minFree = "5g";
      };
      credential.githubApp = {
        id = "Iv23li0123456789abcd";
        privateKeyFile = "/run/keys/github-app.pem";
      };
      cache = {
        url = "https://cache.example.com/tenant/octo-org";
        publicKey = "own:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCA=";
        to = "s3://bucket/heavy?region=eu-central-1";
        keyFile = "/run/keys/cache-key";
        loginFile = "/run/keys/cache-login";
        upstreams = [
          "https://one.example.com"
          "https://cache.nixos.org"
        ];
        compression = "xz";
        allowSecrets = [ "private-key:test/.*" ];
        wait = "job";
      };
      patience = "2h";
      network = "builders";
      githubUrl = "https://github.example.com";
      nix = {
        maxJobs = 8;
        cores = 2;
        sandbox = "auto";
        substituters = [
          "https://one.example.com"
          "https://two.example.com"
        ];
        trustedPublicKeys = [
          "one:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
          "two:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
        ];
      };
      userNamespace = 1000000;
    };
  };
  security.apparmor.enable = true;
}
