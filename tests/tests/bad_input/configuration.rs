//! Configurations that cannot be meant, files that cannot be read, ports that cannot be had.

use crate::setup::{
    FREE, NODES, agent_config, controller_config, controller_config_at, run, skipped,
};
use anyhow::Result;
use std::net::TcpListener;
use std::path::Path;

fn write(dir: &Path, name: &str, text: &str) -> Result<String> {
    std::fs::write(dir.join(name), text)?;
    Ok(dir.join(name).display().to_string())
}

/// The controller's configuration with a key replaced or added, `run` and `check`ed.
async fn controller_refuses(config: &str, said: &[&str]) -> Result<()> {
    for command in ["run", "check"] {
        let ran = run("iaso-controller", &[command, "--config", config]).await?;
        ran.assert(1, said);
    }
    Ok(())
}

async fn agent_refuses(config: &str, said: &[&str]) -> Result<()> {
    for command in ["run", "check-config"] {
        let ran = run("iaso-agent", &[command, "--config", config]).await?;
        ran.assert(2, said);
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_key_is_shown_where_it_stands_and_how_to_mend_it() -> Result<()> {
    if skipped("unknown keys")? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let config = write(
        dir.path(),
        "controller.toml",
        &controller_config("lisen = \"127.0.0.1:1\"\n"),
    )?;
    let known = "remove the key, or correct its spelling";
    controller_refuses(
        &config,
        &[
            &config,
            "line 5",
            "unknown field `lisen`",
            "`listen`",
            known,
        ],
    )
    .await?;
    let policy = controller_config("[policy]\nreboots_per_dya = 1\n");
    let config = write(dir.path(), "policy.toml", &policy)?;
    let said = [
        "unknown field `reboots_per_dya`",
        "`reboots_per_day`",
        known,
    ];
    controller_refuses(&config, &said).await?;
    let config = write(
        dir.path(),
        "agent.toml",
        "node = \"styx\"\nstat_dir = \"/x\"\n",
    )?;
    agent_refuses(
        &config,
        &[
            &format!("{config}:2: unknown field `stat_dir`"),
            "`state_dir`",
            known,
        ],
    )
    .await
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_with_what_to_do() -> Result<()> {
    if skipped("unreadable files")? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (missing, directory) = (
        dir.path().join("none.toml").display().to_string(),
        dir.path().display().to_string(),
    );
    for file in [&missing, &directory] {
        let said = ["cannot read the configuration", file, "check the path"];
        controller_refuses(file, &said).await?;
    }
    agent_refuses(&missing, &[&missing, "there is no such file", "--once"]).await?;
    agent_refuses(
        &directory,
        &[&directory, "Is a directory", "check the path"],
    )
    .await?;

    let kubeconfig = controller_config("[cluster]\nkubeconfig = \"none\"\n");
    let config = write(dir.path(), "cluster.toml", &kubeconfig)?;
    let said = ["cluster.kubeconfig", "cannot be read", "check the path"];
    controller_refuses(&config, &said).await?;

    // Others may read the authority's key: nothing is served with it.
    let config = write(dir.path(), "exposed.toml", &controller_config(NODES))?;
    let made = ["join-token", "styx", "--config", &config];
    run("iaso-controller", &made).await?.assert(0, &[]);
    let key = dir.path().join("data/ca.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    let ran = run("iaso-controller", &["run", "--config", &config]).await?;
    ran.assert(1, &["ca.key", "chmod 0600"]);
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_or_refused_is_named_with_its_key_and_why() -> Result<()> {
    if skipped("ports")? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let _holder = TcpListener::bind(taken)?;
    let (taken, foreign) = (taken.to_string(), "192.0.2.1:7999");
    let in_use = "ss -ltnp";
    for (at, why) in [(taken.as_str(), in_use), (foreign, "ip address")] {
        for (key, both) in [("listen", [at, FREE]), ("status_listen", [FREE, at])] {
            let text = controller_config_at(both, "");
            let config = write(dir.path(), "controller.toml", &text)?;
            let arguments = ["run", "--insecure", "--config", &config];
            let ran = run("iaso-controller", &arguments).await?;
            ran.assert(1, &[&format!("{key} = {at}"), why]);
        }
    }
    for key in ["status_listen", "probe_listen"] {
        for (at, why) in [(taken.as_str(), in_use), (foreign, "ip address")] {
            let state = dir.path().join("state").display().to_string();
            let text = format!("node = \"styx\"\nstate_dir = \"{state}\"\n{key} = \"{at}\"\n");
            let config = write(dir.path(), "agent.toml", &text)?;
            let ran = run("iaso-agent", &["run", "--insecure", "--config", &config]).await?;
            ran.assert(2, &[key, at, why]);
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_other_machines_can_reach_needs_insecure_said_aloud() -> Result<()> {
    if skipped("listeners")? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let open = "0.0.0.0:0";
    let text = controller_config_at([FREE, open], "");
    let config = write(dir.path(), "controller.toml", &text)?;
    let said = [
        "status_listen",
        "is not a loopback address",
        "127.0.0.1",
        "--insecure",
    ];
    controller_refuses(&config, &said).await?;
    // What speaks TLS and asks who calls may listen anywhere.
    let text = controller_config_at([open, FREE], "");
    let config = write(dir.path(), "open.toml", &text)?;
    run("iaso-controller", &["check", "--config", &config])
        .await?
        .assert(0, &[]);
    let text = "node = \"styx\"\nstatus_listen = \"0.0.0.0:9464\"\n";
    let config = write(dir.path(), "agent.toml", text)?;
    let said = [
        "status_listen",
        "can be reached from other machines",
        "127.0.0.1",
        "--insecure",
    ];
    agent_refuses(&config, &said).await?;
    // It says nothing to anybody, and is there for other machines.
    let text = "node = \"styx\"\nprobe_listen = \"0.0.0.0:7444\"\n";
    let config = write(dir.path(), "probed.toml", text)?;
    run("iaso-agent", &["check-config", "--config", &config])
        .await?
        .assert(0, &[]);
    let config = agent_config(dir.path(), "styx", "http://192.0.2.1:7443", "/t")?;
    let said = ["controller", "https://HOST:PORT", "TLS"];
    agent_refuses(&config, &said).await?;
    let ran = run("iaso", &["nodes", "--controller", "http://192.0.2.1:7443"]).await?;
    ran.assert(2, &["192.0.2.1", "speaks TLS", "https://"]);
    Ok(())
}
