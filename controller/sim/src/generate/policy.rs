//! Policies as operators have them: mostly the default with everything automatic, some cautious, some odd.

use crate::rng::Stream;
use iaso_engine::policy::{Mode, Policy};

pub(super) fn policy(stream: &mut Stream) -> Policy {
    let mut policy = Policy {
        fix: Mode::Auto,
        start: Mode::Auto,
        reboot: Mode::Auto,
        recreate: Mode::Auto,
        recreates_per_day: u32::try_from(stream.between(1, 4)).unwrap_or(1),
        ..Policy::default()
    };
    match stream.below(10) {
        0 => {
            let defaults = Policy::default();
            policy.start = defaults.start;
            policy.reboot = defaults.reboot;
            policy.recreate = defaults.recreate;
        }
        1 => policy.recreate = Mode::Approve,
        2 => {
            policy.fix = any(stream);
            policy.start = any(stream);
            policy.reboot = any(stream);
            policy.recreate = any(stream);
        }
        _ => {}
    }
    if stream.percent(20) {
        policy.confirm_secs = stream.between(10, 120);
        policy.reboot_wait_secs = stream.between(100, 400);
        policy.verify_secs = stream.between(20, 300);
        policy.probe_round_secs = stream.between(5, 20);
        policy.probe_fresh_secs = policy.probe_round_secs * 3;
        policy.machine_fresh_secs = stream.between(20, 120);
    }
    if stream.percent(10) {
        policy.quorum = 3;
    }
    if stream.percent(15) {
        policy.storm_limit = u32::try_from(stream.between(1, 4)).unwrap_or(1);
    }
    policy.local_data_expendable = stream.percent(10);
    policy
}

fn any(stream: &mut Stream) -> Mode {
    let modes = [(50, Mode::Auto), (25, Mode::Approve), (25, Mode::Observe)];
    stream.weighted(&modes, Mode::Auto)
}
