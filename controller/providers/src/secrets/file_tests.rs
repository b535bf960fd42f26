//! The file store against crashes, damage, and other users.

use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

fn key() -> SecretKey {
    "styx.root-password".parse().expect("a valid key")
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn opened() -> (TempDir, PathBuf, FileStore) {
    let parent = tempfile::tempdir().expect("a directory can be made");
    let root = parent.path().join("secrets");
    let store = FileStore::open(&root).expect("a new directory is safe");
    (parent, root, store)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the mode can be set");
}

#[tokio::test]
async fn a_pending_password_reads_back_from_disk_and_only_its_owner_can_read_it() {
    let (_parent, root, store) = opened();
    let version = store
        .store_pending(&key(), &secret("s3cret"))
        .await
        .expect("stored");
    let again = FileStore::open(&root).expect("the directory is still safe");
    assert!(
        again
            .read_back(&key(), &version)
            .await
            .expect("read back")
            .same_as(&secret("s3cret"))
    );
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("styx.root-password")), 0o700);
    assert_eq!(mode(&store.secret_file(&key(), &version)), 0o600);
    let versions = store.versions(&key()).await.expect("listed");
    assert_eq!(
        versions,
        Versions {
            pending: vec![version],
            ..Versions::default()
        }
    );
}

#[tokio::test]
async fn promoting_keeps_the_previous_and_drops_the_one_before() {
    let (_parent, _root, store) = opened();
    let mut stored = Vec::new();
    for text in ["one", "two", "three"] {
        let version = store
            .store_pending(&key(), &secret(text))
            .await
            .expect("stored");
        store.promote(&key(), &version).await.expect("promoted");
        store
            .promote(&key(), &version)
            .await
            .expect("promoting again changes nothing");
        stored.push(version);
    }
    let versions = store.versions(&key()).await.expect("listed");
    assert_eq!(versions.current.as_ref(), stored.get(2));
    assert_eq!(versions.previous.as_ref(), stored.get(1));
    assert!(versions.pending.is_empty());
    let first = stored.first().expect("three were stored");
    assert!(matches!(
        store.read_back(&key(), first).await,
        Err(SecretError::Missing { .. })
    ));
}

#[tokio::test]
async fn only_a_pending_version_can_be_discarded() {
    let (_parent, _root, store) = opened();
    let used = store
        .store_pending(&key(), &secret("used"))
        .await
        .expect("stored");
    store.promote(&key(), &used).await.expect("promoted");
    assert!(matches!(
        store.discard(&key(), &used).await,
        Err(SecretError::Refused { .. })
    ));
    let unused = store
        .store_pending(&key(), &secret("unused"))
        .await
        .expect("stored");
    store.discard(&key(), &unused).await.expect("discarded");
    store
        .discard(&key(), &unused)
        .await
        .expect("discarding again changes nothing");
    assert!(matches!(
        store.read_back(&key(), &unused).await,
        Err(SecretError::Missing { .. })
    ));
    assert!(store.read_back(&key(), &used).await.is_ok());
}

#[tokio::test]
async fn a_crash_while_writing_leaves_no_version_and_is_cleared_by_the_next_write() {
    let (_parent, root, store) = opened();
    let kept = store
        .store_pending(&key(), &secret("kept"))
        .await
        .expect("stored");
    let half = root
        .join("styx.root-password")
        .join(format!("{UNFINISHED}0000000000001-00.secret"));
    fs::write(&half, br#"{"version":"0000000000001-00","sec"#).expect("planted");
    assert_eq!(
        store.versions(&key()).await.expect("listed").pending,
        vec![kept]
    );
    store
        .store_pending(&key(), &secret("next"))
        .await
        .expect("stored");
    assert!(!half.exists());
}

#[tokio::test]
async fn a_damaged_file_is_never_taken_for_a_password() {
    let (_parent, _root, store) = opened();
    let version = store
        .store_pending(&key(), &secret("s3cret"))
        .await
        .expect("stored");
    let path = store.secret_file(&key(), &version);
    let whole = fs::read(&path).expect("it is there");
    for length in 0..whole.len() {
        fs::write(&path, whole.get(..length).unwrap_or_default()).expect("cut short");
        let read = store.read_back(&key(), &version).await;
        assert!(
            matches!(read, Err(SecretError::Damaged { .. })),
            "{length} bytes were taken for the whole"
        );
        assert!(matches!(
            store.promote(&key(), &version).await,
            Err(SecretError::Damaged { .. })
        ));
    }
    let other = String::from_utf8_lossy(&whole).replace(version.as_str(), "0000000000001-00");
    fs::write(&path, other).expect("another version's content");
    assert!(matches!(
        store.read_back(&key(), &version).await,
        Err(SecretError::Damaged { .. })
    ));
}

#[tokio::test]
async fn damaged_roles_are_said_and_nothing_is_promoted_over_them() {
    let (_parent, root, store) = opened();
    let version = store
        .store_pending(&key(), &secret("s3cret"))
        .await
        .expect("stored");
    let roles = root.join("styx.root-password").join(ROLES);
    fs::write(&roles, b"{\"curr").expect("planted");
    set_mode(&roles, 0o600);
    assert!(matches!(
        store.promote(&key(), &version).await,
        Err(SecretError::Damaged { .. })
    ));
    assert!(
        store.read_back(&key(), &version).await.is_ok(),
        "the secret itself is still readable"
    );
}

#[tokio::test]
async fn a_directory_that_others_can_reach_is_refused_at_open_and_later() {
    let (_parent, root, store) = opened();
    let version = store
        .store_pending(&key(), &secret("s3cret"))
        .await
        .expect("stored");
    set_mode(&root, 0o750);
    let refused = FileStore::open(&root).expect_err("others can read it");
    assert!(refused.to_string().contains("chmod 700"), "{refused}");
    assert!(matches!(
        store.store_pending(&key(), &secret("x")).await,
        Err(SecretError::Unsafe { .. })
    ));
    assert!(matches!(
        store.health().await,
        Err(SecretError::Unsafe { .. })
    ));
    set_mode(&root, 0o700);
    set_mode(&store.secret_file(&key(), &version), 0o644);
    assert!(matches!(
        store.read_back(&key(), &version).await,
        Err(SecretError::Unsafe { .. })
    ));
}

#[tokio::test]
async fn symlinks_are_refused_for_the_directory_and_for_its_files() {
    let (parent, root, store) = opened();
    let link = parent.path().join("link");
    symlink(&root, &link).expect("linked");
    assert!(matches!(
        FileStore::open(&link),
        Err(SecretError::Unsafe { .. })
    ));
    let version = store
        .store_pending(&key(), &secret("s3cret"))
        .await
        .expect("stored");
    let path = store.secret_file(&key(), &version);
    let elsewhere = parent.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("moved");
    symlink(&elsewhere, &path).expect("linked");
    assert!(matches!(
        store.read_back(&key(), &version).await,
        Err(SecretError::Unsafe { .. })
    ));
    fs::remove_dir_all(root.join("styx.root-password")).expect("removed");
    symlink(parent.path(), root.join("styx.root-password")).expect("linked");
    assert!(matches!(
        store.store_pending(&key(), &secret("x")).await,
        Err(SecretError::Unsafe { .. })
    ));
    assert!(matches!(
        store.read_back(&key(), &version).await,
        Err(SecretError::Unsafe { .. })
    ));
}

#[tokio::test]
async fn a_file_in_place_of_the_directory_is_refused() {
    let parent = tempfile::tempdir().expect("a directory can be made");
    let path = parent.path().join("secrets");
    fs::write(&path, b"").expect("planted");
    assert!(matches!(
        FileStore::open(&path),
        Err(SecretError::Unsafe { .. })
    ));
}

#[tokio::test]
async fn passwords_that_pile_up_unpromoted_are_said_and_never_deleted() {
    let (_parent, _root, store) = opened();
    for _ in 0..PENDING_MAX {
        store
            .store_pending(&key(), &secret("x"))
            .await
            .expect("stored");
    }
    let refused = store
        .store_pending(&key(), &secret("x"))
        .await
        .expect_err("too many");
    assert!(
        refused.to_string().contains("promote or discard"),
        "{refused}"
    );
    assert_eq!(
        store.versions(&key()).await.expect("listed").pending.len(),
        PENDING_MAX
    );
}

#[tokio::test]
async fn a_healthy_store_says_so_and_leaves_nothing_behind() {
    let (_parent, root, store) = opened();
    store.health().await.expect("healthy");
    assert_eq!(fs::read_dir(&root).expect("listed").count(), 0);
    fs::remove_dir(&root).expect("removed");
    assert!(matches!(
        store.health().await,
        Err(SecretError::Storage { .. })
    ));
}

#[tokio::test]
async fn an_empty_or_huge_secret_is_refused() {
    let (_parent, _root, store) = opened();
    for text in [String::new(), "x".repeat(SECRET_BYTES_MAX + 1)] {
        let stored = store.store_pending(&key(), &Secret::new(text)).await;
        assert!(matches!(stored, Err(SecretError::Refused { .. })));
    }
    let longest = Secret::new("\u{1}".repeat(SECRET_BYTES_MAX));
    let version = store
        .store_pending(&key(), &longest)
        .await
        .expect("the longest fits, every byte escaped");
    assert!(
        store
            .read_back(&key(), &version)
            .await
            .expect("read back")
            .same_as(&longest)
    );
}
