use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn open(path: &Path) -> Outbox {
    Outbox::open(path, Limits::default()).expect("the outbox opens")
}

fn say(text: &str) -> impl FnOnce(u64) -> Vec<u8> {
    let text = text.to_owned();
    move |sequence| format!("{sequence}:{text}").into_bytes()
}

fn sequences(outbox: &Outbox) -> Vec<u64> {
    outbox
        .after(0, usize::MAX)
        .map(|record| record.sequence)
        .collect()
}

#[test]
fn what_was_not_acknowledged_is_there_after_a_restart() {
    let root = tempfile::tempdir().expect("temporary directory");
    let path = root.path().join("outbox.log");
    let mut outbox = open(&path);
    for text in ["a", "b", "c"] {
        outbox.append(Kind::Durable, say(text)).expect("append");
    }
    outbox.ack(1).expect("ack");
    drop(outbox);
    let mut outbox = open(&path);
    assert_eq!(sequences(&outbox), [2, 3]);
    assert_eq!(
        outbox.append(Kind::Sample, say("d")).expect("append"),
        4,
        "sequences go on"
    );
}

#[test]
fn sequences_go_on_after_everything_was_acknowledged_and_the_file_was_rewritten() {
    let root = tempfile::tempdir().expect("temporary directory");
    let path = root.path().join("outbox.log");
    let mut outbox = open(&path);
    for _ in 0..40 {
        outbox
            .append(Kind::Durable, |_| vec![0; 8 << 10])
            .expect("append");
    }
    outbox.ack(40).expect("ack");
    let size = std::fs::metadata(&path).expect("metadata").len();
    assert!(
        size < 1 << 10,
        "acknowledged entries stay on disk: {size} bytes"
    );
    drop(outbox);
    assert_eq!(
        open(&path).append(Kind::Durable, say("x")).expect("append"),
        41
    );
}

#[test]
fn a_flood_of_samples_drops_the_oldest_samples_and_no_outcome() {
    let root = tempfile::tempdir().expect("temporary directory");
    let path = root.path().join("outbox.log");
    let limits = Limits {
        samples: 10,
        sample_bytes: 4 << 10,
    };
    let mut outbox = Outbox::open(&path, limits).expect("open");
    outbox
        .append(Kind::Durable, say("outcome"))
        .expect("append");
    for _ in 0..2_000 {
        outbox
            .append(Kind::Sample, |_| vec![1; 200])
            .expect("append");
    }
    assert_eq!(outbox.len(), 11);
    assert_eq!(outbox.dropped(), 1_990);
    assert_eq!(sequences(&outbox).first(), Some(&1));
    let size = std::fs::metadata(&path).expect("metadata").len();
    assert!(size < 256 << 10, "the file grows without end: {size} bytes");
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_forgets_nothing_that_comes_later() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut outbox = open(&root.path().join("outbox.log"));
    outbox.ack(u64::MAX).expect("ack");
    outbox.append(Kind::Durable, say("a")).expect("append");
    assert_eq!(sequences(&outbox), [1]);
}

#[test]
fn an_entry_larger_than_a_message_is_refused() {
    let root = tempfile::tempdir().expect("temporary directory");
    let mut outbox = open(&root.path().join("outbox.log"));
    let refused = outbox.append(Kind::Durable, |_| vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert!(matches!(refused, Err(OutboxError::TooLarge { .. })));
    assert!(outbox.is_empty());
}

#[test]
fn what_a_torn_tail_held_is_put_aside_and_what_comes_after_is_readable() {
    let root = tempfile::tempdir().expect("temporary directory");
    let path = root.path().join("outbox.log");
    let mut outbox = open(&path);
    outbox.append(Kind::Durable, say("whole")).expect("append");
    drop(outbox);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes.extend_from_slice(b"\x05\x00\x00\x00torn");
    std::fs::write(&path, bytes).expect("write");
    let mut outbox = open(&path);
    outbox.append(Kind::Durable, say("later")).expect("append");
    drop(outbox);
    assert_eq!(sequences(&open(&path)), [1, 2]);
    assert!(root.path().join("outbox.log.torn").exists());
}

#[derive(Debug, Clone)]
enum Step {
    Sample(u8),
    Durable(u8),
    Ack(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        any::<u8>().prop_map(Step::Sample),
        any::<u8>().prop_map(Step::Durable),
        (0u64..12).prop_map(Step::Ack),
        Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Planted bugs it catches: no truncation before the next append after a torn write; an `Acked` record that is replayed before the
    /// entries it covers; a `Base` that is forgotten by the rewrite (sequences handed out twice).
    #[test]
    fn a_crash_at_any_byte_loses_no_outcome_whose_append_had_returned(steps in steps()) {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join("outbox.log");
        let mut outbox = open(&path);
        // After each step: how long the file was, which durable entries had to be there, and the highest sequence given out.
        let mut durable = BTreeSet::new();
        let mut history = vec![(outbox.good, durable.clone(), 0)];
        for step in steps {
            match step {
                Step::Sample(byte) => { outbox.append(Kind::Sample, |_| vec![byte]).expect("append"); }
                Step::Durable(byte) => { durable.insert(outbox.append(Kind::Durable, |_| vec![byte]).expect("append")); }
                Step::Ack(sequence) => {
                    outbox.ack(sequence).expect("ack");
                    durable.retain(|owed| *owed > sequence);
                }
                Step::Reopen => outbox = open(&path),
            }
            history.push((outbox.good, durable.clone(), outbox.next - 1));
        }
        drop(outbox);
        let bytes = std::fs::read(&path).expect("read");
        // Before that length the file was made in one step: no crash leaves less.
        let first = usize::try_from(history[0].0).expect("small");
        for cut in first..=bytes.len() {
            let torn = root.path().join("torn.log");
            std::fs::write(&torn, &bytes[..cut]).expect("write");
            let mut again = open(&torn);
            let there: BTreeSet<u64> = sequences(&again).into_iter().collect();
            let (_, owed, highest) = history.iter().rfind(|(good, _, _)| *good <= cut as u64).expect("the start");
            prop_assert!(owed.iter().all(|sequence| there.contains(sequence) || again.acked >= *sequence));
            prop_assert!(again.acked > 0 || owed.is_subset(&there), "cut at {}: {:?} lacks {:?}", cut, there, owed);
            let next = again.append(Kind::Durable, |_| vec![9]).expect("append after a crash");
            prop_assert!(next > *highest, "sequence {} was given out before", next);
        }
    }
}
