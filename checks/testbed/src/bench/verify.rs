//! `verify`, against the real cosign: time and memory on the same image in the same registry, and the public
//! conformance cases that each judges wrong.

use std::{
    env, fs,
    process::{Command, Output},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use simulator::sigstore::Identity;

use super::figure::{Figure, Pair};
use crate::{
    conformance::Case,
    cosign::{self, Cosign},
    layout::tiny_image,
    scene::{Scene, program, succeeded},
};

const ROUNDS: usize = 21;
const BOUND: f64 = 0.25;

/// Wall time and peak memory of one judgement, both sides warm.
pub fn verify(against: &str) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let scene = Scene::unsigned("bench-verify", &tiny_image(folder.path(), "bench")?, "podman")?;
    scene.sign(&Identity::vega())?;
    let pinned = scene.pinned();
    let ours = ["verify", pinned.as_str()];
    let theirs = Cosign::Three.verify_arguments(&scene, &pinned);
    let cosign = Cosign::Three.program()?;
    let our_command = || scene.command(&ours);
    let their_command = || {
        let mut command = Command::new(&cosign);
        command.args(&theirs).envs(cosign::environment(&scene));
        command
    };
    // Once before it counts.
    timed(our_command())?;
    timed(their_command())?;
    let time = Pair::rounds(ROUNDS, |_| timed(our_command()), |_| timed(their_command()))?;
    let memory = Pair::rounds(5, |_| peak(&our_command()), |_| peak(&their_command()))?;
    Ok(vec![
        time.figure("verify, warm", against, BOUND),
        Figure { unit: "MB", ..memory.figure("verify, peak memory", against, BOUND) },
    ])
}

fn timed(mut command: Command) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let output = command.output()?;
    let seconds = begin.elapsed().as_secs_f64();
    succeeded(&output)?;
    Ok(seconds)
}

/// Peak memory in megabytes of a command, run as the only child of this very program: so that the kernel's figure for
/// children is its own.
pub fn peak(command: &Command) -> anyhow::Result<f64> {
    let mut wrapped = Command::new(env::current_exe()?);
    wrapped.arg("peak-memory").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            wrapped.env(name, value);
        }
    }
    let said = succeeded(&wrapped.output()?)?;
    let kib: f64 = said.lines().last().context("no figure")?.trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// The other side of [`peak`]: run the command and print the most memory that it had, in KiB.
pub fn peak_memory(arguments: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = arguments.split_first().context("no command")?;
    let output = Command::new(program).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

/// The public conformance cases that ours and cosign judge wrong; nothing where the cases are not at hand.
pub fn conformance(against: &str) -> anyhow::Result<Option<Figure>> {
    let Some(cases) = Case::all()? else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let public = folder.path().join("trusted_root.json");
    fs::write(&public, SIGSTORE_PRODUCTION_TRUSTED_ROOT)?;
    let cosign = Cosign::Three.program()?;
    let (mut ours, mut theirs) = (0.0, 0.0);
    println!("{:<66} {:>8} {:>8}", "conformance case", "ours", "cosign");
    for case in &cases {
        let artifact = case.artifact.display().to_string();
        let accepted = Command::new(program()).args(case.arguments(&artifact)).output()?.status.success();
        let root = case.trusted_root.as_ref().unwrap_or(&public).display().to_string();
        let judged = cosign_s(&cosign, case, &root, folder.path())?;
        for (wrong, count) in [(accepted == case.is_bad(), &mut ours), (judged == case.is_bad(), &mut theirs)]
        {
            *count += f64::from(u8::from(wrong));
        }
        let word = |accepted: bool| if accepted == case.is_bad() { "WRONG" } else { "right" };
        println!("{:<66} {:>8} {:>8}", case.name, word(accepted), word(judged));
    }
    println!(
        "the crate sigstore 0.15, as it was measured when ours was chosen: 18 of the 68 keyless cases wrong, four of \
         them forgeries that it accepts"
    );
    Ok(Some(Figure {
        name: "conformance cases judged wrong, of 70",
        ours,
        theirs,
        against: against.to_owned(),
        unit: "  ",
        bound: 0.0,
    }))
}

/// cosign's judgement; which command it takes depends on what the bundle holds.
fn cosign_s(
    cosign: &std::path::Path,
    case: &Case,
    root: &str,
    home: &std::path::Path,
) -> anyhow::Result<bool> {
    let bundle = fs::read_to_string(case.bundle())?;
    let is_statement = bundle.contains("\"dsseEnvelope\"");
    let mut command = Command::new(cosign);
    command.env("HOME", home).arg(if is_statement { "verify-blob-attestation" } else { "verify-blob" });
    if is_statement {
        // Whatever the statement says; only the artifact must be in it.
        command.args(["--type", statement_type(&bundle).as_deref().unwrap_or("custom")]);
    }
    command.arg("--bundle").arg(case.bundle()).args(["--new-bundle-format", "--trusted-root", root]);
    match &case.key {
        Some(key) => command.arg("--key").arg(key),
        None => command
            .args(["--certificate-identity", &case.certificate.0])
            .args(["--certificate-oidc-issuer", &case.certificate.1]),
    };
    // Rekor v2's entries have no time of their own: what vouches for it is a timestamp.
    if bundle.contains("rfc3161Timestamps") {
        command.arg("--use-signed-timestamps");
    }
    let output: Output = command.arg(&case.artifact).output()?;
    Ok(output.status.success())
}

/// The type of a statement's predicate.
fn statement_type(bundle: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bundle: serde_json::Value = serde_json::from_str(bundle).ok()?;
    let payload = STANDARD.decode(bundle.pointer("/dsseEnvelope/payload")?.as_str()?).ok()?;
    let statement: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(statement["predicateType"].as_str()?.to_owned())
}
