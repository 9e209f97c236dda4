//! Draws the pictures of terminals in `docs/approve.md` and `docs/troubleshoot.md`. To get the output, this program
//! runs the commands on a cluster with the example credit-scorer.

use std::fs;

use anstyle_svg::Term;
use anyhow::{Context, Result, ensure};
use assent_tests::{Assent, ControlPlane, ON_A_TERMINAL, Options, Person, Scenario, binaries, root};

/// A picture of a command and its output.
struct Picture {
    name: &'static str,
    person: Person,
    command: &'static str,
    /// The text that the person types at the prompt of the command.
    answer: &'static str,
    /// A part that the picture omits. It starts at the first heading and ends before the second heading.
    without: Option<(&'static str, &'static str)>,
}

const PICTURES: [Picture; 2] = [
    Picture {
        name: "approve",
        person: Person::Alice,
        command: "kubectl assent approve credit-scorer --version credit-scorer-v1 -n lending",
        answer: "credit-scorer",
        without: Some(("RISK LEVEL", "CHANGES")),
    },
    Picture {
        name: "explain",
        person: Person::Admin,
        command: "kubectl assent explain deployment/credit-scorer -n lending",
        answer: "",
        without: None,
    },
];

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = ControlPlane::start_with(Options { path: vec![binaries()?], ..Options::default() }).await?;
    let _assent = Assent::install(&cluster).await?;
    let example = root().join("examples/credit-scorer").display().to_string();
    cluster.kubectl(Person::Admin, &["apply", "-k", &example]).await?.ok()?;
    let scene = Scenario { cluster: &cluster, namespace: "lending".to_owned() };
    scene.held("credit-scorer", 2).await?;
    for picture in &PICTURES {
        let file = root().join(format!("docs/pictures/{}.svg", picture.name));
        let svg = Term::new().render_svg(&picture.screen(&cluster).await?);
        fs::write(&file, svg).with_context(|| file.display().to_string())?;
        println!("{}", file.display());
    }
    Ok(())
}

impl Picture {
    /// The text on the screen after the command has ended.
    async fn screen(&self, cluster: &ControlPlane) -> Result<String> {
        let line = format!("stty cols 100; env --unset=NO_COLOR TERM=xterm-256color {}", self.command);
        let (args, answer) = (["-c", ON_A_TERMINAL, &line], format!("{}\n", self.answer));
        let output = cluster.run(cluster.account(self.person), "bash", &args, Some(&answer)).await?;
        ensure!(output.status.success(), "{}: {}", self.command, output.stdout);
        let screen = output.stdout.replace('\r', "");
        // The terminal echoes the answer before the question, because the answer is already in standard input.
        let screen = screen.strip_prefix(&answer).unwrap_or(&screen);
        let screen = screen.replace("to sign: ", &format!("to sign: {}", self.answer));
        let mut left_out = false;
        let mut shown = format!("$ {}\n", self.command);
        for line in screen.lines() {
            if let Some((from, to)) = self.without {
                if line.contains(from) && !left_out {
                    left_out = true;
                    shown.push_str("  …\n\n");
                } else if line.contains(to) {
                    left_out = false;
                }
            }
            if !left_out {
                shown.push_str(line);
                shown.push('\n');
            }
        }
        Ok(shown)
    }
}
