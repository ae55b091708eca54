//! What a command leaves that was killed before it had noted anything.

use std::fs;

use super::places::{Installation, Places};
use crate::value::RunnerName;

/// Of those that change a runner, that keep its slots, and that change its image.
const LOCKS: [&str; 3] = ["lock", "slots.lock", "switch.lock"];

impl Places {
    /// Folders with nothing but locks in them go, unless somebody is at work there.
    pub fn forget_unfinished(&self) {
        let entries = fs::read_dir(&self.state).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<RunnerName>().ok()) {
            let runner = self.installation(&name);
            if !runner.is_declared()
                && runner.has_locks_alone()
                && let Ok(right) = runner.lock_at_once()
                // Somebody may have noted something in between.
                && runner.has_locks_alone()
            {
                // The next one finds it.
                let _ = right.erase(false);
            }
        }
        let _ = fs::remove_dir(&self.state);
    }
}

impl Installation {
    fn has_locks_alone(&self) -> bool {
        let is_lock = |name: &str| LOCKS.contains(&name);
        fs::read_dir(&self.state).is_ok_and(|mut files| {
            files.all(|file| file.is_ok_and(|file| file.file_name().to_str().is_some_and(is_lock)))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::installation::Places;

    #[test]
    fn a_folder_with_locks_alone_goes_and_one_with_anything_else_or_with_somebody_at_work_stays() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        let runner = |name: &str| places.installation(&name.parse().unwrap());
        drop(runner("vega-killed").lock().unwrap());
        drop(runner("vega-kept").lock().unwrap());
        std::fs::write(runner("vega-kept").state.join("store.json"), "{}").unwrap();
        let _right = runner("vega-at-work").lock().unwrap();
        std::fs::write(places.state.join("a-file"), "").unwrap();
        places.forget_unfinished();
        let left = ["vega-killed", "vega-kept", "vega-at-work"].map(|name| runner(name).state.exists());
        assert_eq!(left, [false, true, true]);
    }
}
