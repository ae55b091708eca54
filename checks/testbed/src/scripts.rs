//! What jobs do.

/// A sandboxed build with a shell as its only input; its last line is the store path.
pub fn sandboxed_build(salt: &str) -> String {
    format!(
        r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
derivation {{
  name = "from-a-job-{salt}";
  system = builtins.currentSystem;
  builder = builtins.storePath "${{busybox%/bin/busybox}}" + "/bin/busybox";
  args = [ "sh" "-c" "if test -e /home/runner || test -e /bin/vega-builder; then echo bare; else echo sandboxed; fi > \$out" ];
}}
NIX
nix-build --no-out-link build.nix --option substitute false >result
echo "sandbox: $(cat "$(cat result)")"
echo "store path: $(cat result)"
"#
    )
}

/// Two builds, of which the second one's output names the first one's; its last two lines are their store paths, that of
/// the one on which the other depends first.
pub fn two_builds(salt: &str) -> String {
    format!(
        r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
let
  build = name: script: derivation {{
    inherit name;
    system = builtins.currentSystem;
    builder = builtins.storePath "${{busybox%/bin/busybox}}" + "/bin/busybox";
    args = [ "sh" "-c" script ];
  }};
  lower = build "lower-{salt}" "echo lower > \$out";
in
build "upper-{salt}" "echo \${{lower}} > \$out"
NIX
nix-build --no-out-link build.nix --option substitute false >result
echo "store path: $(cat "$(cat result)")"
echo "store path: $(cat result)"
"#
    )
}

/// One build with two outputs; its last two lines are their store paths.
pub fn two_outputs(salt: &str) -> String {
    format!(
        r#"busybox=$(ls -d /nix/store/*busybox*/bin/busybox | head -n 1)
cat >build.nix <<NIX
derivation {{
  name = "both-{salt}";
  outputs = [ "out" "dev" ];
  system = builtins.currentSystem;
  builder = builtins.storePath "${{busybox%/bin/busybox}}" + "/bin/busybox";
  args = [ "sh" "-c" "echo out > \$out; echo dev > \$dev" ];
}}
NIX
nix-build --no-out-link -A all build.nix --option substitute false >result
sed 's/^/store path: /' result
"#
    )
}

/// Print everything of a registration token's shape that a job can read: files, processes, memory.
pub const LOOK_FOR_TOKENS: &str = r"
shape='[A-Z0-9]{29}'
grep -rahoEs --exclude-dir=proc --exclude-dir=sys --exclude-dir=store --devices=skip $shape / | sort -u || true
cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -aoE $shape | sort -u || true
";
