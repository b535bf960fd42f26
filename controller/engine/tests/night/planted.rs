//! Engines with one thing wrong, in generated nights: each is vetoed by the checker, by the invariant that it breaks.
//!
//! A bug is planted in what the engine is shown (the checker sees what is true), or in the plan that it makes.

use crate::night::{Night, critical, name, unknown};
use crate::{faults, night, strike};
use iaso_engine::effect::{Action, Effect, Outcome};
use iaso_engine::fact::{Inventory, MachineSeen, MachineState, Observer, Role};
use iaso_engine::ledger::{EffectState, Ledger, Standing};
use iaso_engine::plan::{Plan, Situation, plan};
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::record::{Closing, Record, Rung};
use iaso_engine::time::Tick;
use iaso_engine::world::World;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Nights in which a bug must be caught once.
const NIGHTS: usize = 24;

struct Shown {
    policy: Policy,
    inventory: Inventory,
    world: World,
    ledger: Ledger,
}

fn shown(s: &Situation<'_>, bug: impl FnOnce(&mut Shown)) -> Plan {
    let mut all = Shown {
        policy: s.policy.clone(),
        inventory: s.inventory.clone(),
        world: s.world.clone(),
        ledger: s.ledger.clone(),
    };
    bug(&mut all);
    plan(&Situation {
        now: s.now,
        policy: &all.policy,
        inventory: &all.inventory,
        world: &all.world,
        ledger: &all.ledger,
    })
}

fn edited(s: &Situation<'_>, bug: impl FnOnce(&mut Vec<Record>)) -> Plan {
    let mut made = plan(s);
    bug(&mut made.records);
    made
}

fn actions(s: &Situation<'_>, bug: impl Fn(&mut Action)) -> Plan {
    edited(s, |records| {
        for record in records {
            if let Record::Intended { effect } = record {
                bug(&mut effect.action);
            }
        }
    })
}

struct Bug {
    name: &'static str,
    engine: fn(&Situation<'_>) -> Plan,
    /// What the nights are like in which it matters.
    nights: fn(&mut Night),
    /// The invariant that it breaks.
    breaks: &'static str,
}

const SIGHT: &[Bug] = &[
    Bug {
        name: "the controller's own word is enough",
        engine: |s| {
            shown(s, |all| {
                all.policy.quorum = 1;
                for facts in all.world.nodes.values_mut() {
                    facts.probes.retain(|o, _| *o == Observer::Controller);
                }
            })
        },
        nights: |n| n.policy.quorum = 9,
        breaks: "quorum-of-silence",
    },
    Bug {
        name: "a provider that does not say is taken to say running",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    if let Some(seen) = &mut facts.machine
                        && matches!(seen.value, MachineSeen::Unknown { .. })
                    {
                        seen.value = crate::night::running();
                    }
                }
            })
        },
        nights: |n| n.host("styx").machine = unknown("not-found"),
        breaks: "provider-known-and-idle",
    },
    Bug {
        name: "no second look",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    let later = Tick(s.now.0 + 1);
                    facts.machine.iter_mut().for_each(|seen| seen.at = later);
                }
            })
        },
        nights: |n| n.policy.machine_fresh_secs = 600,
        breaks: "looked-at-the-last-moment",
    },
    Bug {
        name: "a machine that runs is taken for one that is off",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    if let Some(seen) = &mut facts.machine
                        && seen.value == crate::night::running()
                    {
                        seen.value = crate::night::in_state(MachineState::Stopped);
                    }
                }
            })
        },
        nights: |_| {},
        breaks: "start-only-when-stopped",
    },
    Bug {
        name: "the lease is not looked at",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    facts
                        .kube
                        .iter_mut()
                        .for_each(|k| k.value.lease_changed = None);
                }
            })
        },
        nights: |n| n.at.push((61, |n| n.host("styx").lease = true)),
        breaks: "kubelet-is-silent",
    },
    Bug {
        name: "any number may be down at once",
        engine: |s| shown(s, |all| all.policy.storm_limit = 10_000),
        nights: |n| n.at.push((60, |n| n.cut("lethe"))),
        breaks: "no-storm",
    },
    Bug {
        name: "no failure domain is known",
        engine: |s| {
            shown(s, |all| {
                for spec in all.inventory.nodes.values_mut() {
                    spec.domains.clear();
                }
            })
        },
        nights: |n| {
            n.policy.storm_limit = 3;
            n.at.push((60, |n| n.cut("lethe")));
            for node in ["styx", "lethe"] {
                let spec = n.inventory.nodes.get_mut(&name(node));
                let domains = &mut spec.expect("it is declared").domains;
                domains.insert("zone".into(), "fra1".into());
            }
        },
        breaks: "no-domain-failure",
    },
    Bug {
        name: "local data is not looked at",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    facts
                        .kube
                        .iter_mut()
                        .for_each(|k| k.value.local_data.clear());
                }
            })
        },
        nights: |n| n.host("styx").local_data = vec!["pvc-1".into()],
        breaks: "local-data-kept",
    },
];

const PEOPLE: &[Bug] = &[
    Bug {
        name: "every mode is auto",
        engine: |s| {
            shown(s, |all| {
                all.policy.reboot = Mode::Auto;
                all.policy.recreate = Mode::Auto;
            })
        },
        nights: |n| n.policy.reboot = Mode::Approve,
        breaks: "approval-first",
    },
    Bug {
        name: "observing acts",
        engine: |s| shown(s, |all| all.policy.reboot = Mode::Auto),
        nights: |n| n.policy.reboot = Mode::Observe,
        breaks: "observe-acts-not",
    },
    Bug {
        name: "a pause is forgotten",
        engine: |s| shown(s, |all| all.ledger.paused.clear()),
        nights: |n| {
            n.ledger.paused.insert(None, "upgrade".into());
        },
        breaks: "paused-means-still",
    },
    Bug {
        name: "an opt-out is forgotten",
        engine: |s| {
            shown(s, |all| {
                for facts in all.world.nodes.values_mut() {
                    facts.kube.iter_mut().for_each(|k| k.value.opt_out = None);
                }
            })
        },
        nights: |n| n.host("styx").opt_out = Some("training".into()),
        breaks: "opted-out-means-still",
    },
    Bug {
        name: "servers are workers",
        engine: |s| {
            shown(s, |all| {
                for spec in all.inventory.nodes.values_mut() {
                    spec.role = Role::Worker;
                }
            })
        },
        nights: |n| {
            n.replies
                .insert("reboot", vec![crate::night::failed("error")]);
            n.at.push((50, |n| n.cut("tethys")));
        },
        breaks: "server-never-recreated",
    },
    Bug {
        name: "a parked incident is worked on",
        engine: |s| {
            shown(s, |all| {
                for incident in all.ledger.incidents.values_mut() {
                    if incident.standing == Standing::Parked {
                        incident.standing = Standing::Open;
                        incident.rungs.retain(|rung| rung.ended.is_none());
                    }
                }
            })
        },
        nights: |n| {
            n.policy.reboots_per_day = 9;
            n.replies
                .insert("reboot", vec![crate::night::failed("error")]);
            n.at.push((50, |n| n.cut("tethys")));
        },
        breaks: "parked-is-still",
    },
    Bug {
        name: "it approves for itself",
        engine: |s| {
            edited(s, |records| {
                for incident in s.ledger.incidents.values() {
                    records.push(Record::Approved {
                        incident: incident.id.clone(),
                        rung: Rung::Recreate,
                        who: "iaso".into(),
                        reason: "x".into(),
                    });
                }
            })
        },
        nights: |_| {},
        breaks: "no-forged-word",
    },
];

const BOUNDS: &[Bug] = &[
    Bug {
        name: "reboots are not counted",
        engine: |s| shown(s, |all| all.policy.reboots_per_day = 100),
        nights: |n| n.policy.reboots_per_day = 0,
        breaks: "reboot-budget",
    },
    Bug {
        name: "recreates are not counted",
        engine: |s| shown(s, |all| all.policy.recreates_per_day = 100),
        nights: |n| {
            n.replies
                .insert("reboot", vec![crate::night::failed("error")]);
            n.policy.recreates_per_day = 0;
        },
        breaks: "recreate-budget",
    },
    Bug {
        name: "fixes are not counted",
        engine: |s| shown(s, |all| all.policy.fixes_per_day = 100),
        nights: |n| {
            n.policy.fixes_per_day = 0;
            n.at.push((60, |n| {
                n.host("lethe").findings = vec![critical("k3s-agent.dead", &["restart"])];
            }));
        },
        breaks: "fix-budget",
    },
    Bug {
        name: "what is in flight on another node is forgotten",
        engine: |s| {
            shown(s, |all| {
                all.policy.storm_limit = 9;
                for incident in all.ledger.incidents.values_mut() {
                    for effect in &mut incident.effects {
                        if effect.latest.is_none() && effect.effect.action == Action::Reboot {
                            let (class, detail) = ("x".into(), "x".into());
                            effect.latest = Some((s.now, Outcome::NotStarted { class, detail }));
                        }
                    }
                }
            })
        },
        nights: |n| {
            n.policy.storm_limit = 9;
            n.delays.insert("reboot", 300);
            n.at.push((100, |n| n.cut("lethe")));
        },
        breaks: "one-disruption-at-a-time",
    },
    Bug {
        name: "the journal's trouble is not asked",
        engine: |s| shown(s, |all| all.world.store = None),
        nights: |n| {
            n.at.push((60, |n| n.world.store = Some("disk full".into())));
        },
        breaks: "journal-works",
    },
    Bug {
        name: "the secret store's trouble is not asked",
        engine: |s| shown(s, |all| all.world.secret_store = None),
        nights: |n| {
            n.replies
                .insert("reboot", vec![crate::night::failed("error")]);
            n.at.push((60, |n| n.world.secret_store = Some("sealed".into())));
        },
        breaks: "secret-store-works",
    },
];

fn reboot_fails(n: &mut Night) {
    n.replies
        .insert("reboot", vec![crate::night::failed("error")]);
    n.at.push((50, |n| n.cut("styx")));
}

const SAGA: &[Bug] = &[
    Bug {
        name: "only a recreate that is done counts as the first",
        engine: |s| {
            shown(s, |all| {
                for incident in all.ledger.incidents.values_mut() {
                    for effect in &mut incident.effects {
                        let recreate = matches!(effect.effect.action, Action::Recreate { .. });
                        if let Some((_, outcome @ Outcome::Failed { .. })) = &mut effect.latest
                            && recreate
                        {
                            let (class, detail) = ("x".into(), "x".into());
                            *outcome = Outcome::NotStarted { class, detail };
                        }
                    }
                }
            })
        },
        nights: |n| {
            reboot_fails(n);
            n.policy.recreate_cooldown_secs = 0;
            n.replies
                .insert("recreate", vec![crate::night::failed("error")]);
        },
        breaks: "one-recreate",
    },
    Bug {
        name: "another password than the stored one is used",
        engine: |s| {
            actions(s, |action| {
                if let Action::Recreate { password_key, .. } = action {
                    *password_key = "another".into();
                }
            })
        },
        nights: reboot_fails,
        breaks: "password-stored-first",
    },
    Bug {
        name: "another script than the made one is used",
        engine: |s| {
            actions(s, |action| {
                if let Action::Recreate { script, .. } = action {
                    *script = "another".into();
                }
            })
        },
        nights: reboot_fails,
        breaks: "script-first",
    },
    Bug {
        name: "it cordons before it writes down what was",
        engine: |s| {
            actions(s, |action| {
                if *action == Action::Remember {
                    *action = Action::Cordon;
                }
            })
        },
        nights: reboot_fails,
        breaks: "remembered-before-cordon",
    },
    Bug {
        name: "workloads are released before the fence",
        engine: |s| {
            actions(s, |action| {
                if matches!(action, Action::Recreate { .. }) {
                    *action = Action::Release;
                }
            })
        },
        nights: reboot_fails,
        breaks: "fence-before-release",
    },
    Bug {
        name: "a cordon is taken for undone",
        engine: |s| {
            shown(s, |all| {
                for incident in all.ledger.incidents.values_mut() {
                    if let Some(recreate) = incident.recreate().cloned() {
                        let undone = EffectState {
                            effect: Effect {
                                action: Action::Uncordon,
                                ..recreate.effect
                            },
                            ..recreate
                        };
                        incident.effects.push(undone);
                    }
                }
            })
        },
        nights: |n| {
            reboot_fails(n);
            n.after.insert("recreate", (60, |n| n.heal("styx")));
        },
        breaks: "never-left-cordoned",
    },
];

const RECORDS: &[Bug] = &[
    Bug {
        name: "evidence is left out",
        engine: |s| {
            edited(s, |records| {
                for record in records {
                    if let Record::Intended { effect } = record {
                        effect.evidence.clear();
                    }
                }
            })
        },
        nights: |_| {},
        breaks: "evidence-carried",
    },
    Bug {
        name: "an act without its rung",
        engine: |s| {
            edited(s, |records| {
                records.retain(|r| !matches!(r, Record::RungStarted { .. }));
                for incident in s.ledger.incidents.values() {
                    let Some(running) = incident.running() else {
                        continue;
                    };
                    let ended = Record::RungEnded {
                        incident: incident.id.clone(),
                        rung: running.rung.clone(),
                        result: iaso_engine::record::RungResult::Moot,
                        why: "x".into(),
                    };
                    records.insert(0, ended);
                }
            })
        },
        nights: |_| {},
        breaks: "effect-of-its-rung",
    },
    Bug {
        name: "an id is used twice",
        engine: |s| {
            edited(s, |records| {
                for record in records {
                    if let Record::Intended { effect } = record
                        && let Some(first) = s.ledger.effects().next()
                    {
                        effect.id = first.effect.id.clone();
                    }
                }
            })
        },
        nights: |_| {},
        breaks: "effect-id-once",
    },
    Bug {
        name: "it parks in silence",
        engine: |s| {
            edited(s, |records| {
                let page = |r: &Record| matches!(r, Record::Intended { effect } if matches!(effect.action, Action::Page { .. }));
                records.retain(|r| !page(r));
            })
        },
        nights: |n| {
            n.replies
                .insert("reboot", vec![crate::night::failed("error")]);
            n.at.push((50, |n| n.cut("tethys")));
        },
        breaks: "parked-is-told",
    },
    Bug {
        name: "an incident ends when it looks well, unwatched",
        engine: |s| {
            edited(s, |records| {
                for record in records {
                    if let Record::Verifying { incident, .. } = record {
                        *record = Record::Closed {
                            incident: incident.clone(),
                            closing: Closing::Recovered,
                            verified: Vec::new(),
                        };
                    }
                }
            })
        },
        nights: |n| {
            n.at.push((50, |n| n.cut("styx")));
            n.after.insert("reboot", (30, |n| n.heal("styx")));
        },
        breaks: "closed-when-well",
    },
    Bug {
        name: "another fix than the named one is applied",
        engine: |s| {
            actions(s, |action| {
                if let Action::ApplyFix { fix, .. } = action {
                    *fix = "another".into();
                }
            })
        },
        nights: |n| {
            n.at.push((60, |n| {
                n.host("lethe").findings = vec![critical("k3s-agent.dead", &["restart"])];
            }));
        },
        breaks: "effect-of-its-rung",
    },
];

/// Runs generated nights until the checker has vetoed the engine, and answers which invariants it named.
fn caught(bug: &Bug) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    for _ in 0..NIGHTS {
        let drawn = faults().new_tree(&mut runner).expect("it can be drawn");
        let mut faults = drawn.current();
        faults.sort_by_key(|(at, ..)| *at);
        let mut night = night(false, true);
        (bug.nights)(&mut night);
        night.planted = Some(bug.engine);
        let mut next = faults.into_iter().peekable();
        while night.second < 1_300 && night.vetoed.is_empty() {
            night.second += 1;
            while let Some((_, host, fault)) = next.next_if(|(at, ..)| *at <= night.second) {
                strike(&mut night, crate::HOSTS[host], fault);
            }
            night.tick();
        }
        if night.vetoed.iter().any(|name| name == bug.breaks) {
            return night.vetoed;
        }
    }
    Vec::new()
}

/// Catches: a property of nights that nothing could break.
#[test]
fn each_engine_with_one_thing_wrong_is_vetoed_in_some_night() {
    let all = [SIGHT, PEOPLE, BOUNDS, SAGA, RECORDS];
    let missed: Vec<&str> = all
        .into_iter()
        .flatten()
        .filter(|bug| caught(bug).is_empty())
        .map(|bug| bug.name)
        .collect();
    assert_eq!(missed, [""; 0], "no night shows these");
}
