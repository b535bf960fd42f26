use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("agent.toml"), &Overrides::default())
}

/// The text of the error must hold each of these.
fn refused(text: &str, needles: &[&str]) {
    let error = parse(text).expect_err("must be refused").to_string();
    for needle in needles {
        assert!(error.contains(needle), "`{error}` lacks `{needle}`");
    }
}

#[test]
fn the_whole_file_of_the_contract_is_read() {
    let text = r#"
node = "styx"
controller = "https://10.0.0.9:7443"
join_token_file = "/etc/iaso/join.token"
state_dir = "/var/lib/iaso"
status_listen = "127.0.0.1:9464"
probe_listen = "127.0.0.1:7444"
probe_advertise = "10.0.0.7:7444"
dbus_address = "unix:path=/run/dbus/system_bus_socket"
journalctl = "/usr/bin/journalctl"
kubeconfig = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"
compiler = "/usr/local/bin/iaso-compile"
resolv_conf = "/etc/resolv.conf"
[session]
reconnect_max_ms = 2000
[scripts]
k3s-killall = "/usr/local/bin/k3s-killall.sh"
[[plugins]]
name = "k3s-agent"
path = "k3s-agent.wasm"
interval_secs = 30
timeout_ms = 10000
config = { unit = "k3s-agent.service" }
grants = { check = { host = true } }
"#;
    let config = parse(text).expect("the contract's own example");
    assert_eq!(config.session.reconnect_max(), Duration::from_secs(2));
    assert!(config.plugins[0].grants.check.host && !config.plugins[0].grants.fix.host);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    refused(
        "node = \"styx\"\ncontroler = \"http://127.0.0.1:1\"\n",
        &["agent.toml:2", "controler"],
    );
    refused(
        "[[plugins]]\nname = \"a\"\npath = \"a\"\ninterval = 3\n",
        &["agent.toml:4", "interval"],
    );
}

#[test]
fn a_value_that_cannot_be_used_is_named_with_its_line_and_what_to_do() {
    refused(
        "status_listen = \"0.0.0.0:9464\"",
        &["agent.toml:1", "status_listen", "--insecure", "127.0.0.1"],
    );
    refused(
        "\nprobe_listen = \"nonsense\"",
        &["agent.toml:2", "probe_listen", "127.0.0.1:9464"],
    );
    refused("node = \"Styx!\"", &["agent.toml:1", "node"]);
    for url in ["http://127.0.0.1:7443", "https://10.0.0.1"] {
        refused(
            &format!("controller = \"{url}\""),
            &["agent.toml:1", url, "https://HOST:PORT", "TLS"],
        );
    }
    refused(
        "[session]\nreconnect_max_ms = 1",
        &["agent.toml:2", "reconnect_max_ms"],
    );
    refused(
        "[scripts]\nk3s-killall = \"killall.sh\"",
        &["agent.toml:2", "absolute"],
    );
}

#[test]
fn said_aloud_another_address_is_taken_and_flags_go_before_the_file() {
    let flags = Overrides {
        insecure: true,
        node: Some("tethys".into()),
        ..Overrides::default()
    };
    let config = Config::parse(
        "node = \"styx\"\nstatus_listen = \"0.0.0.0:9464\"",
        Path::new("f"),
        &flags,
    )
    .expect("insecure");
    assert_eq!(
        (
            config.node.as_str(),
            config.status_listen.map(|at| at.port())
        ),
        ("tethys", Some(9464))
    );
}

#[test]
fn the_probe_port_is_for_other_machines_and_needs_no_word() {
    let config = parse("probe_listen = \"0.0.0.0:7444\"").expect("good");
    assert_eq!(config.probe_advertise.as_deref(), Some("0.0.0.0:7444"));
}

#[test]
fn a_join_token_lies_in_the_state_directory_unless_it_is_said_otherwise() {
    let config = parse("state_dir = \"/s\"").expect("good");
    assert_eq!(config.join_token_file, Path::new("/s/join.token"));
    let root = tempfile::tempdir().expect("temporary directory");
    let path = root.path().join("join.token");
    assert!(matches!(secret(&path), Ok(None)));
    std::fs::write(&path, "secret\n").expect("write");
    assert_eq!(secret(&path).expect("read").as_deref(), Some("secret"));
}

#[test]
fn a_plugin_that_is_there_twice_is_refused() {
    let one = "[[plugins]]\nname = \"a\"\npath = \"a.wasm\"\n";
    refused(&one.repeat(2), &["`a` is there twice"]);
}

#[test]
fn plugins_run_in_a_process_of_their_own_unless_the_file_says_otherwise() {
    let runner = parse("").expect("all defaults").runner;
    assert_eq!((runner.mode, runner.uid), (RunnerMode::Process, 61_000));
    let runner = parse("[runner]\nmode = \"in-process\"\nmemory_mib = 512\n");
    let runner = runner.expect("it may").runner;
    assert_eq!(
        (runner.mode, runner.memory_mib),
        (RunnerMode::InProcess, 512)
    );
    refused("[runner]\nuid = 0\n", &["agent.toml:2", "not root's"]);
    refused(
        "[runner]\nmemory_mib = 8\n",
        &["agent.toml:2", "between 64 and"],
    );
    refused(
        "[runner]\nmode = \"thread\"\n",
        &["agent.toml:2", "in-process"],
    );
    refused("[runner]\nsandbox = false\n", &["agent.toml:2", "sandbox"]);
}
