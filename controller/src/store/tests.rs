use super::*;

fn note(text: &str) -> Record {
    Record::Noted {
        node: None,
        incident: None,
        text: text.into(),
        unwritten_secs: 0,
    }
}

async fn fill(store: &Store, count: usize) {
    let records = (0..count)
        .map(|n| note(&format!("{n} {}", "x".repeat(200))))
        .collect();
    store.append(Tick(1), records).await.unwrap();
}

#[tokio::test]
async fn entries_come_back_in_order_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    {
        let opened = Store::open(dir.path()).unwrap();
        opened
            .store
            .append(Tick(5), vec![note("a"), note("b")])
            .await
            .unwrap();
        opened.store.append(Tick(6), vec![note("c")]).await.unwrap();
    }
    let opened = reopen(dir.path()).await;
    assert_eq!((opened.ledger.sequence, opened.last_at), (3, Tick(6)));
    let entries = opened.store.read(1, 10, None).await.unwrap();
    assert_eq!(
        entries.iter().map(|e| e.sequence).collect::<Vec<_>>(),
        [2, 3]
    );
}

/// The writer's thread lets go of the lock a moment after its last sender is gone.
async fn reopen(path: &Path) -> Opened {
    loop {
        match Store::open(path) {
            Ok(opened) => return opened,
            Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_second_controller_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("another controller") && error.contains("stop it first"),
        "{error}"
    );
}

#[tokio::test]
async fn a_torn_journal_stops_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    {
        let opened = Store::open(dir.path()).unwrap();
        fill(&opened.store, 2_000).await;
    }
    drop(reopen(dir.path()).await);
    let path = dir.path().join("journal.sqlite");
    {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "wal_checkpoint", "TRUNCATE")
            .unwrap();
    }
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size > 16_384, "the journal is in its main file");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(size / 2)
        .unwrap();
    let error = loop {
        match Store::open(dir.path()) {
            Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => break error.to_string(),
            Ok(_) => panic!("a torn journal was opened"),
        }
    };
    assert!(
        error.contains("damaged") && error.contains("move it aside"),
        "{error}"
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("schema 99") && error.contains("newer controller"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_and_can_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Store::open(dir.path()).unwrap();
    let mut stream = opened.store.subscribe();
    fill(&opened.store, STREAM_LAG_MAX + 10).await;
    let told = stream.recv().await;
    assert!(
        matches!(told, Err(broadcast::error::RecvError::Lagged(_))),
        "{told:?}"
    );
    assert_eq!(opened.store.read(0, 3, None).await.unwrap().len(), 3);
}

/// A journal as the first schema had it.
fn old_journal(dir: &Path, entries: usize) {
    let connection = rusqlite::Connection::open(dir.join("journal.sqlite")).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE entries (sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, incident TEXT, node TEXT, record TEXT NOT NULL) STRICT;
             CREATE INDEX entries_incident ON entries (incident, sequence) WHERE incident IS NOT NULL;
             PRAGMA user_version = 1;",
        )
        .unwrap();
    for sequence in 1..=entries {
        let record = serde_json::to_string(&note("old")).unwrap();
        connection
            .execute(
                "INSERT INTO entries (sequence, at, record) VALUES (?1, 1, ?2)",
                rusqlite::params![i64::try_from(sequence).unwrap(), record],
            )
            .unwrap();
    }
}

#[tokio::test]
async fn an_old_journal_is_brought_up_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    old_journal(dir.path(), 3);
    let opened = Store::open(dir.path()).unwrap();
    assert_eq!(opened.ledger.sequence, 3);
    opened
        .store
        .append(Tick(2), vec![note("new")])
        .await
        .unwrap();
    assert_eq!(opened.store.read(0, 10, None).await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_entry_of_a_newer_version_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    {
        let opened = Store::open(dir.path()).unwrap();
        fill(&opened.store, 2).await;
    }
    drop(reopen(dir.path()).await);
    let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
    connection
        .execute("UPDATE entries SET version = 9 WHERE sequence = 2", [])
        .unwrap();
    drop(connection);
    let error = loop {
        match Store::open(dir.path()) {
            Err(StoreError::Locked { .. }) => tokio::task::yield_now().await,
            Err(error) => break crate::text::chain(&error),
            Ok(_) => panic!("it was guessed at"),
        }
    };
    assert!(
        error.contains("entry 2") && error.contains("newer program"),
        "{error}"
    );
}

/// A journal of incidents with a snapshot after `at` of `count` entries, and what all of it folds to.
async fn with_snapshot(dir: &Path, at: usize, count: usize) -> Ledger {
    let opened = Store::open(dir).unwrap();
    let mut ledger = opened.ledger;
    for n in 0..count {
        let node = iaso_engine::id::NodeName::new(format!("node-{n}")).unwrap();
        let record = Record::IncidentOpened {
            incident: iaso_engine::id::IncidentId(format!("node-{n}-{}", n + 1)),
            node,
            since: Tick(1),
            diagnosis: iaso_engine::record::Diagnosis::Isolated,
            evidence: Vec::new(),
        };
        let entries = opened
            .store
            .append(Tick(n as u64), vec![record])
            .await
            .unwrap();
        for entry in &entries {
            ledger.fold(entry).unwrap();
        }
        if n + 1 == at {
            let snapshot = Snapshot {
                ledger: ledger.clone(),
                operations: Operations::new(),
                last_at: Tick(n as u64),
            };
            opened.store.keep(snapshot).await.unwrap();
        }
    }
    ledger
}

#[tokio::test]
async fn a_snapshot_and_what_came_after_it_give_the_same_ledger_as_all_entries() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = with_snapshot(dir.path(), 20, 30).await;
    let opened = reopen(dir.path()).await;
    assert_eq!(opened.snapshot, 20);
    assert_eq!((opened.ledger, opened.last_at), (ledger, Tick(29)));
}

#[tokio::test]
async fn a_damaged_foreign_or_hurried_snapshot_is_passed_over_and_nothing_is_lost() {
    for harm in [
        "UPDATE snapshots SET body = substr(body, 1, length(body) - 3)",
        "UPDATE snapshots SET fingerprint = 'another program'",
        "UPDATE snapshots SET sequence = 10",
        "UPDATE snapshots SET sequence = 99",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = with_snapshot(dir.path(), 20, 30).await;
        drop(reopen(dir.path()).await);
        let connection = rusqlite::Connection::open(dir.path().join("journal.sqlite")).unwrap();
        assert_eq!(connection.execute(harm, []).unwrap(), 1);
        drop(connection);
        let opened = reopen(dir.path()).await;
        assert_eq!((opened.snapshot, opened.ledger), (0, ledger), "{harm}");
    }
}
