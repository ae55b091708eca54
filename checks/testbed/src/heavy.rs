//! A heavy Nix build without nixpkgs: hundreds of small compilations and one link of tens of megabytes, with this host's
//! own C compiler, whose program files become a store path.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// How many files are compiled, and how many functions each has.
const UNITS: usize = 200;
const FUNCTIONS: usize = 12;
/// Bytes of data in each file, which cost the compiler nothing and the linker all the more.
const DATA: usize = 256 << 10;

/// Write the sources, the compiler and `default.nix` into `folder`; build it with
/// `nix-build default.nix --argstr salt ANYTHING_NEW`.
pub fn write(folder: &Path) -> anyhow::Result<()> {
    toolchain(&folder.join("toolchain"))?;
    sources(&folder.join("sources"))?;
    fs::write(folder.join("default.nix"), EXPRESSION)?;
    Ok(())
}

const EXPRESSION: &str = r#"{ salt, system ? builtins.currentSystem }:
let
  toolchain = builtins.path { path = ./toolchain; name = "toolchain"; };
  sources = builtins.path { path = ./sources; name = "sources"; };
in
derivation {
  name = "heavy-${salt}";
  inherit system toolchain sources;
  builder = "${toolchain}/bin/busybox";
  args = [ "sh" "${toolchain}/build.sh" ];
}
"#;

/// `run PROGRAM …` starts a program of the toolchain with its own libraries: no path of the host is needed.
const BUILD: &str = r#"set -eu
PATH=$toolchain/bin
busybox mkdir -p "$out" objects
cd objects
busybox ls "$sources" | busybox xargs -n 4 -P "${NIX_BUILD_CORES:-1}" busybox sh "$toolchain/compile.sh"
"$toolchain/lib/loader" --library-path "$toolchain/lib" "$toolchain/bin/ld" -o "$out/program" *.o
"#;

const COMPILE: &str = r#"set -eu
run() { program=$1; shift; "$toolchain/lib/loader" --library-path "$toolchain/lib" "$toolchain/bin/$program" "$@"; }
for file in "$@"; do
  run cc1 -quiet -O2 -isystem "$toolchain/include" "$sources/$file" -o "$file.s"
  run as "$file.s" -o "$file.o"
done
"#;

fn toolchain(folder: &Path) -> anyhow::Result<()> {
    let (bin, lib) = (folder.join("bin"), folder.join("lib"));
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(&lib)?;
    for name in ["cc1", "as", "ld"] {
        let found = said("gcc", &[&format!("-print-prog-name={name}")])?;
        let program = if Path::new(&found).is_absolute() { found } else { said("which", &[&found])? };
        let program = fs::canonicalize(&program).with_context(|| program.clone())?;
        fs::copy(&program, bin.join(name))?;
        for library in libraries(&program)? {
            let name = library.file_name().context("a library without a name")?;
            let is_loader = name.to_string_lossy().starts_with("ld-linux");
            let target = if is_loader { lib.join("loader") } else { lib.join(name) };
            fs::copy(fs::canonicalize(&library)?, &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
        }
    }
    fs::copy("/bin/busybox", bin.join("busybox")).context("/bin/busybox: type `make setup`")?;
    // cc1 reads it before every file, and complains without a folder to look for it.
    fs::create_dir_all(folder.join("include"))?;
    fs::write(folder.join("include/stdc-predef.h"), "")?;
    fs::write(folder.join("build.sh"), BUILD)?;
    fs::write(folder.join("compile.sh"), COMPILE)?;
    Ok(())
}

/// What the dynamic linker would load for `program`, the linker itself included.
fn libraries(program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let listing = said("ldd", &[&program.to_string_lossy()])?;
    Ok(listing.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    ensure!(output.status.success(), "{program} {arguments:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn sources(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut table = String::new();
    let mut declarations = String::new();
    for unit in 0..UNITS {
        let mut text = format!("const unsigned char d{unit}[{DATA}] = {{1, 2, 3}};\n");
        for function in 0..FUNCTIONS {
            let name = format!("u{unit}_f{function}");
            let (a, b, c) = (unit * FUNCTIONS + function + 1, function + 3, function + 7);
            write!(
                text,
                "static unsigned t{function}[256];\n\
                 unsigned {name}(unsigned n, unsigned *a) {{\n\
                 unsigned s = n * {a}u;\n\
                 for (unsigned i = 0; i < n; i++) {{\n\
                 for (unsigned j = 0; j < 16; j++) {{\n\
                 a[i + j] ^= s + t{function}[(i * {b}u + j) & 255];\n\
                 s = (s << 5) ^ (s >> 3) ^ a[(i * j) & 63];\n\
                 }}\n\
                 t{function}[i & 255] += s;\n\
                 if (s % {c}u == 1u) s += a[i & 31];\n\
                 }}\n\
                 return s;\n\
                 }}\n"
            )?;
            writeln!(declarations, "unsigned {name}(unsigned, unsigned *);")?;
            write!(table, "{name},")?;
        }
        fs::write(folder.join(format!("u{unit}.c")), text)?;
    }
    let main = format!(
        "{declarations}unsigned (*table[])(unsigned, unsigned *) = {{{table}}};\nvoid _start(void) {{ for (;;); }}\n"
    );
    fs::write(folder.join("main.c"), main)?;
    Ok(())
}
