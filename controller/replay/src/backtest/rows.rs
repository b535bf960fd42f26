//! Then and would-be side by side, and the judgement of each difference.

use super::{Judgement, Row, Would};
use iaso_engine::effect::Outcome;
use iaso_engine::id::{EffectId, IncidentId, NodeName};
use iaso_engine::record::{Entry, Record, Rung};
use iaso_engine::score::{Aftermath, Verdict, span};
use iaso_engine::time::Tick;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Less is the same moment: decisions are recorded some seconds apart.
const SAME: Duration = Duration::from_secs(6);

/// One incident of then.
struct Then {
    id: IncidentId,
    node: NodeName,
    opened: Tick,
    closed: Option<Tick>,
    acts: Vec<(Tick, Rung, EffectId)>,
    running: Option<Rung>,
    aftermath: Aftermath,
}

pub(super) fn rows(entries: &[Entry], would: &[Would], now: Tick) -> Vec<Row> {
    let incidents = incidents(entries);
    let mut taken: BTreeMap<usize, Vec<&Would>> = BTreeMap::new();
    let mut rows = Vec::new();
    let mut stray: BTreeMap<(&NodeName, &Rung), Vec<&Would>> = BTreeMap::new();
    for act in would {
        match belongs(&incidents, act) {
            Some(index) => taken.entry(index).or_default().push(act),
            None => stray.entry((&act.node, &act.rung)).or_default().push(act),
        }
    }
    for (index, incident) in incidents.iter().enumerate() {
        let acts = taken.remove(&index).unwrap_or_default();
        let rungs: BTreeSet<&Rung> = incident
            .acts
            .iter()
            .map(|(_, rung, _)| rung)
            .chain(acts.iter().map(|act| &act.rung))
            .collect();
        for rung in rungs {
            let of_it: Vec<&Would> = acts.iter().copied().filter(|a| &a.rung == rung).collect();
            rows.push(row(incident, rung, &of_it, now));
        }
    }
    for ((node, rung), acts) in stray {
        rows.push(Row {
            incident: None,
            judgement: Judgement::False,
            why: "no incident was open then, and none followed".into(),
            ..blank(node, rung, &acts)
        });
    }
    rows
}

fn incidents(entries: &[Entry]) -> Vec<Then> {
    let mut found: BTreeMap<IncidentId, Then> = BTreeMap::new();
    let mut never_began: BTreeSet<EffectId> = BTreeSet::new();
    for entry in entries {
        if let Record::IncidentOpened { incident, node, .. } = &entry.record {
            found.insert(
                incident.clone(),
                Then {
                    id: incident.clone(),
                    node: node.clone(),
                    opened: entry.at,
                    closed: None,
                    acts: Vec::new(),
                    running: None,
                    aftermath: Aftermath::of(entries, incident),
                },
            );
        }
        if let Record::Resolved {
            effect,
            outcome: Outcome::NotStarted { .. },
        } = &entry.record
        {
            never_began.insert(effect.clone());
        }
        let Some(then) = entry.record.incident().and_then(|id| found.get_mut(id)) else {
            continue;
        };
        if let Record::RungStarted { rung, .. } = &entry.record {
            then.running = Some(rung.clone());
        } else if let Record::Closed { .. } = &entry.record {
            then.closed = Some(entry.at);
        } else if let Record::Intended { effect } = &entry.record
            && effect.action.is_disruptive()
        {
            let rung = then.running.clone().unwrap_or(Rung::Page);
            then.acts.push((entry.at, rung, effect.id.clone()));
        }
    }
    let mut incidents: Vec<Then> = found.into_values().collect();
    for then in &mut incidents {
        then.acts.retain(|(_, _, id)| !never_began.contains(id));
    }
    incidents.sort_by_key(|then| then.opened);
    incidents
}

/// The incident that was open when it would be done, or the next one that opened: a quicker policy acts before the slower one's
/// incident.
fn belongs(incidents: &[Then], act: &Would) -> Option<usize> {
    let of_node = |then: &&(usize, &Then)| then.1.node == act.node;
    let all: Vec<(usize, &Then)> = incidents.iter().enumerate().collect();
    let open = all.iter().filter(of_node).rev().find(|(_, then)| {
        then.opened <= act.at && then.closed.is_none_or(|closed| act.at <= closed)
    });
    let next = || {
        all.iter()
            .filter(of_node)
            .find(|(_, then)| then.opened > act.at)
    };
    open.or_else(next).map(|(index, _)| *index)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn blank(node: &NodeName, rung: &Rung, acts: &[&Would]) -> Row {
    Row {
        node: node.clone(),
        incident: None,
        rung: rung.clone(),
        done: None,
        done_times: 0,
        would: acts.first().map(|act| act.at),
        would_times: count(acts.len()),
        shift_ms: None,
        guess: acts.first().is_some_and(|act| act.guess),
        judgement: Judgement::Unclear,
        why: String::new(),
    }
}

fn row(then: &Then, rung: &Rung, acts: &[&Would], now: Tick) -> Row {
    let done: Vec<Tick> = then
        .acts
        .iter()
        .filter(|(_, of, _)| of == rung)
        .map(|(at, _, _)| *at)
        .collect();
    let row = Row {
        incident: Some(then.id.0.clone()),
        done: done.first().copied(),
        done_times: count(done.len()),
        ..blank(&then.node, rung, acts)
    };
    let (judgement, why) = match (row.done, row.would) {
        (Some(done), Some(would)) => both(then, (rung, done, would), now),
        (None, Some(would)) => judged(then, rung, would, now),
        (Some(done), None) => not_done(then, rung, done),
        (None, None) => (Judgement::Unclear, String::new()),
    };
    Row {
        shift_ms: row.done.zip(row.would).map(|(done, would)| {
            let signed = |tick: Tick| i64::try_from(tick.0).unwrap_or(i64::MAX);
            signed(would).saturating_sub(signed(done))
        }),
        judgement,
        why,
        ..row
    }
}

fn both(then: &Then, (rung, done, would): (&Rung, Tick, Tick), now: Tick) -> (Judgement, String) {
    let apart = would.since(done).max(done.since(would));
    if apart <= SAME {
        return (Judgement::Same, "as then".into());
    }
    if would < done {
        return judged(then, rung, would, now);
    }
    let well_before = then.aftermath.well_since().is_some_and(|well| well < would);
    if well_before {
        let why = format!("{} later than then, when it was well already", span(apart));
        (Judgement::False, why)
    } else {
        (Judgement::Right, format!("{} later than then", span(apart)))
    }
}

fn judged(then: &Then, rung: &Rung, at: Tick, now: Tick) -> (Judgement, String) {
    let (verdict, why) = then.aftermath.judge(rung, at, now);
    let judgement = match verdict {
        Verdict::Right => Judgement::Right,
        Verdict::False => Judgement::False,
        Verdict::Unclear => Judgement::Unclear,
        Verdict::Open => Judgement::Open,
    };
    (judgement, why)
}

/// Was it needed then? If it was the last thing done before the node was well.
fn not_done(then: &Then, rung: &Rung, done: Tick) -> (Judgement, String) {
    let later = then
        .acts
        .iter()
        .rev()
        .find(|(at, of, _)| *at > done && of != rung);
    match (then.aftermath.well_since(), later) {
        (_, Some((_, of, _))) => (
            Judgement::Spared,
            format!("it did not help then: {of} followed"),
        ),
        (Some(well), None) if well >= done => (
            Judgement::Missed,
            format!("it was well {} after it", span(well.since(done))),
        ),
        (Some(_), None) => (Judgement::Spared, "it was well before it was done".into()),
        (None, None) => (Judgement::Unclear, "it has not been well since".into()),
    }
}
