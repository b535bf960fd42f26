//! The moment before something is written down, in a night that was told to its end.

use super::Night;
use iaso_engine::ledger::Ledger;
use iaso_engine::record::Record;

/// Runs a night to its end, and keeps every moment at which something was written down.
pub fn tell(mut night: Night, seconds: u64) -> Night {
    night.snapshots = Some(Vec::new());
    night.until_closed(seconds)
}

/// The night at the moment before the first such record is written down, and the record.
pub fn before(night: &Night, wanted: impl Fn(&Record) -> bool) -> (Night, Record) {
    let at = night.entries.iter().position(|e| wanted(&e.record));
    let at = at.expect("the night has this record");
    let snapshots = night.snapshots.iter().flatten();
    let mut later = snapshots.filter(|s| s.entries.len() > at);
    let mut then = later.next().expect("one was taken").clone();
    let record = then.entries[at].record.clone();
    then.entries.truncate(at);
    then.ledger = fold(&then);
    (then, record)
}

pub fn intends(action: &str) -> impl Fn(&Record) -> bool {
    move |r| matches!(r, Record::Intended { effect } if effect.action.name() == action)
}

fn fold(night: &Night) -> Ledger {
    let mut ledger = Ledger::default();
    for entry in &night.entries {
        ledger.fold(entry).expect("the entries follow each other");
    }
    ledger
}
