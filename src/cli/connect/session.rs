//! Connects to the cluster with the connection flags of kubectl, such as `--context`.
//!
//! ```text
//!  --kubeconfig | $KUBECONFIG | ~/.kube/config ─┐
//!  --context, --cluster, --user ────────────────┼─► Config ── --server, --token, --as … ──► Session
//!  credentials of a pod ────────────────────────┘
//! ```

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube::{
    Api, Client, Config, Resource,
    config::{KubeConfigOptions, Kubeconfig},
    core::NamespaceResourceScope,
};

use crate::cli::{
    error::{Error, Result},
    render::{escape::visible, shell::quoted},
};

/// The connection flags of kubectl.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection (as in kubectl)")]
pub struct Connection {
    /// Namespace (default: the namespace of the context, or "default" for check, monitor check, and capture with -f)
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Kubeconfig file (default: $KUBECONFIG or ~/.kube/config)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub user: Option<String>,
    /// Address and port of the API server
    #[arg(short, long, global = true, value_name = "URL", hide_short_help = true)]
    pub server: Option<String>,
    /// Bearer token, instead of the credentials of the kubeconfig
    #[arg(long, global = true, value_name = "TOKEN", hide_short_help = true)]
    pub token: Option<String>,
    /// User to impersonate; the record names this user
    #[arg(long = "as", global = true, value_name = "USER", hide_short_help = true)]
    pub as_user: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", hide_short_help = true)]
    pub as_group: Vec<String>,
    /// UID to impersonate
    #[arg(long = "as-uid", global = true, value_name = "UID", hide_short_help = true)]
    pub as_uid: Option<String>,
    /// File with the certificate authority of the API server
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub certificate_authority: Option<PathBuf>,
    /// Name in the certificate of the API server (default: the host of its address)
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// Do not check the certificate of the API server
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_skip_tls_verify: bool,
    /// Time limit of one request, such as 30s; 0 means no limit
    #[arg(long, global = true, value_name = "TIME", default_value = "0", hide_short_help = true)]
    pub request_timeout: String,
}

/// A connection to a cluster, and the namespace for the commands.
#[derive(Clone)]
pub struct Session {
    pub client: Client,
    /// The namespace of `--namespace` or of the context.
    pub namespace: String,
    /// The connection flags that the user typed. The commands that the output suggests repeat these flags.
    pub flags: String,
    /// The address of the API server.
    pub server: String,
}

impl Session {
    /// Returns the API for kind `K` in the namespace of the session, or in every namespace if `everywhere` is true.
    /// Also returns the place in words for messages, such as `of namespace lending`.
    pub fn reach<K>(&self, everywhere: bool) -> (Api<K>, String)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        if everywhere {
            (Api::all(self.client.clone()), "of every namespace".to_owned())
        } else {
            let api = Api::namespaced(self.client.clone(), &self.namespace);
            (api, format!("of namespace {}", self.namespace))
        }
    }

    /// The flag `-n` and the connection flags, for a suggested command.
    pub fn place(&self) -> String {
        format!(" -n {}{}", self.namespace, self.flags)
    }

    pub fn say_none_found(&self, what: &str, everywhere: bool) {
        let place = if everywhere { String::new() } else { format!(" in namespace {}", self.namespace) };
        anstream::eprintln!("No {what} found{}.", visible(&place));
    }
}

impl Connection {
    /// Prepares a session, but sends no request. The first request of the client opens the connection.
    pub async fn session(&self) -> Result<Session> {
        let mut config = self.config().await?;
        self.override_cluster(&mut config)?;
        self.override_identity(&mut config);
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(Error::api("connect"))?;
        Ok(Session { client, namespace, flags: self.repeated(), server })
    }

    /// The flag `-n` as typed, for a suggested command that does not contact a cluster. Empty if the user did not type
    /// this flag.
    pub fn offline_place(&self) -> String {
        self.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default()
    }

    /// The namespace of manifests that do not state one, for commands that do not contact a cluster.
    pub fn offline_namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(|| "default".to_owned())
    }

    async fn config(&self) -> Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            cluster: self.cluster.clone(),
            user: self.user.clone(),
        };
        let chosen = self.context.is_some() || self.cluster.is_some() || self.user.is_some();
        match &self.kubeconfig {
            Some(file) => Ok(Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?),
            None if chosen => Ok(Config::from_kubeconfig(&options).await?),
            None => match (Config::infer().await, &self.server) {
                (Ok(config), _) => Ok(config),
                // Without a usable kubeconfig, the address in `--server` is enough. `override_cluster` sets this
                // address.
                (Err(_), Some(server)) => Ok(Config::new(server.parse().unwrap_or_default())),
                (Err(error), None) => Err(Error::NoCluster(Box::new(error))),
            },
        }
    }

    fn override_cluster(&self, config: &mut Config) -> Result<()> {
        if let Some(server) = &self.server {
            let flag = |why: &dyn ToString| Error::Flag {
                flag: "--server",
                value: server.clone(),
                why: why.to_string(),
            };
            config.cluster_url = server.parse().map_err(|error| flag(&error))?;
        }
        if let Some(file) = &self.certificate_authority {
            config.root_cert = None;
            config.root_cert_file = Some(file.clone());
        }
        config.tls_server_name = self.tls_server_name.clone().or(config.tls_server_name.take());
        config.accept_invalid_certs |= self.insecure_skip_tls_verify;
        if let Some(timeout) = self.timeout()? {
            config.connect_timeout = Some(timeout);
            config.read_timeout = Some(timeout);
            config.write_timeout = Some(timeout);
        }
        Ok(())
    }

    fn override_identity(&self, config: &mut Config) {
        let auth = &mut config.auth_info;
        if let Some(token) = &self.token {
            *auth = kube::config::AuthInfo { token: Some(token.clone().into()), ..Default::default() };
        }
        if let Some(user) = &self.as_user {
            auth.impersonate = Some(user.clone());
        }
        if let Some(uid) = &self.as_uid {
            auth.impersonate_uid = Some(uid.clone());
        }
        if !self.as_group.is_empty() {
            auth.impersonate_groups = Some(self.as_group.clone());
        }
    }

    /// The value of `--request-timeout`: a Go duration or a number of seconds, as in kubectl. `None` means no limit.
    fn timeout(&self) -> Result<Option<Duration>> {
        let text = &self.request_timeout;
        let duration = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => text.parse::<kube::core::Duration>().map(Duration::from).map_err(|error| {
                Error::Flag { flag: "--request-timeout", value: text.clone(), why: error.to_string() }
            })?,
        };
        Ok((!duration.is_zero()).then_some(duration))
    }

    /// The connection flags that suggested commands repeat. So these commands contact the same cluster as the same
    /// user.
    fn repeated(&self) -> String {
        let pairs = [
            ("--kubeconfig", self.kubeconfig.as_ref().map(|path| path.display().to_string())),
            ("--context", self.context.clone()),
            ("--cluster", self.cluster.clone()),
            ("--user", self.user.clone()),
            ("--server", self.server.clone()),
            ("--as", self.as_user.clone()),
            ("--as-uid", self.as_uid.clone()),
            (
                "--certificate-authority",
                self.certificate_authority.as_ref().map(|path| path.display().to_string()),
            ),
            ("--tls-server-name", self.tls_server_name.clone()),
        ];
        let groups = self.as_group.iter().map(|group| ("--as-group", Some(group.clone())));
        let given = pairs.into_iter().chain(groups).filter_map(|(flag, value)| Some((flag, value?)));
        let given = given.map(|(flag, value)| format!(" {flag} {}", quoted(&value)));
        let insecure = self.insecure_skip_tls_verify.then(|| " --insecure-skip-tls-verify".to_owned());
        // The output can end up in logs, so it must not contain the token.
        let token = self.token.is_some().then(|| " --token \"$TOKEN\"".to_owned());
        given.chain(insecure).chain(token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggested_commands_repeat_the_connection_flags() {
        let connection = Connection {
            context: Some("prod eu".to_owned()),
            as_group: vec!["ethics".to_owned()],
            as_uid: Some("7".to_owned()),
            certificate_authority: Some("ca.crt".into()),
            insecure_skip_tls_verify: true,
            token: Some("secret".to_owned()),
            ..Connection::default()
        };
        let wanted = " --context 'prod eu' --as-uid 7 --certificate-authority ca.crt --as-group ethics \
            --insecure-skip-tls-verify --token \"$TOKEN\"";
        assert_eq!(connection.repeated(), wanted);
    }

    #[test]
    fn timeouts_parse_as_in_kubectl() {
        let timeout =
            |text: &str| Connection { request_timeout: text.to_owned(), ..Connection::default() }.timeout();
        assert_eq!(timeout("0").expect("valid"), None);
        assert_eq!(timeout("30").expect("valid"), Some(Duration::from_secs(30)));
        assert_eq!(timeout("1m30s").expect("valid"), Some(Duration::from_secs(90)));
        assert!(timeout("soon").is_err());
    }
}
