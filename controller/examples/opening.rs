//! How long a journal takes to open, without a snapshot and with one: `cargo run --release -p iaso-controller --example opening -- 1000000`.

use anyhow::Context as _;
use iaso_controller::store::{Opened, Operations, Snapshot, Store, StoreError};
use iaso_engine::id::{IncidentId, NodeName};
use iaso_engine::record::{Closing, Diagnosis, Entry, Record, Waiting};
use iaso_engine::time::Tick;
use std::path::Path;
use std::time::{Duration, Instant};

/// Entries of one incident: opened, told what it waits for again and again, verified, closed.
const OF_ONE: u64 = 100;
const BATCH: u64 = 1_000;

fn record(n: u64) -> anyhow::Result<Record> {
    let (of, place) = (n / OF_ONE, n % OF_ONE);
    let node = format!("node-{}", of % 10);
    let incident = IncidentId(format!("{node}-{of}"));
    Ok(match place {
        0 => Record::IncidentOpened {
            incident,
            node: NodeName::new(node)?,
            since: Tick(n),
            diagnosis: Diagnosis::Isolated,
            evidence: vec!["nobody reaches it".into()],
        },
        98 => Record::Verifying {
            incident,
            why: "every channel says that it is well".into(),
        },
        99 => Record::Closed {
            incident,
            closing: Closing::RecoveredByItself,
            verified: Vec::new(),
        },
        _ => Record::WaitingChanged {
            incident,
            waiting: vec![Waiting::Quorum {
                have: u32::try_from(place)?,
                need: 2,
            }],
        },
    })
}

fn timed(dir: &Path) -> anyhow::Result<(Duration, Opened)> {
    loop {
        let begun = Instant::now();
        match Store::open(dir) {
            Ok(opened) => return Ok((begun.elapsed(), opened)),
            // The writer of the one before lets go a moment later.
            Err(StoreError::Locked { .. }) => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count: u64 = match std::env::args().nth(1) {
        Some(count) => count.parse().context("the number of entries")?,
        None => 100_000,
    };
    let dir = std::env::temp_dir().join(format!("iaso-opening-{}", std::process::id()));
    let outcome = measure(&dir, count).await;
    std::fs::remove_dir_all(&dir)?;
    outcome
}

async fn measure(dir: &Path, count: u64) -> anyhow::Result<()> {
    let mut opened = timed(dir)?.1;
    for from in (0..count).step_by(usize::try_from(BATCH)?) {
        let records = (from..count.min(from + BATCH))
            .map(record)
            .collect::<anyhow::Result<_>>()?;
        let entries: Vec<Entry> = opened.store.append(Tick(from), records).await?;
        for entry in &entries {
            opened.ledger.fold(entry)?;
        }
    }
    drop(opened);
    let (without, opened) = timed(dir)?;
    let bytes = std::fs::metadata(dir.join("journal.sqlite"))?.len();
    println!("{count} entries, {} MiB", bytes >> 20);
    println!("opening without a snapshot: {} ms", without.as_millis());
    let snapshot = Snapshot {
        ledger: opened.ledger.clone(),
        operations: Operations::new(),
        last_at: opened.last_at,
    };
    opened.store.keep(snapshot).await?;
    let ledger = opened.ledger;
    drop(opened.store);
    let (with, opened) = timed(dir)?;
    anyhow::ensure!(opened.ledger == ledger && opened.snapshot == count);
    println!("opening with a snapshot: {} ms", with.as_millis());
    Ok(())
}
