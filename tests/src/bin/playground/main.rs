//! A cluster with Assent, for users who want to try Assent by hand. `playground start` spawns `playground serve`, which
//! runs the control plane, Assent and two examples, and holds the lock of the directory. `start` waits until `serve`
//! has written the files `kubeconfig` and `env`. `playground stop` sends SIGTERM to `serve`, waits until the lock is
//! free, and removes the files.

mod place;
mod serve;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use place::{Place, State};

/// The longest time from the start until the cluster is ready. It allows for a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// The longest time from SIGTERM to the end of all processes.
const LEAVE: Duration = Duration::from_secs(30);

/// Runs a cluster with Assent in the background, to try it by hand.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start the cluster, and print what to try first
    Start {
        /// The nodes of the cluster: only simulated nodes, or also a real node that runs containers
        #[arg(long, value_enum, default_value = "simulated")]
        node: Nodes,
    },
    /// Stop the cluster, and remove its files
    Stop,
    /// Run the cluster in the foreground until SIGTERM
    #[command(hide = true)]
    Serve {
        #[arg(long, value_enum)]
        node: Nodes,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Nodes {
    /// KWOK simulates the nodes. No container runs.
    Simulated,
    /// A kubelet on this machine runs containers, beside the simulated nodes.
    Real,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Args::parse().command {
        Task::Start { node } => start(node),
        Task::Stop => stop(),
        Task::Serve { node } => Box::pin(serve::serve(node)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(node: Nodes) -> Result<()> {
    let place = Place::find()?;
    if place.state()? == State::Free {
        place.clear()?;
        let mut server = spawn(&place, node)?;
        wait_until_ready(&place, &mut server)?;
    } else {
        println!("The playground already runs.\n");
    }
    print!("{}", place.welcome()?);
    Ok(())
}

/// Starts the server in its own process group, so that Ctrl-C and the end of the terminal do not reach it.
fn spawn(place: &Place, node: Nodes) -> Result<Child> {
    let log = File::create(place.log())?;
    let node = node.to_possible_value().context("a node without a name")?;
    Command::new(std::env::current_exe()?)
        .args(["serve", "--node", node.get_name()])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting the server of the playground")
}

fn wait_until_ready(place: &Place, server: &mut Child) -> Result<()> {
    let begin = Instant::now();
    print!("starting a cluster with Assent ");
    while !place.is_ready() {
        if let Some(status) = server.try_wait()? {
            bail!("\nthe playground ended ({status}): {}", place.log_tail());
        }
        if begin.elapsed() > PATIENCE {
            server.kill()?;
            bail!("\nthe playground is not ready after {PATIENCE:?}: {}", place.log_tail());
        }
        print!(".");
        std::io::stdout().flush()?;
        std::thread::sleep(Duration::from_secs(1));
    }
    println!(" ready after {} s\n", begin.elapsed().as_secs());
    Ok(())
}

fn stop() -> Result<()> {
    let place = Place::find()?;
    let State::Running { pid } = place.state()? else {
        println!("No playground runs.");
        return Ok(());
    };
    let ended = Command::new("kill").args(["-s", "TERM", &pid.to_string()]).status()?;
    ensure!(ended.success(), "the playground (process {pid}) was not stopped: kill: {ended}");
    let begin = Instant::now();
    while place.state()? != State::Free {
        ensure!(begin.elapsed() < LEAVE, "the playground (process {pid}) does not end: {}", place.log_tail());
        std::thread::sleep(Duration::from_millis(100));
    }
    place.clear()?;
    println!("The playground is stopped, and its files are removed.");
    Ok(())
}
