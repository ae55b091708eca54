# An organisation's runner, in a group of its own.
{
  services.vega-builder = {
    enable = true;
    organization = "octo-org";
    runnerGroup = "heavy builds";
    caps = {
      memory = "4g";
      cpus = 2;
    };
  };
}
