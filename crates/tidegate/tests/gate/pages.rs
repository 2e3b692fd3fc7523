//! What is made from the command tree: manual pages that `man` shows, and completions that a shell completes by.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::known::program;

fn run(args: &[&str]) -> Output {
    let out = Command::new(program()).env_clear().args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out
}

/// What a command's help lists below it.
fn commands_of(path: &[&str]) -> Vec<String> {
    let out = run(&[path, &["--help"]].concat());
    let help = String::from_utf8_lossy(&out.stdout).into_owned();
    let listed = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1).take_while(|line| !line.trim().is_empty());
    // A command's name stands two columns in; what is said of it may go on below.
    listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn shown(page: &Path) -> String {
    let out = Command::new("man").env("LC_ALL", "C.UTF-8").env("MANWIDTH", "120").args(["--warnings", "-l"]).arg(page).output().unwrap();
    let (text, warned) = (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned());
    assert!(out.status.success() && warned.trim().is_empty(), "{}: {warned}", page.display());
    text
}

// covers: RUN-5 (cli)
#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    run(&["man", dir.path().to_str().unwrap()]);
    let mut wanted = BTreeSet::from(["tidegate.1".to_owned()]);
    for noun in commands_of(&[]) {
        wanted.insert(format!("tidegate-{noun}.1"));
        wanted.extend(commands_of(&[&noun]).iter().map(|verb| format!("tidegate-{noun}-{verb}.1")));
    }
    assert!(wanted.len() > 60 && wanted.contains("tidegate-request-approve.1"), "{wanted:?}");
    let there: BTreeSet<String> = fs::read_dir(dir.path()).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, wanted);
    for page in ["tidegate.1", "tidegate-request.1", "tidegate-request-create.1", "tidegate-evidence-export.1"] {
        let text = shown(&dir.path().join(page));
        assert!(text.contains("NAME") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
    let create = shown(&dir.path().join("tidegate-request-create.1"));
    assert!(create.contains("--reason") && create.contains("tidegate"), "{create}");
    // Without a directory, the first page.
    let first = dir.path().join("first.1");
    fs::write(&first, run(&["man"]).stdout).unwrap();
    assert_eq!(shown(&first), shown(&dir.path().join("tidegate.1")));
}

// covers: RUN-5 (cli)
#[test]
fn a_shell_completes_commands_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("tidegate.bash");
    fs::write(&script, run(&["completion", "bash"]).stdout).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&script).status().unwrap().success());
    let completes = |words: &[&str]| {
        let last = words.len();
        let line = format!(
            "source {}; COMP_WORDS=(tidegate {}); COMP_CWORD={last}; _tidegate tidegate \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            last - 1
        );
        let out = Command::new("bash").args(["--norc", "-c", &line]).output().unwrap();
        assert!(out.status.success(), "{words:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completes(&["reque"]), ["request"]);
    assert_eq!(completes(&["request", "app"]), ["approve"]);
    assert!(completes(&["request", "create", "--rea"]).contains(&"--reason".to_owned()));
    assert!(completes(&["session", ""]).contains(&"replay".to_owned()));
    assert!(completes(&["nothing-of-ours", "--zz"]).iter().all(String::is_empty));
    for (shell, says) in [("zsh", "#compdef tidegate"), ("fish", "complete -c tidegate")] {
        let script = String::from_utf8(run(&["completion", shell]).stdout).unwrap();
        assert!(script.contains(says) && script.contains("approve"), "{shell}");
    }
}
