//! Whole nights under another policy: the recreate of styx, an act that would have been false, and one that would have been missed.

#![allow(
    clippy::unwrap_used,
    reason = "a test that unwraps wrongly fails, as it should"
)]

#[path = "../../engine/tests/night/mod.rs"]
mod night;

use iaso_engine::policy::step::{Step, StepKind};
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::record::{Diagnosis, Rung};
use iaso_engine::time::Tick;
use iaso_replay::backtest::{Backtest, Judgement, Row, backtest};
use iaso_replay::codec::member;
use iaso_replay::decide::is_decided;
use iaso_replay::line::{Base, Decided, Ending, FORMAT, Header, Line, Setup, Stop, WrittenEntry};
use night::Night;

/// A decision without news is recorded so often.
const QUIET_SECS: u64 = 5;

/// The night from now on, as a controller would have recorded it: here each decision brings its whole world.
fn recorded(mut night: Night, seconds: u64) -> (Vec<u8>, Night) {
    let setup = Setup::of(&night.policy, &night.inventory).unwrap();
    let mut decisions = Vec::new();
    while night.second < seconds {
        let ledger = night.ledger.clone();
        let first = night.entries.len();
        night.second += 1;
        night.tick();
        let made = night.entries.get(first..).unwrap();
        if made.is_empty() && !night.second.is_multiple_of(QUIET_SECS) {
            continue;
        }
        let outside = made.iter().take_while(|e| !is_decided(&e.record)).count();
        let (outside, all) = (outside as u64, made.len() as u64);
        decisions.push(Line::Decided(Decided {
            now: night.now(),
            before: ledger.sequence + outside,
            journaled: all - outside,
            refused: 0,
        }));
        decisions.insert(
            decisions.len() - 1,
            Line::Base(Box::new(Base {
                recording: 1,
                setup: setup.digest.clone(),
                world: night.world.clone(),
                ledger,
            })),
        );
    }
    let entries: Vec<Line> = night
        .entries
        .iter()
        .map(|entry| Line::Entry(WrittenEntry::of(entry).unwrap()))
        .collect();
    let header = Header {
        format: FORMAT,
        controller: "0.1.0".into(),
        at: night.now(),
        incidents: night
            .ledger
            .incidents
            .keys()
            .map(|id| id.0.clone())
            .collect(),
    };
    let stop = Stop {
        recording: 1,
        how: Ending::Closed,
        chunks: 1,
        lost: 0,
    };
    let end = Line::End {
        recordings: 1,
        entries: entries.len() as u64,
    };
    let mut lines = vec![Line::Header(header), Line::Setup(setup)];
    lines.extend(entries.iter().cloned());
    lines.push(Line::Begin { recording: 1 });
    lines.extend(entries);
    lines.push(Line::Chunk {
        recording: 1,
        number: 0,
    });
    lines.extend(decisions);
    lines.extend([Line::Stop(stop), end]);
    (member(&lines).unwrap(), night)
}

fn tried(bytes: &[u8], policy: &Policy) -> Backtest {
    let found = backtest(bytes, policy).unwrap();
    assert!(found.gaps.is_empty(), "{:?}", found.gaps);
    assert_eq!(found.vetoes, 0, "{found:#?}");
    assert!(found.decisions > 20, "{found:#?}");
    found
}

fn row<'a>(found: &'a Backtest, rung: &Rung) -> &'a Row {
    let mut of_it = found.rows.iter().filter(|row| &row.rung == rung);
    let row = of_it.next();
    assert!(of_it.next().is_none(), "one row for each rung: {found:#?}");
    row.unwrap()
}

/// Cut off outside the machine: a reboot does not help, a recreate does.
fn styx() -> (Vec<u8>, Night) {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert("recreate", (60, |n| n.heal("styx")));
    let (bytes, night) = recorded(night, 900);
    assert_eq!(night.recreated, 1);
    (bytes, night)
}

#[test]
fn the_night_of_styx_under_its_own_policy_is_the_same_to_the_second() {
    let (bytes, night) = styx();
    let found = tried(&bytes, &night.policy);
    for rung in [Rung::Reboot, Rung::Recreate] {
        let row = row(&found, &rung);
        assert_eq!(row.judgement, Judgement::Same, "{row:#?}");
        assert_eq!((row.shift_ms, row.guess), (Some(0), false), "{row:#?}");
        assert_eq!((row.done_times, row.would_times), (1, 1), "{row:#?}");
    }
    assert_eq!(found.rows.len(), 2, "{found:#?}");
}

#[test]
fn a_policy_that_asks_before_it_wipes_would_have_missed_the_recreate_of_styx() {
    let (bytes, night) = styx();
    let asks = Policy {
        recreate: Mode::Approve,
        ..night.policy
    };
    let found = tried(&bytes, &asks);
    assert_eq!(row(&found, &Rung::Reboot).judgement, Judgement::Same);
    let recreate = row(&found, &Rung::Recreate);
    assert_eq!(recreate.judgement, Judgement::Missed, "{recreate:#?}");
    assert_eq!(recreate.would, None);
    assert!(recreate.why.contains("it was well"), "{recreate:#?}");
    assert_eq!(found.totals.get(&Judgement::Missed), Some(&1));
}

#[test]
fn a_policy_without_the_reboot_would_have_recreated_styx_earlier_and_rightly() {
    let (bytes, night) = styx();
    let isolated = vec![Step::new(StepKind::Recreate)];
    let hasty = Policy {
        ladder: [(Diagnosis::Isolated, isolated)].into(),
        ..night.policy
    };
    let found = tried(&bytes, &hasty);
    let recreate = row(&found, &Rung::Recreate);
    assert!(recreate.shift_ms.unwrap() < -60_000, "{recreate:#?}");
    assert_eq!(recreate.judgement, Judgement::Right, "{recreate:#?}");
    // The reboot of then did not help: nothing is lost without it.
    let reboot = row(&found, &Rung::Reboot);
    assert_eq!(reboot.judgement, Judgement::Spared, "{reboot:#?}");
}

#[test]
fn a_hastier_policy_would_have_rebooted_a_node_that_came_back_by_itself_and_that_is_false() {
    let mut night = Night::new();
    night.policy.confirm_secs = 300;
    night.at.push((60, |n| n.cut("styx")));
    night.at.push((200, |n| n.heal("styx")));
    let (bytes, night) = recorded(night, 420);
    assert!(night.executed.is_empty(), "the patient policy did nothing");
    let hasty = Policy {
        confirm_secs: 10,
        ..night.policy.clone()
    };
    let found = tried(&bytes, &hasty);
    let reboot = row(&found, &Rung::Reboot);
    assert_eq!(reboot.judgement, Judgement::False, "{reboot:#?}");
    assert_eq!((reboot.done, reboot.done_times), (None, 0));
    assert!(
        reboot.would.unwrap() < Tick(night::START + 200_000),
        "{reboot:#?}"
    );
    assert!(reboot.why.contains("by itself"), "{reboot:#?}");
    // And the patient one still does nothing.
    assert!(tried(&bytes, &night.policy).rows.is_empty());
}

#[test]
fn a_policy_that_only_observes_would_have_missed_the_reboot_that_helped() {
    let mut night = Night::new();
    night.at.push((60, |n| n.cut("styx")));
    night.after.insert("reboot", (40, |n| n.heal("styx")));
    let (bytes, night) = recorded(night, 600);
    assert!(night.closed() && night.recreated == 0);
    let observes = Policy {
        reboot: Mode::Observe,
        ..night.policy.clone()
    };
    let found = tried(&bytes, &observes);
    let reboot = row(&found, &Rung::Reboot);
    assert_eq!(reboot.judgement, Judgement::Missed, "{reboot:#?}");
    assert_eq!(reboot.would_times, 0);
    assert_eq!(
        found.rows.len(),
        1,
        "a smaller rung is not skipped: {found:#?}"
    );
}

/// `docs/adr/0016-the-journal-is-kept-whole.md` rests on this.
#[test]
fn a_night_with_reboot_and_recreate_is_a_small_part_of_a_journal() {
    let (_, night) = styx();
    let json = |entry| serde_json::to_string(entry).unwrap().len();
    let bytes: usize = night.entries.iter().map(json).sum();
    let entries = night.entries.len();
    println!("{entries} entries, {bytes} bytes");
    assert!((20..200).contains(&entries), "{entries} entries");
    assert!(bytes < 64 << 10, "{bytes} bytes");
}
