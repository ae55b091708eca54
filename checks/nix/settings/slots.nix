# An ephemeral runner, whose every job has a container of its own, beside one that stays.
{
  services.vega-builder = {
    enable = true;
    instances.stays = {
      repository = "octo-org/stays";
      caps = {
        memory = "2g";
        cpus = 1;
        pids = 512;
      };
    };
    instances.slots = {
      repository = "octo-org/slots";
      ephemeral = 3;
      nix.store = "warm";
      patience = "2h";
      caps = {
        memory = "1500m";
        cpus = 1.5;
        pids = 512;
      };
      credential.tokenFile = "/etc/vega-builder/github-token";
      cache = {
        to = "s3://bucket/slots";
        keyFile = "/run/keys/cache-key";
      };
    };
  };
}
