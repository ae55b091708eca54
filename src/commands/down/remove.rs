//! What a runner was made of goes.

use super::{
    super::slots::{remove_jobs, waiting_uploads},
    Down,
};
use crate::{
    engine::{self, Cli},
    host::JobsUser,
    image::ImageReference,
    installation::{Locked, Places, Record},
    progress::Progress,
};

impl Down {
    pub(super) fn remove(
        &self,
        engine: &Cli,
        installation: &Locked,
        record: Option<&Record>,
        progress: &Progress,
    ) -> anyhow::Result<Vec<String>> {
        let name = &installation.name;
        let mut removed = Vec::new();
        // Ours by their label, or by the names that a crash left behind.
        for container in [name.to_string(), engine::pusher_name(name)] {
            if engine.inspect(&container)?.is_some_and(|found| !found.fingerprint.is_empty()) {
                engine.remove(&container)?;
                removed.push(format!("container {container}"));
            }
        }
        let beside = [
            engine::successor_name,
            engine::predecessor_name,
            engine::seeder_name,
            engine::preflight_name,
            engine::trial_name,
        ];
        for beside in beside {
            engine.remove(&beside(name))?;
        }
        let left = waiting_uploads(engine, name)?;
        removed.extend(remove_jobs(engine, name)?);
        removed.extend((left > 0).then(|| format!("{left} builds that were not pushed")));
        let volumes = [
            (engine::runner_volume(name), true),
            (engine::store_volume(name), !self.keep_store),
            (engine::queue_volume(name), !self.keep_store),
        ];
        for (volume, goes) in volumes {
            if goes && engine.has_volume(&volume)? {
                engine.remove_volume(&volume)?;
                removed.push(format!("volume {volume}"));
            }
        }
        // By which its unit knew it; an image goes with its last name.
        let _ = engine.remove_image_patiently(&engine::local_name(name));
        let before = installation.updates().unwrap_or_default().previous.map(|previous| previous.record);
        let images = record.into_iter().chain(&before).filter(|_| !self.keep_image);
        for record in images.filter(|record| !Places::standard().others_need(name, &record.digest)) {
            let image = format!("{}@{}", record.image.parse::<ImageReference>()?.name(), record.digest);
            let short = record.digest.short();
            match engine.remove_image_patiently(&image) {
                Ok(true) => removed.push(format!("image {short}")),
                Ok(false) => {}
                // What is somebody else's goes on with it.
                Err(why) => progress.note(&format!("the image {short} stays: {why}")),
            }
        }
        removed.push(installation.state.display().to_string());
        Ok(removed)
    }
}

/// The jobs' user and their folders; the store is the host's.
pub fn remove_from_host(installation: &Locked) -> anyhow::Result<Vec<String>> {
    let user = JobsUser::of(&installation.name);
    let mut removed = Vec::new();
    if user.exists()? {
        removed.push(match user.remove() {
            Ok(()) => format!("user {}", user.name),
            Err(why) => format!("not the user {} ({why})", user.name),
        });
    }
    removed.push(installation.state.display().to_string());
    Ok(removed)
}
