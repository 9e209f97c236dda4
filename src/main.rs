//! Runs the operator, or prints its custom resource definitions and admission policies.

#![forbid(unsafe_code)]

use std::{
    collections::BTreeSet,
    io::{IsTerminal, Write},
    net::SocketAddr,
    process::ExitCode,
};

use assent::{
    admission, api,
    images::ImagePatterns,
    monitor::{MonitorOptions, SourceList},
    operator,
    policy::{Accelerators, ClusterVariable},
    promql::{NAMESPACE_LABEL, namespace_label},
};
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// jemalloc returns memory to the system after the operator read a page of pods. `.cargo/config.toml` configures
/// jemalloc.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Assent: no AI runs without assent.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "a process has one value of this type")]
enum Command {
    /// Run the operator.
    Operator {
        /// Address for /healthz, /readyz and /metrics.
        #[arg(long, default_value = "[::]:8080")]
        listen: SocketAddr,
        /// Namespace of the operator and of its Lease.
        #[arg(long, env = "POD_NAMESPACE", default_value = "assent-system")]
        namespace: String,
        /// Service account of the operator. The name of its `ClusterRole` begins with this name.
        #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "assent")]
        service_account: String,
        /// Holder name of this operator in the Lease: the name of its pod.
        #[arg(long, env = "POD_NAME", default_value = "assent")]
        identity: String,
        /// Image patterns of AI workloads, one per line. The metric `assent_shadow_pods` counts pods that have such an
        /// image or use an accelerator, and belong to no AI system.
        #[arg(long, env = "ASSENT_IMAGE_PATTERNS", default_value = "")]
        image_patterns: ImagePatterns,
        /// More signs of accelerators, one per line, such as `resource example.com/npu`. In namespaces with
        /// the scope accelerated, Assent governs the pods with such a sign. Kinds of signs: resource,
        /// `runtimeClass`, variable, annotation.
        #[arg(long, env = "ASSENT_ACCELERATORS", default_value = "")]
        accelerators: Accelerators,
        /// Optional variables of the expressions of risk levels, with commas between them: networkPolicies, claims.
        #[arg(long, env = "ASSENT_EXPRESSION_VARIABLES", default_value = "", value_parser = ClusterVariable::list)]
        expression_variables: BTreeSet<ClusterVariable>,
        /// Prometheus servers that monitors may query, as a JSON list of objects with name, url, caFile and
        /// tokenFile. A monitor selects a server by name. Without a server, no monitor measures.
        #[arg(long, env = "ASSENT_PROMETHEUS", default_value = "")]
        prometheus: SourceList,
        /// Label that contains the namespace in the series of all Prometheus servers. A monitor reads only the series
        /// of its own namespace.
        #[arg(long, env = "ASSENT_NAMESPACE_LABEL", default_value = NAMESPACE_LABEL, value_parser = namespace_label)]
        namespace_label: String,
        /// Format of the log.
        #[arg(long, value_enum, default_value_t = LogFormat::Json)]
        log_format: LogFormat,
        /// Log level: error, warn, info, debug or trace. A filter can set the level of a Rust module: info,kube=debug.
        #[arg(long, env = "ASSENT_LOG", default_value = "info")]
        log_level: String,
    },
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the admission policies as YAML.
    Policies {
        /// Namespace of the operator.
        #[arg(long, default_value = "assent-system")]
        namespace: String,
        /// Service account of the operator.
        #[arg(long, default_value = "assent")]
        service_account: String,
        /// More signs of accelerators, with the same value as in the command `operator`.
        #[arg(long, env = "ASSENT_ACCELERATORS", default_value = "")]
        accelerators: Accelerators,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

fn main() -> ExitCode {
    let done: Result<(), Box<dyn std::error::Error>> = match Cli::parse().command {
        Command::Operator {
            listen,
            namespace,
            service_account,
            identity,
            image_patterns: images,
            expression_variables: variables,
            accelerators,
            prometheus: sources,
            namespace_label: label,
            log_format,
            log_level,
        } => {
            log(log_format, &log_level);
            let account = admission::Operator { namespace, service_account, accelerators };
            let monitors = MonitorOptions { sources, label };
            run(operator::Options { listen, account, identity, images, variables, monitors })
                .map_err(Into::into)
        }
        Command::Crds => print(&api::definitions()).map_err(Into::into),
        Command::Policies { namespace, service_account, accelerators } => {
            let operator = admission::Operator { namespace, service_account, accelerators };
            print(&admission::policies(&operator)).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(options: operator::Options) -> Result<(), operator::Error> {
    Box::pin(operator::run(options)).await
}

fn log(format: LogFormat, level: &str) {
    let colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter(level)).with_writer(std::io::stderr);
    let log = log.with_ansi(colour);
    match format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
}

/// The filter for `level`. `kube_client` logs whole responses that it cannot parse, with the environment variables of
/// all containers. So this filter lets `kube_client::client` log errors only.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("{level},kube_client::client=error"))
}

fn print<T: serde::Serialize>(manifests: &[T]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for manifest in manifests {
        let yaml = serde_saphyr::to_string(manifest).map_err(std::io::Error::other)?;
        write!(out, "---\n{yaml}")?;
    }
    Ok(())
}
