//! A night is recorded while it happens, and its decisions come out again from the recording, bit for bit.

use crate::support::{Agent, STYX, agent, controller, operator};
use iaso_controller::identity::access::Role;
use iaso_controller::run::Running;
use iaso_engine::fact::{Observation, Severity};
use iaso_engine::policy::{Mode, Policy};
use iaso_engine::record::Rung;
use iaso_proto::v1;
use iaso_proto::v1::agent_message::Kind;
use iaso_proto::v1::controller_message::Kind as Down;
use iaso_providers::NoProvider;
use iaso_replay::backtest::{Judgement, backtest};
use iaso_replay::codec::{Lines, member};
use iaso_replay::line::Line;
use iaso_replay::replay::{Replay, Verdict, replay};
use std::path::Path;
use std::sync::Arc;

/// Short patience: the night takes seconds. Heartbeats come every 1 s.
const POLICY: &str = "[policy]\nconfirm_secs = 1\nverify_secs = 1\nfix_wait_secs = 5\n";

async fn running(dir: &Path) -> Running {
    controller(dir, &format!("{STYX}{POLICY}"), Arc::new(NoProvider)).await
}

pub(crate) async fn say(agent: &Agent, sequence: u64, severity: &str) {
    let finding = v1::Finding {
        code: "disk.full".into(),
        severity: severity.into(),
        subject: "/".into(),
        summary: "as told".into(),
        remedies: vec!["clean".into()],
        attributes: Vec::new(),
    };
    let report = v1::PluginReport {
        sequence,
        plugin: "disk".into(),
        findings: vec![finding],
        ..Default::default()
    };
    agent.say(Kind::Report(report)).await;
    agent.say(Kind::Heartbeat(v1::Heartbeat::default())).await;
}

/// The disk of styx fills up, its agent is told to clean it, does, and all is well again.
async fn night(running: &Running) -> String {
    let mut events = operator(running)
        .await
        .watch_events(v1::WatchEventsRequest {
            follow: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let mut agent = agent(running, "styx", "a").await;
    say(&agent, 1, "critical").await;
    let order = loop {
        if let Down::FixOrder(order) = agent.next().await.unwrap() {
            break order;
        }
    };
    let incident = order.order_id.rsplit_once('/').unwrap().0.to_owned();
    let outcome = v1::FixOutcome {
        sequence: 2,
        order_id: order.order_id,
        plugin: order.plugin,
        fix: order.fix,
        result: "fixed".into(),
        ..Default::default()
    };
    agent.say(Kind::FixOutcome(outcome)).await;
    say(&agent, 3, "ok").await;
    let beats = tokio::spawn(async move {
        for _ in 0..600 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            agent.say(Kind::Heartbeat(v1::Heartbeat::default())).await;
        }
    });
    loop {
        let event = events.message().await.unwrap().expect("it goes on");
        if event.incident == incident && event.json.contains("\"type\":\"closed\"") {
            break;
        }
    }
    beats.abort();
    incident
}

async fn recording(running: &Running, incident: &str) -> Vec<u8> {
    let request = v1::GetRecordingRequest {
        incident: incident.into(),
        since_unix_ms: 0,
    };
    let mut stream = operator(running)
        .await
        .get_recording(request)
        .await
        .unwrap()
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        assert!(chunk.data.len() <= 256 << 10);
        bytes.extend(chunk.data);
    }
    bytes
}

fn lines(bytes: &[u8]) -> Vec<Line> {
    Lines::new(bytes).map(Result::unwrap).collect()
}

/// The recording with some of its lines changed or taken out, replayed.
fn planted(bytes: &[u8], mut change: impl FnMut(&mut Line) -> bool) -> Replay {
    let mut lines = lines(bytes);
    lines.retain_mut(|line| change(line));
    replay(member(&lines).unwrap().as_slice()).unwrap()
}

#[tokio::test]
async fn a_night_is_reproduced_bit_for_bit_and_whatever_was_changed_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let running = running(dir.path()).await;
    let incident = night(&running).await;
    let bytes = recording(&running, &incident).await;
    let (agents, operators) = (
        crate::support::join_token(&running, "styx"),
        crate::support::token(&running, "nora", Role::Viewer),
    );
    running.stop().await;

    let whole = replay(bytes.as_slice()).unwrap();
    assert_eq!(whole.verdict, Verdict::Reproduced, "{whole:#?}");
    assert!(
        whole.records >= 8 && whole.decisions > 8 && whole.facts > 8,
        "{whole:#?}"
    );

    // The plugin's word is another one: the decision that rested on it is named.
    let other = planted(&bytes, |line| {
        if let Line::Seen { facts, .. } = line {
            for fact in facts {
                if let Observation::Report { findings, .. } = fact {
                    findings
                        .iter_mut()
                        .filter(|f| f.severity == Severity::Critical)
                        .for_each(|f| f.summary = "another summary".into());
                }
            }
        }
        true
    });
    assert_eq!(other.verdict, Verdict::Differs);
    let first = other.first.unwrap();
    assert!(first.place.starts_with("evidence["), "{first:#?}");
    assert!(first.replay_value.contains("another summary"), "{first:#?}");
    assert!(first.journal_value.contains("as told"), "{first:#?}");

    // A key that the recording's controller did not have: today's default decides otherwise, and is named.
    let other = planted(&bytes, |line| {
        if let Line::Setup(setup) = line {
            setup.policy.as_object_mut().unwrap().remove("confirm_secs");
        }
        true
    });
    assert_eq!(other.verdict, Verdict::Differs);
    assert!(
        other
            .notes
            .iter()
            .any(|n| n.contains("policy.confirm_secs") && n.contains("30")),
        "{other:#?}"
    );

    // Cut short, in every way.
    let cut = replay(&bytes[..bytes.len() - 40]).unwrap();
    assert_eq!(cut.verdict, Verdict::Incomplete, "{cut:#?}");
    let unseen = planted(&bytes, |line| {
        !matches!(
            line,
            Line::Chunk { .. } | Line::Base(_) | Line::Seen { .. } | Line::Decided(_)
        )
    });
    assert_eq!(unseen.verdict, Verdict::Incomplete);
    assert!(
        unseen
            .gaps
            .iter()
            .any(|gap| gap.contains("have no recorded decision")),
        "{unseen:#?}"
    );

    tried_with_other_policies(&bytes);

    let text = serde_json::to_string(&lines(&bytes)).unwrap();
    let secret = |token: &str| token.split('.').next_back().unwrap().to_owned();
    assert!(!text.contains(&secret(&agents)) && !text.contains(&secret(&operators)));
}

/// The same night under the same policy, one that only observes fixes, and one that is more patient.
fn tried_with_other_policies(bytes: &[u8]) {
    let recorded = lines(bytes).into_iter().find_map(|line| {
        if let Line::Setup(setup) = line {
            Some(setup.policy)
        } else {
            None
        }
    });
    let same: Policy = serde_json::from_value(recorded.unwrap()).unwrap();
    let judge = |policy: &Policy| {
        let found = backtest(bytes, policy).unwrap();
        let rows = found.rows.iter();
        let said: Vec<_> = rows.map(|row| (row.rung.clone(), row.judgement)).collect();
        (said, found)
    };
    let clean = Rung::Fix("disk/clean".into());
    let (said, found) = judge(&same);
    assert_eq!(said, [(clean.clone(), Judgement::Same)], "{found:#?}");
    assert!(found.gaps.is_empty() && found.vetoes == 0, "{found:#?}");
    let (said, found) = judge(&Policy {
        fix: Mode::Observe,
        ..same.clone()
    });
    assert_eq!(said, [(clean.clone(), Judgement::Missed)], "{found:#?}");
    // It was well before an hour of patience was over: nothing would be done.
    let (said, found) = judge(&Policy {
        confirm_secs: 3_600,
        ..same
    });
    assert_eq!(said, [(clean, Judgement::Missed)], "{found:#?}");
    assert!(!found.limits.is_empty());
}

#[tokio::test]
async fn observe_mode_keeps_the_score_of_what_it_would_have_done() {
    let dir = tempfile::tempdir().unwrap();
    let more = format!("{STYX}{POLICY}fix = \"observe\"\n");
    let running = controller(dir.path(), &more, Arc::new(NoProvider)).await;
    let mut operator = operator(&running).await;
    let mut events = operator
        .watch_events(v1::WatchEventsRequest {
            follow: true,
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    let agent = agent(&running, "styx", "a").await;
    say(&agent, 1, "critical").await;
    let incident = loop {
        let event = events.message().await.unwrap().expect("it goes on");
        if event.json.contains("\"type\":\"would-have\"") {
            break event.incident;
        }
    };
    let request = v1::ExplainRequest {
        node: "styx".into(),
    };
    let explained = operator.explain(request).await.unwrap().into_inner();
    assert!(
        explained.would_have[0].contains("fix disk/clean")
            && explained.would_have[0].contains("open"),
        "{explained:?}"
    );
    say(&agent, 2, "ok").await;
    let beats = tokio::spawn(async move {
        for _ in 0..600 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            agent.say(Kind::Heartbeat(v1::Heartbeat::default())).await;
        }
    });
    loop {
        let event = events.message().await.unwrap().expect("it goes on");
        if event.json.contains("\"type\":\"closed\"") {
            break;
        }
    }
    beats.abort();
    let request = v1::GetReportRequest {
        id: incident,
        format: "md".into(),
    };
    let report = operator.get_report(request).await.unwrap().into_inner();
    running.stop().await;
    assert!(
        report
            .body
            .contains("fix disk/clean: false, it was well again by itself"),
        "{}",
        report.body
    );
}

#[tokio::test]
async fn a_killed_controller_leaves_a_cut_recording_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = running(dir.path()).await;
    let mut agent = agent(&first, "styx", "a").await;
    say(&agent, 1, "critical").await;
    let incident = loop {
        if let Down::FixOrder(order) = agent.next().await.unwrap() {
            break order.order_id.rsplit_once('/').unwrap().0.to_owned();
        }
    };
    // What is on the disk now is what a killed controller leaves.
    let before = replay(recording(&first, &incident).await.as_slice()).unwrap();
    assert_eq!(before.verdict, Verdict::Reproduced, "{before:#?}");
    first.kill();
    let second = running(dir.path()).await;
    let bytes = recording(&second, &incident).await;
    second.stop().await;
    let after = replay(bytes.as_slice()).unwrap();
    assert_eq!(after.recordings, 2, "{after:#?}");
    assert!(
        after
            .notes
            .iter()
            .any(|note| note.contains("ends where its controller ended")),
        "{after:#?}"
    );
    assert_ne!(after.verdict, Verdict::Differs, "{after:#?}");
}
