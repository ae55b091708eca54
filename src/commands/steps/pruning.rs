//! Leftovers of ours in an engine: images that no runner is made of any more.

use crate::{engine::Cli, installation::Places, progress::Progress};

/// What cannot be removed, because a container of somebody's is made of it, is looked at again the next time; nothing else
/// comes of that.
pub fn prune_images(engine: &Cli, progress: &Progress) {
    let places = Places::standard();
    for image in places.unneeded_images(engine.program()).unwrap_or_default() {
        let is_removed = engine.remove_image(&image.pinned()).unwrap_or_default();
        if is_removed {
            progress
                .note(&format!("an image that no runner here needs is removed: {}", image.digest.short()));
        }
        let is_gone =
            is_removed || engine.local_image(&image.name, &image.digest).is_ok_and(|found| found.is_none());
        if is_gone {
            let _ = places.forget_image(&image);
        }
    }
}
