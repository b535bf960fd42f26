use super::*;
use crate::effect::{Action, Effect};
use crate::id::NodeName;
use crate::record::{Closing, Diagnosis};

/// An incident's entries, one line each: `seconds what`.
fn story(lines: &[(u64, &str)]) -> Vec<Entry> {
    let incident = IncidentId("styx-1".into());
    let node = NodeName::new("styx").unwrap();
    let mut effects = 0;
    let mut record = |what: &str| match what {
        "opened" => Record::IncidentOpened {
            incident: incident.clone(),
            node: node.clone(),
            since: Tick(0),
            diagnosis: Diagnosis::Isolated,
            evidence: Vec::new(),
        },
        "would reboot" => Record::WouldHave {
            incident: incident.clone(),
            rung: Rung::Reboot,
            why: String::new(),
        },
        "fix" | "reboot" | "recreate" => {
            effects += 1;
            let action = match what {
                "fix" => Action::ApplyFix {
                    plugin: "p".into(),
                    fix: "f".into(),
                },
                "reboot" => Action::Reboot,
                _ => Action::Recreate {
                    password_key: String::new(),
                    script: String::new(),
                },
            };
            Record::Intended {
                effect: Effect {
                    id: EffectId(format!("styx-1/{effects}")),
                    incident: incident.clone(),
                    node: node.clone(),
                    action,
                    evidence: Vec::new(),
                },
            }
        }
        "never began" => Record::Resolved {
            effect: EffectId(format!("styx-1/{effects}")),
            outcome: Outcome::NotStarted {
                class: "transport".into(),
                detail: String::new(),
            },
        },
        "well" => Record::Verifying {
            incident: incident.clone(),
            why: String::new(),
        },
        "not well" => Record::VerifyFailed {
            incident: incident.clone(),
            why: String::new(),
        },
        "parked" => Record::Parked {
            incident: incident.clone(),
            why: String::new(),
        },
        "closed" => Record::Closed {
            incident: incident.clone(),
            closing: Closing::Recovered,
            verified: Vec::new(),
        },
        begins => Record::RungStarted {
            incident: incident.clone(),
            rung: match begins {
                "begin fix" => Rung::Fix("p/f".into()),
                "begin reboot" => Rung::Reboot,
                "begin recreate" => Rung::Recreate,
                other => panic!("{other}"),
            },
            attempt: 1,
            why: String::new(),
        },
    };
    let entries = lines.iter().zip(1..);
    entries
        .map(|((secs, what), sequence)| Entry {
            sequence,
            at: Tick(secs * 1_000),
            record: record(what),
        })
        .collect()
}

#[track_caller]
fn check(now: u64, lines: &[(u64, &str)], expect: &str) {
    let scored = would_haves(
        &story(lines),
        &IncidentId("styx-1".into()),
        Tick(now * 1_000),
    );
    let said: Vec<String> = scored
        .iter()
        .map(|s| format!("{}: {}", s.verdict.name(), s.why))
        .collect();
    assert_eq!(said, [expect]);
}

#[test]
fn a_node_that_recovers_by_itself_shortly_after_did_not_need_it() {
    check(
        900,
        &[
            (0, "opened"),
            (60, "would reboot"),
            (300, "well"),
            (360, "closed"),
        ],
        "false: it was well again by itself 4 min later",
    );
}

#[test]
fn a_recovery_that_did_not_last_is_none() {
    check(
        5_000,
        &[
            (0, "opened"),
            (60, "would reboot"),
            (300, "well"),
            (330, "not well"),
            (400, "parked"),
        ],
        "right: it has not been well for 82 min since, and a person was called",
    );
}

#[test]
fn an_act_as_strong_later_says_that_it_was_needed_and_a_gentler_one_that_it_was_not() {
    let by = |begin, act| {
        [
            (0, "opened"),
            (60, "would reboot"),
            (500, begin),
            (560, act),
            (700, "well"),
        ]
    };
    check(
        900,
        &by("begin recreate", "recreate"),
        "right: recreate was needed 8 min later",
    );
    check(
        900,
        &by("begin fix", "fix"),
        "false: fix p/f was enough, 8 min later",
    );
}

#[test]
fn an_act_that_never_began_helped_nobody() {
    check(
        900,
        &[
            (0, "opened"),
            (60, "would reboot"),
            (100, "begin reboot"),
            (100, "reboot"),
            (101, "never began"),
            (200, "well"),
        ],
        "false: it was well again by itself 2 min later",
    );
}

#[test]
fn a_late_recovery_alone_is_unclear_and_after_a_call_for_a_person_the_act_was_right() {
    check(
        9_000,
        &[(0, "opened"), (60, "would reboot"), (3_000, "well")],
        "unclear: it was well again by itself, but only 49 min later",
    );
    check(
        9_000,
        &[
            (0, "opened"),
            (60, "would reboot"),
            (90, "parked"),
            (8_000, "well"),
        ],
        "right: it was well again only 2.2 h later, after a person had been called",
    );
}

#[test]
fn nothing_is_said_too_early() {
    check(
        100,
        &[(0, "opened"), (60, "would reboot")],
        "open: 40 s later it is not well yet",
    );
}
