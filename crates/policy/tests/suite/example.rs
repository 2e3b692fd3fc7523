//! The example company: its own cases, the matrix, and that nothing in it is there for nothing.

use std::collections::BTreeMap;

use access::names::Username;
use access::request::Asked;
use access::risk::{Known, Risk};
use access::verdict::Answer;
use jiff::Timestamp;
use tidegate_policy::{Ask, Bundle, Situation, cases, matrix};

use crate::company::{at, example, files, monday};

fn moments() -> Vec<Timestamp> {
    // A Monday, a maintenance window, the closing of the books.
    vec![monday(), at("2026-11-21T20:00:00Z"), at("2026-12-22T09:00:00Z")]
}

fn paper(bundle: &Bundle) -> String {
    let people: Vec<Username> = bundle.people().usernames().into_iter().collect();
    matrix::print(bundle, &people, &moments()) + &unusual(bundle, &people)
}

/// What is answered otherwise if all about it is unusual.
fn unusual(bundle: &Bundle, people: &[Username]) -> String {
    let mut out = String::from("\nWhen all of it is unusual:\n");
    for person in people {
        let calm = bundle.imagine(person, monday()).unwrap();
        let risky = Situation { risk: Some(Known::Then(Risk::unknown())), ..calm.clone() };
        // One machine of each tier will do.
        for resource in bundle.resources().filter(|resource| ["build-1", "web-1", "ledger-1"].contains(&resource.name.as_str())) {
            for role in bundle.roles_for(&resource.name) {
                for asked in [Asked::Default, Asked::Standing] {
                    let ask = Ask { asked, ..Ask::plain(resource.name.clone(), role.name.clone()) };
                    let say = |who| {
                        let verdict = bundle.decide(who, &ask);
                        let plans = match verdict.answer() {
                            Answer::Permit { terms } | Answer::NeedsApproval { terms } => {
                                terms.approvals.iter().map(|p| p.name.to_string()).collect()
                            }
                            _ => Vec::new(),
                        };
                        format!("{} by {} {}", verdict.answer().code(), verdict.policies().join(","), plans.join(",")).trim_end().to_owned()
                    };
                    let (before, then) = (say(&calm), say(&risky));
                    if before != then {
                        out.push_str(&format!("{person} {}+{} {asked}: {then} (else {before})\n", resource.name, role.name));
                    }
                }
            }
        }
    }
    out
}

// covers: MAY-2, OK-1, ASK-2, GRANT-8, ASK-8
#[test]
fn the_examples_own_cases_pass() {
    let bundle = example();
    let report = cases::run(&bundle, monday());
    assert!(report.passed(), "{report}");
    assert!(report.outcomes.len() > 30);
    // Everybody here can try it without a security key; a company of its own does as the warning says.
    let [warning] = bundle.warnings() else { panic!("{:?}", bundle.warnings()) };
    assert!(warning.says.starts_with("the path `emergency` opens in an emergency without a fresh proof of who asks"), "{warning}");
}

// covers: MAY-4, OK-1, OK-2
#[test]
fn the_matrix_of_the_example() {
    insta::assert_snapshot!("matrix", paper(&example()));
}

/// Each policy of a Cedar text: where it begins and ends, from its first annotation to its semicolon.
fn policies(text: &str) -> Vec<(usize, usize)> {
    let set: cedar_policy::PolicySet = text.parse().unwrap();
    set.policies()
        .map(|p| {
            let own = p.to_cedar().unwrap();
            let start = text.find(&own).unwrap();
            (start, start + own.len())
        })
        .collect()
}

// covers: MAY-1, MAY-4
#[test]
fn every_policy_and_every_annotation_of_the_example_changes_the_matrix() {
    let whole = files();
    let golden = paper(&example());
    let mut deletions: Vec<(String, &str, String)> = Vec::new();
    let mut check = |name: String, file: &'static str, text: String| deletions.push((name, file, text));
    for file in ["access.cedar", "oversight.cedar"] {
        let text = String::from_utf8(whole[file].clone()).unwrap();
        for (start, end) in policies(&text) {
            let own = &text[start..end];
            check(format!("policy {}", own.lines().next().unwrap()), file, format!("{}{}", &text[..start], &text[end..]));
            for line in own.lines().take_while(|l| l.starts_with('@')) {
                check(
                    format!("{line} of {}", own.lines().next().unwrap()),
                    file,
                    format!("{}{}{}", &text[..start], own.replacen(line, "", 1), &text[end..]),
                );
            }
        }
    }
    assert!(deletions.len() > 50, "{} deletions", deletions.len());
    let found: Vec<(bool, String)> = std::thread::scope(|scope| {
        let parts = deletions.chunks(deletions.len().div_ceil(4)).map(|part| {
            let (whole, golden) = (&whole, &golden);
            scope.spawn(move || part.iter().filter_map(|(name, file, text)| without(whole, golden, name, file, text)).collect::<Vec<_>>())
        });
        parts.collect::<Vec<_>>().into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    // Every deletion leaves a directory that loads (none hides behind a load error) and another matrix.
    assert!(found.is_empty(), "{found:#?}");
}

/// What is wrong with a deletion: it doesn't load, or nothing changes.
fn without(whole: &BTreeMap<String, Vec<u8>>, golden: &str, name: &str, file: &str, text: &str) -> Option<(bool, String)> {
    let mut files = whole.clone();
    files.insert(file.to_owned(), text.as_bytes().to_vec());
    match Bundle::from_files(files) {
        Err(problems) => Some((false, format!("{name} does not load: {problems}"))),
        Ok(bundle) if paper(&bundle) == golden => Some((true, format!("{name} changes nothing"))),
        Ok(_) => None,
    }
}
