//! Two policies compared for a company of many who are alike.

use std::cell::Cell;
use std::collections::BTreeMap;

use tidegate_policy::Bundle;
use tidegate_policy::diff::{Diff, Whom, diff, diff_while};

use crate::company::{files, monday, user};

type Files = BTreeMap<String, Vec<u8>>;

fn replace(files: &mut Files, file: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    files.insert(file.into(), text.replacen(from, to, 1).into_bytes());
}

/// The example with more people in its teams and more machines like `web-1`.
fn larger(people: usize, machines: usize) -> Files {
    let mut files = files();
    let names: String = (0..people).map(|n| format!(", \"payer{n}\"")).collect();
    replace(&mut files, "people.toml", "members = [\"ana\", \"ben\"]", &format!("members = [\"ana\", \"ben\"{names}]"));
    for n in 0..machines {
        let machine = format!(
            "\n[[resource]]\nname = \"front-{n}\"\nkind = \"ssh\"\naddress = \"10.21.0.{n}:22\"\ntier = \"prod\"\nenvironment = \"production\"\n\
             tags = [\"shop\"]\nowner = \"payments\"\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\"]\n"
        );
        files.get_mut("resources.toml").unwrap().extend_from_slice(machine.as_bytes());
    }
    files
}

/// One of the example's people, and those who came to its teams.
fn everybody(more: usize) -> Vec<Whom> {
    let names = std::iter::once("dan".to_owned()).chain((0..more).map(|n| format!("payer{n}")));
    names.map(|name| Whom::from(user(&name))).collect()
}

fn load(files: &Files) -> Bundle {
    Bundle::from_files(files.clone()).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Compared as it is, and with a policy that reads names, after which nobody is like anybody.
fn both_ways(old: &Files, new: &Files) -> (Diff, Diff) {
    let reads_names = |files: &Files| {
        let mut files = files.clone();
        files
            .get_mut("access.cedar")
            .unwrap()
            .extend_from_slice(b"\n@id(\"nobodys\") forbid(principal, action, resource) when { principal.name == \"nobody\" };");
        load(&files)
    };
    let whom = everybody(4);
    (diff(&load(old), &load(new), &whom, monday()), diff(&reads_names(old), &reads_names(new), &whom, monday()))
}

// covers: MAY-5
#[test]
fn of_those_who_are_alike_one_is_asked_about_and_all_are_told_of() {
    let old = larger(3, 2);
    let changes: [(&str, &str, &str); 7] = [
        ("tiers.toml", "max = \"4h\"", "max = \"8h\""),
        ("people.toml", "\"payer2\"", "\"payer3\""),
        ("people.toml", "members = [\"dan\"]", "members = [\"dan\", \"payer1\"]"),
        (
            "resources.toml",
            "name = \"front-1\"\nkind = \"ssh\"\naddress = \"10.21.0.1:22\"\ntier = \"prod\"",
            "name = \"front-1\"\nkind = \"ssh\"\naddress = \"10.21.0.1:22\"\ntier = \"non-prod\"",
        ),
        ("resources.toml", "\"front-0\"", "\"front-7\""),
        (
            "access.cedar",
            "@id(\"engineers-on-build\")",
            "@id(\"one-of-them\") permit(principal == Tide::User::\"payer1\", action == Tide::Action::\"request\", resource in Tide::Resource::\"front-0\");\n@id(\"engineers-on-build\")",
        ),
        (
            "access.cedar",
            "@id(\"engineers-on-build\")",
            "@id(\"shut\") forbid(principal in Tide::Team::\"payments\", action, resource in Tide::Resource::\"front-0\");\n@id(\"engineers-on-build\")",
        ),
    ];
    for (file, from, to) in changes {
        let mut new = old.clone();
        replace(&mut new, file, from, to);
        let (alike, one_by_one) = both_ways(&old, &new);
        assert!(!alike.changes.is_empty() && alike.whole && one_by_one.whole, "{from:?} to {to:?}");
        assert_eq!(alike.changes, one_by_one.changes, "{from:?} to {to:?}");
    }
}

// covers: MAY-8
#[test]
fn a_company_ten_times_as_large_takes_no_more_questions() {
    let questions = |people: usize, machines: usize| {
        let old = larger(people, machines);
        let mut new = old.clone();
        // It changes nothing for anybody.
        new.get_mut("access.cedar").unwrap().extend_from_slice(b"\n// Reviewed.\n");
        let (asked, everybody) = (Cell::new(0), everybody(people));
        let compared = diff_while(&load(&old), &load(&new), &everybody, monday(), || {
            asked.set(asked.get() + 1);
            true
        });
        assert!(compared.changes.is_empty() && compared.whole && asked.get() > 0);
        asked.get()
    };
    assert_eq!(questions(5, 2), questions(50, 20));
}

#[test]
fn who_stops_waiting_is_told_that_there_is_more() {
    let old = larger(4, 3);
    let mut new = old.clone();
    replace(&mut new, "tiers.toml", "max = \"4h\"", "max = \"8h\"");
    let (old, new) = (load(&old), load(&new));
    let everybody = [Whom::from(user("ana")), Whom::from(user("payer1"))];
    let whole = diff(&old, &new, &everybody, monday());
    let left = Cell::new(6);
    let part = diff_while(&old, &new, &everybody, monday(), || left.replace(left.get() - 1) > 0);
    assert!(whole.whole && !part.whole);
    assert!(part.changes.len() < whole.changes.len() && part.changes.iter().all(|change| whole.changes.contains(change)));
    assert!(part.to_string().ends_with("`tidegate policy diff OLD NEW` does it"), "{part}");
    assert!(!whole.to_string().contains("there is more"));
}
