# The machine of checks/vm/build, made where there is no network: every package of it is fetched first, by the hash that
# Debian's own list has for it, and mmdebstrap then finds them in a folder.
{
  lib,
  apt,
  dpkg,
  e2fsprogs,
  fetchurl,
  mmdebstrap,
  runCommand,
  util-linux,
  vmTools,
}:

let
  distro = vmTools.debDistros.debian13x86_64;
  listed = file: lib.filter (word: word != "") (lib.splitString "\n" (builtins.readFile file));
  closure = vmTools.debClosureGenerator {
    inherit (distro) urlPrefix;
    name = "vega-builder-debian-packages";
    packagesLists = distro.packagesLists or [ distro.packagesList ];
    packages = listed ../vm/essential ++ listed ../vm/packages;
  };
  debs = lib.flatten (import closure { inherit fetchurl; });
in
# mmdebstrap has to be root, which a builder of Nix's is in a virtual machine alone.
vmTools.runInLinuxVM (
  runCommand "vega-builder-debian-machine"
    {
      nativeBuildInputs = [
        apt
        dpkg
        e2fsprogs
        mmdebstrap
        util-linux
      ];
      inherit debs;
      memSize = 6144;
    }
    ''
      mkdir -p /tmp/debs
      for deb in $debs; do
        ln -s "$deb" /tmp/debs/
      done
      (cd /tmp/debs && dpkg-scanpackages --multiversion . /dev/null >Packages)
      # By this mmdebstrap knows which packages every Debian has.
      printf 'Suite: trixie\nCodename: trixie\n' >/tmp/debs/Release
      cp -R ${../vm} vm
      machine=$(VEGA_VM_CACHE=/machine VEGA_VM_DEBS=/tmp/debs bash vm/build)
      mkdir -p $out
      cp --sparse=always "$machine"/{disk,kernel,initrd} $out/
    ''
)
