# Not enabled: nothing comes of it, whatever is set.
{
  services.vega-builder = {
    repository = "octo-org/heavy-builds";
    caps = {
      memory = "12g";
      cpus = 4;
    };
  };
}
