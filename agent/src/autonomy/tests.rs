use proptest::prelude::*;

use super::*;

const AFTER: Duration = Duration::from_mins(5);

fn delegation() -> Delegation {
    Delegation {
        after: Some(AFTER),
        rungs: vec![Rung::parse("k3s-agent/restart").expect("a rung")],
        attempts: 2,
        confirm_secs: 30,
        fix_wait_secs: 60,
        verify_secs: 60,
        act_on: vec!["*".into()],
    }
}

fn at(secs: u64) -> Tick {
    Tick(1_000_000 + secs * 1_000)
}

fn autonomy(delegation: Delegation) -> Autonomy {
    Autonomy::new("styx", at(0), delegation, Absence::default())
}

/// What the plugin `k3s-agent` says.
fn says(code: &str, severity: &str, remedies: &[&str]) -> Vec<(String, Vec<Finding>)> {
    let finding = Finding {
        code: code.into(),
        severity: severity.into(),
        subject: "k3s-agent.service".into(),
        summary: "it is dead".into(),
        remedies: remedies.iter().map(|&fix| fix.to_owned()).collect(),
        attributes: Vec::new(),
    };
    vec![("k3s-agent".into(), vec![finding])]
}

fn dead() -> Vec<(String, Vec<Finding>)> {
    says("k3s-agent.dead", "critical", &["killall", "restart"])
}

fn well() -> Vec<(String, Vec<Finding>)> {
    says("k3s-agent.ok", "ok", &[])
}

/// As the agent does it: a step is committed, and an act ends at once.
fn look(
    agent: &mut Autonomy,
    now: Tick,
    reports: &[(String, Vec<Finding>)],
    result: &str,
) -> Option<Act> {
    let step = agent.step(now, reports).ok().flatten()?;
    agent.commit(&step);
    let act = step.act?;
    agent.ended(now, &act.effect, result, "it was tried");
    Some(act)
}

/// Looks every second; the seconds at which it acted, and how.
fn acts(
    agent: &mut Autonomy,
    secs: std::ops::Range<u64>,
    reports: &[(String, Vec<Finding>)],
    result: &str,
) -> Vec<(u64, String)> {
    secs.filter_map(|second| {
        let act = look(agent, at(second), reports, result)?;
        Some((second, format!("{}/{}", act.rung.plugin, act.rung.fix)))
    })
    .collect()
}

#[test]
fn a_delegated_remedy_that_does_not_help_is_tried_twice_with_a_wait_between_and_never_again() {
    let mut agent = autonomy(delegation());
    assert_eq!(
        agent.step(at(300), &dead()),
        Err(Waiting::Away {
            left: Duration::ZERO
        })
    );
    // Away for more than 300 s, and the facts lasted 30 s: the first look that the engine had was at 301.
    let done = acts(&mut agent, 301..20_000, &dead(), "fixed");
    assert_eq!(
        done,
        [
            (331, "k3s-agent/restart".into()),
            (391, "k3s-agent/restart".into())
        ]
    );
}

#[test]
fn a_fix_that_fails_at_once_is_waited_after_all_the_same() {
    let mut agent = autonomy(delegation());
    let done = acts(&mut agent, 301..20_000, &dead(), "failed");
    assert_eq!(
        done.iter().map(|(second, _)| *second).collect::<Vec<_>>(),
        [331, 391]
    );
}

#[test]
fn the_wait_doubles_after_each_attempt_and_no_new_incident_cuts_it_short() {
    let mut agent = autonomy(Delegation {
        attempts: 4,
        verify_secs: 1,
        ..delegation()
    });
    let mut done = Vec::new();
    for second in 301..5_000 {
        // Well for a while after each act: every relapse is an incident of its own.
        let last: Option<u64> = done.last().copied();
        let reports = if last.is_some_and(|last| second < last + 20) {
            well()
        } else {
            dead()
        };
        if look(&mut agent, at(second), &reports, "fixed").is_some() {
            done.push(second);
        }
    }
    let waits: Vec<u64> = done.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [60, 120, 240]);
}

#[test]
fn a_host_that_is_well_again_is_left_alone() {
    let mut agent = autonomy(delegation());
    assert_eq!(acts(&mut agent, 301..340, &dead(), "fixed").len(), 1);
    assert_eq!(acts(&mut agent, 340..9_000, &well(), "fixed"), []);
    assert_eq!(
        agent.absence.ledger.incidents.len(),
        0,
        "what is over is forgotten"
    );
    assert_eq!(agent.used(), 1, "and still counted");
}

#[test]
fn what_the_plugin_refused_is_not_asked_again() {
    let mut agent = autonomy(delegation());
    assert_eq!(acts(&mut agent, 301..9_000, &dead(), "refused").len(), 1);
}

#[test]
fn a_session_stops_it_and_gives_new_attempts() {
    let mut agent = autonomy(delegation());
    assert_eq!(acts(&mut agent, 301..2_000, &dead(), "fixed").len(), 2);
    agent.connected(delegation());
    assert_eq!(agent.step(at(2_001), &dead()), Err(Waiting::Connected));
    agent.disconnected(at(3_000));
    agent.disconnected(at(3_200));
    assert_eq!(
        acts(&mut agent, 3_001..9_000, &dead(), "fixed").first(),
        Some(&(3_331, "k3s-agent/restart".into()))
    );
}

#[test]
fn what_is_not_critical_not_to_be_acted_on_or_not_delegated_is_left_alone() {
    let cases = [
        ("no finding", delegation(), Vec::new()),
        (
            "a warning",
            delegation(),
            says("k3s-agent.slow", "warning", &["restart"]),
        ),
        (
            "an old finding",
            delegation(),
            says("k3s-agent.dead", "unknown", &["restart"]),
        ),
        (
            "another remedy",
            delegation(),
            says("k3s-agent.dead", "critical", &["killall"]),
        ),
        (
            "no remedy",
            delegation(),
            says("k3s-agent.rejected", "critical", &[]),
        ),
        (
            "another code",
            Delegation {
                act_on: vec!["disk.*".into()],
                ..delegation()
            },
            dead(),
        ),
        (
            "nothing delegated",
            Delegation {
                rungs: Vec::new(),
                ..delegation()
            },
            dead(),
        ),
        (
            "no attempts",
            Delegation {
                attempts: 0,
                ..delegation()
            },
            dead(),
        ),
        (
            "never",
            Delegation {
                after: None,
                ..delegation()
            },
            dead(),
        ),
    ];
    for (what, delegation, reports) in cases {
        assert_eq!(
            acts(&mut autonomy(delegation), 0..3_000, &reports, "fixed"),
            [],
            "{what}"
        );
    }
}

#[test]
fn an_act_left_open_by_a_gone_process_is_in_doubt_and_counts() {
    let mut agent = autonomy(delegation());
    let step = (301..400).find_map(|second| {
        let step = agent.step(at(second), &dead()).ok().flatten()?;
        agent.commit(&step);
        step.act.is_some().then_some(step)
    });
    let step = step.expect("it acts");
    let bytes = serde_json::to_vec(&step.absence).expect("it can be kept");
    let absence: Absence = serde_json::from_slice(&bytes).expect("it can be read");
    let mut again = Autonomy::new("styx", at(500), delegation(), absence);
    let doubt = again.in_doubt();
    assert_eq!(doubt, [step.act.expect("an act")]);
    again.ended(at(500), &doubt[0].effect, "failed", "interrupted");
    assert_eq!(again.in_doubt(), []);
    assert_eq!(
        acts(&mut again, 500..20_000, &dead(), "fixed").len(),
        1,
        "one of two was used"
    );
}

#[test]
fn the_id_of_an_act_is_another_in_every_absence() {
    let mut agent = autonomy(delegation());
    let mut ids = std::collections::BTreeSet::new();
    let mut count = 0;
    for round in 0..3 {
        for second in (round * 10_000 + 301)..(round * 10_000 + 2_000) {
            if let Some(act) = look(&mut agent, at(second), &dead(), "fixed") {
                ids.insert(act.id);
                count += 1;
            }
        }
        agent.connected(delegation());
        agent.disconnected(at((round + 1) * 10_000));
    }
    assert_eq!((count, ids.len()), (6, 6));
}

#[test]
fn a_name_that_no_node_has_never_acts() {
    let mut agent = Autonomy::new("Not A Node", at(0), delegation(), Absence::default());
    assert_eq!(acts(&mut agent, 0..3_000, &dead(), "fixed"), []);
}

#[test]
fn only_plugin_slash_fix_is_a_rung() {
    for text in ["", "k3s-agent", "/restart", "k3s-agent/", "a/b/c"] {
        assert_eq!(Rung::parse(text), None, "{text:?}");
    }
}

#[derive(Debug, Clone)]
enum Event {
    Disconnect,
    Restart,
    RestartInTheAct,
    Connect,
    Look(u8, u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        1 => Just(Event::Disconnect),
        1 => Just(Event::Restart),
        1 => Just(Event::RestartInTheAct),
        1 => Just(Event::Connect),
        12 => (0u8..5, 0u8..3).prop_map(|(facts, result)| Event::Look(facts, result)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Planted bugs it catches: attempts forgotten when an incident closes or the agent starts again; a wait that is not kept over
    /// either; an act that was not delegated; one before the absence is long enough; a record that grows with the absence.
    #[test]
    fn between_two_sessions_there_are_never_more_acts_nor_sooner_than_delegated(
        events in prop::collection::vec((event(), 1u64..200), 1..160)
    ) {
        let mut agent = autonomy(delegation());
        let (mut now, mut tries, mut last, mut away) = (0, 0u32, None::<u64>, Some(0));
        for (event, wait) in events {
            now += wait;
            match event {
                Event::Disconnect => { agent.disconnected(at(now)); away.get_or_insert(now); }
                Event::Connect => { agent.connected(delegation()); (tries, last, away) = (0, None, None); }
                Event::Restart => {
                    agent = Autonomy::new("styx", at(now), delegation(), agent.absence.clone());
                    away = Some(now);
                }
                Event::RestartInTheAct => if let Ok(Some(step)) = agent.step(at(now), &dead()) {
                    if step.act.is_some() {
                        tries += 1;
                        last = Some(now);
                    }
                    agent = Autonomy::new("styx", at(now), delegation(), step.absence);
                    away = Some(now);
                    for act in agent.in_doubt() {
                        agent.ended(at(now), &act.effect, "failed", "interrupted");
                    }
                },
                Event::Look(facts, result) => {
                    let reports = match facts { 0 => well(), 1 => says("k3s-agent.dead", "critical", &["killall"]), _ => dead() };
                    let result = ["fixed", "failed", "refused"][usize::from(result)];
                    if let Some(act) = look(&mut agent, at(now), &reports, result) {
                        prop_assert_eq!(act.rung.fix, "restart");
                        prop_assert!(away.is_some_and(|since| now > since + 300), "{} s after {:?}", now, away);
                        prop_assert!(last.is_none_or(|last| now >= last + 60 * u64::from(tries)));
                        tries += 1;
                        last = Some(now);
                    }
                }
            }
            prop_assert!(tries <= 2, "{} acts", tries);
            prop_assert!(agent.absence.ledger.incidents.len() <= 1);
        }
    }
}
