# The least that a configuration says.
{
  services.vega-builder = {
    enable = true;
    repository = "octo-org/heavy-builds";
    caps = {
      memory = "12g";
      cpus = 4;
    };
  };
}
