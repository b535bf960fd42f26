use super::*;

fn note(text: &str) -> Record {
    Record::Noted {
        node: None,
        incident: None,
        text: text.into(),
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
