//! What a plan may write down besides effects: forged words, silent parking and early endings, each vetoed by name.

use crate::before::night::{Night, name};
use crate::before::{before, facts, incident, intends, named, past, server, styx, the_incident};
use iaso_engine::ledger::Standing;
use iaso_engine::plan::Plan;
use iaso_engine::record::{Record, Rung};
use iaso_engine::time::Tick;
use iaso_engine::world::AgentLink;

fn closes(record: &Record) -> bool {
    matches!(record, Record::Closed { .. })
}

#[test]
fn a_plan_speaks_for_nobody_but_itself() {
    let (mut night, plan) = before(styx(), intends("reboot"));
    let incident = incident(&mut night);
    let (who, reason) = ("ann".to_owned(), "why not".to_owned());
    let forged = [
        Record::Approved {
            incident: incident.clone(),
            rung: Rung::Recreate,
            who: who.clone(),
            reason: reason.clone(),
        },
        Record::Denied {
            incident,
            rung: Rung::Recreate,
            who: who.clone(),
            reason: reason.clone(),
        },
        Record::Paused {
            node: None,
            who: who.clone(),
            reason: reason.clone(),
        },
        Record::Resumed {
            node: None,
            who,
            reason,
        },
        Record::Resolved {
            effect: night.ledger.effects().next().map_or_else(
                || iaso_engine::id::EffectId("styx-1/1".into()),
                |e| e.effect.id.clone(),
            ),
            outcome: crate::before::night::failed("no"),
        },
        Record::ControllerStarted {
            version: "1".into(),
            term: 9,
        },
    ];
    for record in forged {
        let plan = Plan {
            records: [vec![record.clone()], plan.records.clone()].concat(),
            ..Plan::default()
        };
        assert_eq!(named(&night, &plan), ["no-forged-word"], "{record:?}");
    }
}

#[test]
fn whoever_parks_tells_a_person_in_the_same_plan() {
    let (night, park) = before(server(), |r| matches!(r, Record::Parked { .. }));
    assert_eq!(named(&night, &park), ["parked-is-told"]);
    let told = Plan {
        records: [page(&night), park.records.clone()].concat(),
        ..Plan::default()
    };
    assert_eq!(named(&night, &told), [""; 0]);
    let too_late = Plan {
        records: [park.records, page(&night)].concat(),
        ..Plan::default()
    };
    assert_eq!(named(&night, &too_late), ["parked-is-told"]);
}

fn page(night: &Night) -> Vec<Record> {
    let incident = night.ledger.incidents.values().next().expect("one is open");
    let mut effect = incident.effects[0].effect.clone();
    effect.id = iaso_engine::id::EffectId(format!("{}/99", incident.id));
    effect.action = crate::before::page();
    vec![Record::Intended { effect }]
}

fn closing(expect: &[&str], spoil: fn(&mut Night)) {
    let (mut night, plan) = before(styx(), closes);
    spoil(&mut night);
    assert_eq!(named(&night, &plan), expect);
}

#[test]
fn an_incident_ends_only_when_the_node_was_watched_and_is_well() {
    closing(&[], |_| {});
    let well = &["closed-when-well"];
    for standing in [Standing::Open, Standing::Parked] {
        let (mut night, plan) = before(styx(), closes);
        the_incident(&mut night).standing = standing;
        assert_eq!(named(&night, &plan), well);
    }
    closing(well, |n| {
        let now = n.now();
        the_incident(n).standing = Standing::Verifying(Tick(now.0 - 59_000));
    });
    closing(well, |n| {
        let agent = facts(n, "styx").agent.as_mut().expect("it was seen");
        agent.value = AgentLink::Lost {
            reason: "closed".into(),
        };
    });
    closing(well, |n| {
        n.world.kube_api.as_mut().expect("it was asked").value = Some("timed out".into());
    });
    closing(well, |n| {
        n.ledger.incidents.clear();
    });
    closing(&[], |n| {
        n.inventory.has_cluster = false;
        n.world.nodes.get_mut(&name("styx")).expect("seen").kube = None;
    });
}

#[test]
fn an_incident_ends_only_when_its_calls_have() {
    for action in ["reboot", "recreate"] {
        let (mut night, plan) = before(styx(), closes);
        past(&mut night, action).latest = None;
        assert_eq!(named(&night, &plan), ["closed-when-settled"], "{action}");
    }
}

#[test]
fn no_node_is_left_cordoned_and_forgotten() {
    closing(&["never-left-cordoned"], |n| {
        crate::before::forget(n, "uncordon");
    });
    closing(&["never-left-cordoned"], |n| {
        let at = n.now();
        past(n, "uncordon").latest = Some((at, crate::before::night::failed("conflict")));
    });
    closing(&["never-left-cordoned"], |n| {
        let again = past(n, "cordon").clone();
        the_incident(n).effects.push(again);
    });
    // Somebody else's cordon stays.
    closing(&[], |n| {
        crate::before::forget(n, "uncordon");
        if let Some((
            _,
            iaso_engine::effect::Outcome::Done {
                yielded: iaso_engine::effect::Yield::Remembered { remembered },
                ..
            },
        )) = &mut past(n, "remember").latest
        {
            remembered.was_cordoned = true;
        }
    });
}
