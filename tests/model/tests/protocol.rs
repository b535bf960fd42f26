//! The protocol holds within the bounds that a test can afford, and each planted bug is found, by the property that names it.
//!
//! `cargo xtask model` looks further.

use iaso_model::{Bounds, Bug, Outcome, Protocol, check, find};

const SMALL: Bounds = Bounds {
    ticks: 8,
    starts: 1,
    copies: 0,
    restarts: 0,
    flips: 0,
    failures: 0,
};

fn holds(bounds: Bounds, missing: &[&str]) {
    let outcome = check(Protocol {
        bounds,
        bug: Bug::None,
    });
    println!(
        "{} states, depth {}, {:.1} s, {bounds:?}",
        outcome.states,
        outcome.depth,
        outcome.took.as_secs_f64()
    );
    assert_eq!(outcome.broken, [], "{bounds:?}");
    assert_eq!(outcome.missing, missing, "the run proves less: {bounds:?}");
}

#[test]
fn it_holds_over_crash_restart_leader_change_and_every_lost_message() {
    holds(SMALL, &[]);
}

#[test]
fn it_holds_when_orders_come_twice_and_the_agent_restarts() {
    let bounds = Bounds {
        ticks: 5,
        copies: 1,
        restarts: 1,
        ..SMALL
    };
    holds(bounds, &["a machine was recreated and its incident closed"]);
}

#[test]
fn it_holds_when_the_provider_fails_and_observers_differ() {
    let bounds = Bounds {
        ticks: 6,
        flips: 1,
        failures: 1,
        ..SMALL
    };
    holds(bounds, &["a machine was recreated and its incident closed"]);
}

fn finds(bug: Bug, bounds: Bounds, property: &str) {
    let Outcome { broken, .. } = find(Protocol { bounds, bug });
    let names: Vec<&str> = broken.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&property), "{bug:?}: {names:?}");
}

#[test]
fn an_order_that_is_sent_again_after_a_crash_is_found() {
    finds(
        Bug::ResendsAfterCrash,
        SMALL,
        "one disruptive action at a time",
    );
}

#[test]
fn impatience_in_doubt_is_found() {
    finds(
        Bug::NoPatienceInDoubt,
        SMALL,
        "what never began did not begin",
    );
}

#[test]
fn a_frozen_controller_that_sends_late_is_found() {
    let bounds = Bounds { ticks: 9, ..SMALL };
    finds(Bug::SendsLate, bounds, "what never began did not begin");
}

#[test]
fn an_agent_without_a_term_check_is_found() {
    finds(Bug::NoTermCheck, SMALL, "a stale term begins nothing");
}

#[test]
fn an_agent_that_forgets_is_found() {
    let bounds = Bounds {
        copies: 1,
        restarts: 1,
        ..SMALL
    };
    finds(Bug::AgentForgets, bounds, "an order is begun at most once");
}

/// The agent was like this once.
#[test]
fn an_agent_that_begins_what_it_has_refused_is_found() {
    finds(
        Bug::RefusalForgotten,
        SMALL,
        "what never began did not begin",
    );
}

/// The driver was like this once.
#[test]
fn a_controller_that_takes_not_connected_for_never_sent_is_found() {
    let bounds = Bounds { flips: 1, ..SMALL };
    finds(
        Bug::ResumedFixNeverSent,
        bounds,
        "what never began did not begin",
    );
}

#[test]
fn a_journal_without_a_fence_is_found() {
    finds(Bug::NoFence, SMALL, "a stale term writes nothing");
}

#[test]
fn the_controller_s_own_silence_is_not_enough_and_is_found() {
    let bounds = Bounds { flips: 1, ..SMALL };
    finds(Bug::NoQuorum, bounds, "no recreate without a quorum");
}
