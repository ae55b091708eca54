# Several runners, which take what they do not say from the top.
{
  services.vega-builder = {
    enable = true;
    repository = "octo-org/first";
    labels = [ "self-hosted" ];
    patience = "1h";
    credential.tokenFile = "/run/keys/github-token";
    cache.to = "vega";
    caps = {
      memory = "4g";
      cpus = 2;
    };
    instances.second = {
      repository = "octo-org/second";
      caps.memory = "8g";
      update.at = "Sun 03:00";
      update.within = "90m";
    };
  };
}
