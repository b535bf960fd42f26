use super::service::Supervisor;
use std::time::Duration;

fn unit(root: &std::path::Path, name: &str, body: &str) {
    let directory = root.join("etc/systemd/system");
    std::fs::create_dir_all(&directory).expect("directory");
    std::fs::write(directory.join(name), body).expect("written");
}

#[tokio::test]
async fn a_unit_that_does_not_exist_is_not_found_until_it_is_written() {
    let root = tempfile::tempdir().expect("directory");
    let supervisor = Supervisor::new(root.path().to_path_buf());
    assert_eq!(
        supervisor.unit("a.service").status.borrow().load,
        "not-found"
    );
    unit(root.path(), "a.service", "[Service]\nExecStart=/bin/true\n");
    assert_eq!(supervisor.unit("a.service").status.borrow().load, "loaded");
}

#[tokio::test]
async fn stopping_what_does_not_run_is_done_at_once() {
    let root = tempfile::tempdir().expect("directory");
    unit(root.path(), "a.service", "[Service]\nExecStart=/bin/true\n");
    let supervisor = Supervisor::new(root.path().to_path_buf());
    let ended = supervisor
        .unit("a.service")
        .queue(super::service::Job::Stop);
    let result = tokio::time::timeout(Duration::from_secs(5), ended)
        .await
        .expect("in time");
    assert_eq!(result.expect("a result"), "done");
}
