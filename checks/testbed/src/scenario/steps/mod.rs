//! What a scenario's steps are: a table of their names, and one file for what belongs together.

mod bare;
mod declare;
mod drains;
mod images;
mod life;
mod slots;
mod uploads;
mod walls;
mod warmth;

use super::Stage;

type Step = fn(&mut Stage<'_>) -> anyhow::Result<()>;

const STEPS: &[(&str, Step)] = &[
    ("a host with Nix and GitHub's runner", bare::host),
    ("declare", declare::first),
    ("declare, killed half-way", declare::killed_half_way),
    ("declare: first image", declare::first),
    ("declare: next image", declare::next),
    ("declare again changes nothing", declare::again),
    ("declare a second", declare::second),
    ("an ephemeral runner", slots::declared),
    ("stores that begin warm", warmth::declared),
    ("what a job had from a cache is there for the next ones", warmth::kept),
    ("two jobs apart", slots::two_jobs_apart),
    ("its keeper is killed", slots::keeper_killed),
    ("refused: unsigned image", declare::refused),
    ("units that systemd understands", declare::units),
    ("take away", declare::take_away),
    ("take the second away", declare::take_second_away),
    ("nothing is left", declare::nothing_is_left),
    ("online", life::online),
    ("sandboxed job", life::sandboxed_job),
    ("busy", life::busy),
    ("the job succeeded", life::job_succeeded),
    ("restart", life::restart),
    ("back without a token", life::back),
    ("the job that was cut off has an end", life::cut_off),
    ("verified by what was kept", life::verified_by_what_was_kept),
    ("one runner at GitHub", life::one_runner),
    ("one token in all", life::one_token),
    ("drain", drains::drain),
    ("it rests", drains::rests),
    ("resume", drains::resume),
    ("forget the registration", life::forget),
    ("start comes to nothing", life::comes_to_nothing),
    ("register", life::register),
    ("both apart", life::both_apart),
    ("the registry's tag moves", images::registry_tag_moves),
    ("the local tag moves", images::local_tag_moves),
    ("the local tag moves between check and start", images::moves_between),
    ("runs the first image", images::runs_first),
    ("runs the next image", images::runs_next),
    ("an image that does not listen is gone back from", images::goes_back_by_itself),
    ("a window for updates", images::window),
    ("the tag moves on: the timer updates", images::updates),
    ("rollback", images::rolls_back),
    ("the timer leaves that alone", images::leaves_alone),
    ("caps in force", walls::caps),
    ("slice in force", walls::slice),
    ("no token anywhere", walls::no_token),
    ("a service of the host's own", walls::bystander),
    ("the host's service lives", walls::bystander_lives),
    ("memory hog", walls::memory_hog),
    ("the cloud's credentials are out of reach", walls::metadata_is_out_of_reach),
    ("fork bomb", walls::fork_bomb),
    ("hostile job", walls::hostile_job),
    ("a cache for its builds", uploads::cache),
    ("its builds are pushed", uploads::pushed),
    ("a build waits for its upload", uploads::waits),
    ("what waited is pushed", uploads::waited),
    ("the pusher has its own in sight", uploads::walls),
];

/// The step of this name.
pub fn named(name: &str) -> Option<Step> {
    STEPS.iter().find(|(known, _)| *known == name).map(|(_, step)| *step)
}
