//! Every command line that the documentation or a refusal names is one that is there: its words, and its flags.

use std::path::{Path, PathBuf};

use access::reason::Reason;
use clap::CommandFactory as _;

use super::Cli;

/// First lines of things that are signed or hashed, and no commands.
const NO_COMMANDS: [&str; 3] = ["evidence bundle 1", "recording 1", "sample 1"];

/// Looks command lines up in the tree.
struct Lookup {
    tree: clap::Command,
    found: usize,
    mistakes: Vec<String>,
}

impl Lookup {
    /// The command lines in a line of shell, or between two backticks.
    fn shell(&mut self, page: &str, text: &str) {
        let text = text.replace("\\|", " ").replace("&&", "|").replace("$(", "|");
        for piece in text.split(['|', ';', '\n']) {
            let mut words = piece.split_whitespace().peekable();
            while let Some(word) = words.next_if(|word| word.contains('=') || ["sudo", "$", "-u"].contains(word)) {
                // The user as whom.
                if word == "-u" {
                    words.next();
                }
            }
            if words.next() == Some("tidegate") {
                self.command(page, &words.collect::<Vec<_>>());
            }
        }
    }

    /// One command, without the program's name.
    fn command(&mut self, page: &str, words: &[&str]) {
        self.found += 1;
        let line = words.join(" ");
        if NO_COMMANDS.iter().any(|first| line.starts_with(first)) {
            return;
        }
        let (mut at, mut named) = (&self.tree, true);
        for word in words {
            let word = word.trim_matches(|c: char| "[](){}…,.:\"'`".contains(c));
            if ["--", "#", "<", ">", ">>", "\\"].contains(&word) {
                break;
            }
            if let Some(flag) = word.strip_prefix("--") {
                let flag = flag.split(['=', ']']).next().unwrap_or_default();
                let mut given = at.get_arguments().chain(self.tree.get_arguments().filter(|argument| argument.is_global_set()));
                let has = |argument: &clap::Arg| {
                    argument.get_long() == Some(flag) || argument.get_all_aliases().is_some_and(|all| all.contains(&flag))
                };
                if !["help", "version"].contains(&flag) && !given.any(has) {
                    self.mistakes.push(format!("{page}: `tidegate {line}`: there is no `--{flag}`"));
                }
                continue;
            }
            match at.find_subcommand(word).filter(|_| named) {
                Some(below) => at = below,
                None => {
                    let is_name = !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                    if named && at.has_subcommands() && is_name {
                        self.mistakes.push(format!("{page}: `tidegate {line}`: there is no `{word}`"));
                    }
                    named = false;
                }
            }
        }
    }

    fn page(&mut self, page: &Path) {
        let (name, text) = (page.display().to_string(), std::fs::read_to_string(page).unwrap());
        let (mut code, mut listed) = (false, false);
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                code = !code;
            } else if code {
                self.shell(&name, line);
            } else {
                line.split('`').skip(1).step_by(2).for_each(|span| self.shell(&name, span));
                // The first column of a table of commands names them without the program.
                listed = line.starts_with("| command |") || (listed && line.starts_with('|'));
                let cell = line.replace("\\|", " ");
                let cell = cell.split('|').nth(1).filter(|_| listed && !line.starts_with("| command |")).unwrap_or_default();
                for span in cell.split('`').skip(1).step_by(2).filter(|span| !span.starts_with('-')) {
                    self.command(&name, &span.split_whitespace().collect::<Vec<_>>());
                }
            }
        }
    }
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let all = all.flat_map(|path| if path.is_dir() { pages(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

// covers: RUN-5 (cli)
#[test]
fn every_command_line_that_is_written_down_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut lookup = Lookup { tree: Cli::command(), found: 0, mistakes: Vec::new() };
    let beside = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(|page| root.join(page));
    for page in pages(&root.join("docs")).into_iter().chain(beside) {
        lookup.page(&page);
    }
    for reason in Reason::ALL {
        reason.hint().split('`').skip(1).step_by(2).for_each(|span| lookup.shell(reason.code(), span));
    }
    assert!(lookup.found > 300, "{} command lines were looked up", lookup.found);
    assert_eq!(lookup.mistakes, Vec::<String>::new());
}

#[test]
fn a_command_line_that_is_none_is_named() {
    let mut lookup = Lookup { tree: Cli::command(), found: 0, mistakes: Vec::new() };
    lookup.shell("here", "sudo -u tidegate tidegate backup /backup --config FILE && tidegate session search --who ana --json | jq .");
    assert_eq!((lookup.found, &lookup.mistakes), (2, &Vec::<String>::new()));
    lookup.shell("here", "tidegate session list --person ana; tidegate sesion list");
    let (flag, word) = ("`tidegate session list --person ana`: there is no `--person`", "`tidegate sesion list`: there is no `sesion`");
    assert_eq!(lookup.mistakes, [format!("here: {flag}"), format!("here: {word}")]);
}
