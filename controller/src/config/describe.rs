//! Says what was understood, for `iaso-controller check`.

use super::Config;
use iaso_engine::policy::Mode;
use std::fmt::Write as _;

/// The configuration in words: one thing on each line.
#[must_use]
pub fn describe(config: &Config) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, config);
    out
}

fn write_all(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(
        out,
        "gRPC (TLS) for agents and operators on {}, status on {}",
        config.listen, config.status_listen
    )?;
    writeln!(out, "data in {}", config.data_dir.display())?;
    match &config.cluster {
        Some(cluster) => {
            writeln!(
                out,
                "Kubernetes by {}, asked every {} s",
                cluster.kubeconfig.display(),
                cluster.poll_secs
            )?;
            if cluster.publish {
                writeln!(
                    out,
                    "shown there: Incident objects, Events, and the condition IasoHealthy of nodes"
                )?;
            }
        }
        None => writeln!(out, "no Kubernetes: the lease is not a channel")?,
    }
    match &config.provider.hostinger {
        Some(account) => writeln!(
            out,
            "Hostinger at {}, token in {}",
            account.base_url,
            account.token_file.display()
        )?,
        None => writeln!(out, "no provider: every ladder ends at a page")?,
    }
    match &config.rejoin {
        Some(rejoin) => writeln!(
            out,
            "a recreated machine gets image {}, joins {} with k3s {}, and its agent connects to {}",
            rejoin.template_id,
            rejoin.k3s_url,
            rejoin
                .k3s_version
                .as_deref()
                .unwrap_or("of the version it had"),
            rejoin.agent_url
        )?,
        None => writeln!(out, "no [rejoin]: nothing can be recreated")?,
    }
    let policy = &config.policy;
    writeln!(
        out,
        "modes: fix {}, start {}, reboot {}, recreate {}",
        mode(policy.fix),
        mode(policy.start),
        mode(policy.reboot),
        mode(policy.recreate)
    )?;
    delegation(out, config)?;
    nodes_and_plugins(out, config)
}

fn delegation(out: &mut String, config: &Config) -> std::fmt::Result {
    let delegation = &config.delegation;
    if !config.delegates() {
        return writeln!(out, "an agent that is cut off does nothing by itself");
    }
    writeln!(
        out,
        "an agent cut off for more than {} s may by itself do {}, at most {} times",
        delegation.cut_off_after_secs,
        delegation.fixes.join(", "),
        delegation.attempts
    )
}

fn nodes_and_plugins(out: &mut String, config: &Config) -> std::fmt::Result {
    writeln!(out, "{} nodes", config.nodes.len())?;
    for node in &config.nodes {
        let role = format!("{:?}", node.role).to_lowercase();
        let machine = node
            .machine
            .as_deref()
            .map_or_else(String::new, |id| format!(" machine {id}"));
        let ports: Vec<String> = config
            .probe_ports(node)
            .iter()
            .map(u16::to_string)
            .collect();
        writeln!(
            out,
            "  {} ({role}) at {}, provider {}{machine}, probed on {}",
            node.name,
            node.address,
            node.provider,
            ports.join(", ")
        )?;
    }
    let trust = config.plugin_trust.as_ref().map_or_else(
        || "whoever made them".to_owned(),
        |trust| {
            format!(
                "only with the word of {} trusted keys, or one of {} trusted digests",
                trust.keys.len(),
                trust.digests.len()
            )
        },
    );
    writeln!(out, "{} plugins, {trust}", config.plugins.len())?;
    for plugin in &config.plugins {
        writeln!(
            out,
            "  {} every {} s for at most {} ms from {}",
            plugin.name,
            plugin.interval_secs,
            plugin.timeout_ms,
            plugin.path.display()
        )?;
    }
    Ok(())
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Approve => "approve",
        Mode::Auto => "auto",
    }
}
