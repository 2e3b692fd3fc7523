//! Paths taken out or made cheaper, samples and escalation in tiers, and the playbook of the example company.

use std::collections::BTreeMap;

use tidegate_policy::{Bundle, playbook};

use crate::company::{at, example, files, monday, plus, with};

/// The lines that a change takes away and adds.
fn lines(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let count = |text: &str| {
        let mut all: BTreeMap<String, usize> = BTreeMap::new();
        text.lines().for_each(|line| *all.entry(line.to_owned()).or_default() += 1);
        all
    };
    let (old, new) = (count(before), count(after));
    let more = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| {
        one.iter().flat_map(|(line, n)| std::iter::repeat_n(line.clone(), n.saturating_sub(*other.get(line).unwrap_or(&0)))).collect()
    };
    (more(&old, &new), more(&new, &old))
}

// covers: BACK-6
#[test]
fn a_path_goes_with_its_comment_and_nothing_else_does() {
    let bundle = example();
    let change = bundle.without_path("platform-looks").unwrap();
    assert_eq!(change.file, "access.cedar");
    let (gone, come) = lines(&change.before, &change.after);
    assert!(come.is_empty(), "{come:?}");
    assert!(gone.contains(&"// Looking into a problem, for those who run the machines.".to_owned()), "{gone:?}");
    assert!(gone.contains(&"@id(\"platform-looks\")".to_owned()) && gone.len() == 10, "{gone:#?}");
    assert!(!change.after.contains("\n\n\n"), "no gap stays");
    let mut changed = files();
    changed.insert(change.file, change.after.into_bytes());
    let left = Bundle::from_files(changed).unwrap();
    let ids = |bundle: &Bundle| bundle.paths().into_iter().map(|path| path.policy).collect::<Vec<_>>();
    assert_eq!(ids(&left), ids(&bundle).into_iter().filter(|id| id != "platform-looks").collect::<Vec<_>>());
    // What stands under a heading of several keeps the heading; the last of a file goes too.
    assert!(bundle.without_path("engineers-on-build").unwrap().after.contains("// ---- Build and test machines"));
    let last =
        plus("access.cedar", "\n@id(\"last\")\npermit(principal, action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\");");
    assert!(!last.without_path("last").unwrap().after.contains("last"));
    for other in ["nothing", "own-things", "books-are-closed"] {
        assert!(bundle.without_path(other).unwrap_err().to_string().contains("there is no such path"), "{other} is no path in");
    }
}

// covers: BACK-6
#[test]
fn an_approval_goes_and_the_rest_of_what_the_path_costs_stays() {
    let bundle = example();
    let change = bundle.without_approval("platform-maintains").unwrap();
    assert_eq!(lines(&change.before, &change.after), (vec!["@approval(\"security\")".to_owned()], Vec::new()));
    assert!(bundle.without_approval("emergency").is_err(), "it asks nobody");
    let paths = bundle.paths();
    let of = |id: &str| paths.iter().find(|path| path.policy == id).unwrap();
    assert!(of("platform-maintains").asks_people && !of("platform-looks").asks_people && of("emergency").break_glass);
}

// covers: BACK-1
#[test]
fn a_tier_says_how_many_sessions_are_looked_at_and_by_whom() {
    let bundle = with("tiers.toml", "break_glass = true\n", "sample = \"5%, security, 7d\"\nescalate_to = \"leads\"\n");
    let tier = bundle.tier(&"prod".parse().unwrap()).unwrap();
    assert_eq!((tier.sample.as_ref().unwrap().to_string().as_str(), tier.production), ("5%, security, 7d", true));
    assert_eq!(tier.escalate_to.as_ref().unwrap().as_str(), "leads");
    let text = |line: &str| String::from_utf8(files()["tiers.toml"].clone()).unwrap().replacen("production = false", line, 1);
    for (line, says) in [
        ("sample = \"5%, nobody, 7d\"", "nobody"),
        ("sample = \"0%, security, 7d\"", "is no sample"),
        ("sample = \"101%, security, 7d\"", "is no sample"),
        ("sample = \"5%, security\"", "as in `5%, security, 7d`"),
        ("sample = \"5%, security, 0s\"", "is no sample"),
        ("escalate_to = \"nobody\"", "nobody"),
        ("production = \"no\"", "`true` or `false`"),
    ] {
        let mut wrong = files();
        wrong.insert("tiers.toml".into(), text(line).into_bytes());
        let problems = Bundle::from_files(wrong).unwrap_err().to_string();
        assert!(problems.contains(says), "{line}: {problems}");
    }
}

// covers: GRANT-9
#[test]
fn the_playbook_says_who_where_how_and_what_follows() {
    insta::assert_snapshot!(without_digest(&playbook::write(&example(), monday())));
    // Somebody else is on call over the holidays.
    let holidays = playbook::write(&example(), at("2028-12-25T09:00:00Z"));
    assert!(holidays.contains("| ana") || holidays.contains("ana, "), "{holidays}");
    let none = with("access.cedar", "@breakglass(\"security, 24h\")\n", "");
    assert!(playbook::write(&none, monday()).contains("No policy lets anybody in without asking."));
}

fn without_digest(text: &str) -> String {
    let digest = example().digest()[..12].to_owned();
    text.replace(&digest, "DIGEST")
}
