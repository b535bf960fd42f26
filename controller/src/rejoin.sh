#!/bin/sh
# Written by Iaso: joins a freshly installed machine to its cluster, once.
set -eu
umask 077

mkdir -p /etc/iaso /etc/rancher/k3s /var/lib/iaso
chmod 700 /var/lib/iaso
hostnamectl set-hostname {{node}} 2>/dev/null || hostname {{node}}

# The agent first: if k3s fails, it is the agent that says why.
# Its token is for this node and for once: the agent removes it when it has its certificate.
printf '%s\n' {{iaso_token}} > /var/lib/iaso/join.token
{
    printf 'node = "%s"\ncontroller = "%s"\n' {{node}} {{iaso_controller}}
    printf '%s\n' 'status_listen = "127.0.0.1:9464"' 'probe_listen = "0.0.0.0:7444"' \
        'kubeconfig = "/var/lib/rancher/k3s/agent/kubelet.kubeconfig"' \
        '[scripts]' 'k3s-killall = "/usr/local/bin/k3s-killall.sh"'
} > /etc/iaso/agent.toml
if command -v iaso-agent >/dev/null 2>&1; then
    systemctl enable --now iaso-agent.service || true
fi

# The token goes into a file that only root reads, never onto a command line that `ps` shows.
env_file=/etc/rancher/k3s/iaso-join.env
printf 'K3S_TOKEN=%s\n' {{k3s_token}} > "$env_file"
trap 'rm -f "$env_file"' EXIT

installer=$(mktemp)
for attempt in 1 2 3 4 5; do
    curl -sfL --max-time 120 -o "$installer" https://get.k3s.io && break
    sleep $((attempt * 5))
done
test -s "$installer"

set -a
. "$env_file"
set +a
# A blocking start waits for ever when the server does not answer; the unit is started apart.
INSTALL_K3S_VERSION={{k3s_version}} INSTALL_K3S_SKIP_START=true K3S_URL={{k3s_url}} \
    sh "$installer" agent --node-name {{node}} {{flags}}
rm -f "$installer"
systemctl start --no-block k3s-agent.service
