//! A host with Nix and GitHub's own runner, and no container of ours: played by a container that has all of that, and no
//! systemd.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use anyhow::Context as _;
use simulator::github::Outcome;

use crate::{
    by_hand::{mint, push},
    scene::{IMAGE, Scene},
};

/// What a host has, and then what its unit starts.
///
/// Nix knows its store, everybody's home has something in it, and the host's own settings say what no runner's may.
const HOST: &str = r#"
set -e
nix-store --load-db </usr/share/vega-builder/closure-registration
grep -q "^$USER_NAME:" /etc/passwd || echo "$USER_NAME:x:998:997:GitHub Actions jobs (vega-builder):/var/lib/vega-builder/$NAME/host/home:/usr/sbin/nologin" >>/etc/passwd
grep -q "^$USER_NAME:" /etc/group || echo "$USER_NAME:x:997:" >>/etc/group
mkdir -p /opt/actions-runner/externals/node24 /etc/nix /etc/vega-builder/runners /root /home/alice \
  "/run/vega-builder/$NAME" /run/vega-builder/vega-other "/var/lib/vega-builder/$NAME" /var/lib/vega-builder/vega-other \
  /nix/var/nix/daemon-socket
cp -R "$RUNNER_DIST/bin" /opt/actions-runner/
for place in /root /home/alice /run/vega-builder/vega-other /var/lib/vega-builder/vega-other /etc/vega-builder; do
  echo "the host's own" >"$place/secret"
  chmod 0644 "$place/secret"
done
chmod 0755 /root /run/vega-builder/vega-other
chmod 0700 "/run/vega-builder/$NAME"
touch /nix/var/nix/daemon-socket/the-hosts-own
chown -R root:root /opt/actions-runner
printf '%s\n' 'http-connections = 7' 'sandbox = false' "trusted-users = root $USER_NAME" 'post-build-hook = /bin/false' \
  'substituters =' >/etc/nix/nix.conf
echo '{"flakes":[],"version":2}' >/etc/nix/registry.json
printf '%s' "$DECLARATION" >"/etc/vega-builder/runners/$NAME.toml"
# Not as this process: what is looked at from outside is to be the host, and not the runner's world in it.
/bin/vega-builder host-runner "$NAME" &
trap 'kill -INT $!' TERM INT
while kill -0 $! 2>/dev/null; do wait $! || true; done
"#;

/// Play the host, with the runner of this scene, which gets a token; until it is online. What it tells its systemd, who is
/// played here, can be read.
pub fn start(scene: &Scene, more: &str) -> anyhow::Result<UnixDatagram> {
    let folder = scene.folder.path().join("systemd");
    fs::create_dir_all(&folder)?;
    let systemd = UnixDatagram::bind(folder.join("notify"))?;
    systemd.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (name, declaration) = (&scene.name, declaration(scene, more));
    let variables =
        [format!("NAME={name}"), format!("USER_NAME={name}"), format!("DECLARATION={declaration}")];
    let mut arguments = vec![
        "run",
        "--detach",
        "--privileged",
        "--network=host",
        "--tls-verify=false",
        "--entrypoint=sh",
        "--workdir=/",
    ];
    // As its slice would.
    arguments.extend(["--memory=1g", "--memory-swap=1g", "--cpus=1", "--pids-limit=512"]);
    let heard = format!("--volume={}:/run/systemd", folder.display());
    arguments.extend([heard.as_str(), "--env=NOTIFY_SOCKET=/run/systemd/notify"]);
    let named = format!("--name={name}");
    arguments.push(&named);
    // Records of a host are not what lasts here.
    arguments.push("--tmpfs=/run:mode=755");
    let variables: Vec<String> = variables.iter().map(|variable| format!("--env={variable}")).collect();
    arguments.extend(variables.iter().map(String::as_str));
    let image = format!("{}/{IMAGE}@{}", scene.registry.address, scene.digest);
    arguments.extend([image.as_str(), "-c", HOST]);
    scene.engine.said(&arguments)?;
    hand_over(scene)?;
    scene.until_online(true)?;
    Ok(systemd)
}

/// Whether the unit would be up: its supervisor has said so.
pub fn is_up(systemd: &UnixDatagram) -> anyhow::Result<()> {
    let mut told = [0; 4096];
    loop {
        let length = systemd.recv(&mut told).context("systemd is not told that it listens")?;
        if String::from_utf8_lossy(&told[..length]).lines().any(|line| line == "READY=1") {
            return Ok(());
        }
    }
}

/// Lay a registration token where the host would.
pub fn hand_over(scene: &Scene) -> anyhow::Result<()> {
    let (token, folder) = (mint(scene), format!("/run/vega-builder/{}", scene.name));
    let lay = format!(
        "umask 0377; until test -d {folder}; do sleep 0.1; done; \
         echo {token} >{folder}/.token; mv {folder}/.token {folder}/registration-token"
    );
    scene
        .engine
        .said(&["exec", &scene.name, "sh", "-c", &lay])
        .map(drop)
        .with_context(|| scene.engine.logs(&scene.name))
}

fn declaration(scene: &Scene, more: &str) -> String {
    format!(
        "repository = \"{}\"\nhost = \"/opt/actions-runner\"\n{more}\n[caps]\nmemory = \"1g\"\ncpus = 1\npids = 512\nmin-free = \"256m\"\n\
         [github]\nurl = \"{}\"\n",
        scene.repository,
        scene.github.url()
    )
}

/// What the host itself sees.
pub fn said(scene: &Scene, script: &str) -> anyhow::Result<String> {
    scene.engine.said(&["exec", &scene.name, "sh", "-c", script])
}

/// Run a push's job to its end, whatever that is.
pub fn outcome(scene: &Scene, script: &str) -> anyhow::Result<Outcome> {
    let job = scene.github.enqueue(push(scene, script));
    scene.github.wait(job, Duration::from_secs(120)).with_context(|| scene.engine.logs(&scene.name))
}
