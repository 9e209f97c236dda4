//! The operator, and what it needs in the cluster, on standard output.

#![forbid(unsafe_code)]

use std::{
    io::{IsTerminal, Write},
    net::SocketAddr,
    process::ExitCode,
};

use assent::{admission, api, images::ImagePatterns, operator, policy::Accelerators};
use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// It gives back what reading a page of pods took; how it is set is in `.cargo/config.toml`.
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
enum Command {
    /// Run the operator.
    Operator {
        /// Where /healthz, /readyz and /metrics are served.
        #[arg(long, default_value = "[::]:8080")]
        listen: SocketAddr,
        /// The namespace of the Lease by which operators agree who works.
        #[arg(long, env = "POD_NAMESPACE", default_value = "assent-system")]
        namespace: String,
        /// The service account that it runs as, after which its `ClusterRole` is called.
        #[arg(long, env = "POD_SERVICE_ACCOUNT", default_value = "assent")]
        service_account: String,
        /// What this operator calls itself in that Lease; its pod's name.
        #[arg(long, env = "POD_NAME", default_value = "assent")]
        identity: String,
        /// Patterns of the images of AI workloads, one a line: a pod that has one, or asks for an
        /// accelerator, and belongs to no AI system is counted by the metric `assent_shadow_pods`.
        #[arg(long, env = "ASSENT_IMAGE_PATTERNS", default_value = "")]
        image_patterns: ImagePatterns,
        /// More signs of accelerators, one a line, as in `resource example.com/npu`: a pod that shows one is
        /// governed in namespaces of the scope accelerated. Signs: resource, `runtimeClass`, variable, annotation.
        #[arg(long, env = "ASSENT_ACCELERATORS", default_value = "")]
        accelerators: Accelerators,
        /// How logs are written.
        #[arg(long, value_enum, default_value_t = LogFormat::Json)]
        log_format: LogFormat,
        /// What is logged: error, warn, info, debug or trace; per module as in info,kube=debug.
        #[arg(long, env = "ASSENT_LOG", default_value = "info")]
        log_level: String,
    },
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the admission policies as YAML.
    Policies {
        /// The namespace that the operator runs in.
        #[arg(long, default_value = "assent-system")]
        namespace: String,
        /// The service account that it runs as.
        #[arg(long, default_value = "assent")]
        service_account: String,
        /// The same signs of accelerators as the operator has.
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
            accelerators,
            log_format,
            log_level,
        } => {
            log(log_format, &log_level);
            let account = admission::Operator { namespace, service_account, accelerators };
            run(operator::Options { listen, account, identity, images }).map_err(Into::into)
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

/// What `level` asks for, except that `kube_client` never logs an answer it cannot parse: it logs all of it, with the
/// environment of everybody's containers.
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
