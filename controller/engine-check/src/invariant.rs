//! The invariants, one small function each. An answer is a broken one: its name, and why.
//!
//! Each action has its own list. A list is long on purpose: what is asked of a wipe is everything that this project knows.

mod bound;
mod cluster;
mod fact;
mod form;
mod person;
mod record;
mod saga;

use crate::history::History;
use iaso_engine::effect::{Action, Effect};
use iaso_engine::plan::Situation;

pub(crate) use record::of_record;

pub(super) type Broken = Option<(&'static str, String)>;
type Invariant = fn(&Situation<'_>, &History, &Effect) -> Broken;

/// Asked of everything: who, whose, under which name.
const FORM: [Invariant; 3] = [form::unused_id, form::of_its_incident, form::live];
/// Asked of whatever interrupts a node.
const DISRUPTION: [Invariant; 10] = [
    form::evidence,
    form::of_its_rung,
    person::not_opted_out,
    person::allowed,
    person::in_window,
    bound::journal,
    bound::alone_in_flight,
    cluster::others_mending,
    cluster::no_storm,
    cluster::no_domain_failure,
];
/// Asked of every call that changes a machine.
const POWER: [Invariant; 2] = [fact::provider_plain, fact::asked_since];
/// Asked before a running machine is interrupted.
const SILENCE: [Invariant; 3] = [fact::silence, fact::kubelet_silent, fact::probed_since];
/// Asked before the wipe.
const WIPE: [Invariant; 10] = [
    person::worker_only,
    saga::once,
    saga::own_disk,
    saga::password_stored,
    saga::script_made,
    saga::remembered_and_cordoned,
    fact::local_data,
    bound::recreates_a_day,
    bound::recreated_long_ago,
    bound::secret_store,
];
/// Asked of what prepares a wipe.
const PREPARATION: [Invariant; 3] = [
    form::of_recreate,
    person::worker_only,
    saga::before_the_wipe,
];

/// The first invariant that an effect breaks.
pub(crate) fn of_effect(s: &Situation<'_>, history: &History, effect: &Effect) -> Broken {
    let lists: &[&[Invariant]] = match &effect.action {
        Action::Recreate { .. } => &[&FORM, &DISRUPTION, &POWER, &SILENCE, &WIPE],
        Action::Reboot => &[
            &FORM,
            &DISRUPTION,
            &POWER,
            &[
                fact::silent_or_lost,
                person::servers_agree,
                bound::reboots_a_day,
            ],
        ],
        Action::Start => &[
            &FORM,
            &DISRUPTION,
            &POWER,
            &[fact::only_when_stopped, bound::reboots_a_day],
        ],
        Action::Rescue { .. } => &[
            &FORM,
            &DISRUPTION,
            &POWER,
            &SILENCE,
            &[
                person::worker_only,
                saga::own_disk,
                saga::password_stored,
                bound::reboots_a_day,
                bound::secret_store,
            ],
        ],
        Action::LeaveRescue => &[&FORM, &[saga::own_rescue]],
        Action::ApplyFix { .. } => &[
            &FORM,
            &DISRUPTION,
            &[
                fact::agent_up,
                fact::fix_of_a_finding,
                bound::fixes,
                bound::fixes_a_day,
            ],
        ],
        Action::Remember | Action::PrepareScript => &[&FORM, &PREPARATION],
        Action::StorePassword => &[
            &FORM,
            &[
                form::of_recreate_or_rescue,
                person::worker_only,
                saga::before_the_wipe,
            ],
        ],
        Action::Cordon => &[&FORM, &PREPARATION, &[saga::remembered_first]],
        Action::Release => &[&FORM, &[saga::fenced]],
        Action::Restore { .. } => &[&FORM, &[saga::after_the_wipe, saga::restores_what_was]],
        Action::Uncordon => &[&FORM, &[saga::own_cordon, saga::well_again]],
        Action::PromotePassword { .. } => &[&FORM, &[saga::promotes_what_was_used]],
        Action::DiscardPassword { .. } => &[&FORM, &[saga::never_used]],
        Action::Cleanup { .. } => &[&FORM, &[saga::cleans_its_own, saga::script_not_needed]],
        // Nothing may keep a person from being told.
        Action::Page { .. } => &[&FORM],
    };
    let mut all = lists.iter().flat_map(|list| list.iter());
    all.find_map(|check| check(s, history, effect))
}
