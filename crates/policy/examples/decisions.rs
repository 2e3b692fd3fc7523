//! How long a decision takes: 1,000 policies, 10,000 people, 5,000 resources. Prints percentiles in microseconds as JSON.
//!
//! `cargo run --release -p tidegate-policy --example decisions`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use jiff::Timestamp;
use tidegate_policy::{Ask, Bundle, Situation};

const POLICIES: usize = 1_000;
const PEOPLE: usize = 10_000;
const RESOURCES: usize = 5_000;
const TEAMS: usize = 250;
const DECISIONS: usize = 20_000;

fn company() -> BTreeMap<String, Vec<u8>> {
    let mut people = String::new();
    for team in 0..TEAMS {
        let members: Vec<String> = (0..PEOPLE).filter(|p| p % TEAMS == team || p % 97 == team).map(|p| format!("\"p{p}\"")).collect();
        let _ = writeln!(people, "[[team]]\nname = \"team-{team}\"\nmembers = [{}]", members.join(", "));
        let _ = writeln!(
            people,
            "[[on_call]]\nname = \"team-{team}\"\npeople = [\"p{team}\", \"p{}\"]\nstarts = 2026-01-05T09:00\nevery = \"7d\"",
            team + TEAMS
        );
    }
    let mut resources = String::new();
    for n in 0..RESOURCES {
        let tier = ["non-prod", "prod", "regulated"][n % 3];
        let _ = writeln!(
            resources,
            "[[resource]]\nname = \"host-{n}\"\nkind = \"ssh\"\naddress = \"10.0.{}.{}:22\"\ntier = \"{tier}\"\nenvironment = \"env-{}\"\ntags = [\"t{}\"]\nowner = \"team-{}\"\n\
             host_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\"]",
            n / 250,
            n % 250 + 1,
            n % 7,
            n % 40,
            n % TEAMS
        );
    }
    let mut cedar = String::new();
    for n in 0..POLICIES {
        let team = n % TEAMS;
        let _ = match n % 4 {
            0 => writeln!(
                cedar,
                "@id(\"p{n}\") permit(principal in Tide::Team::\"team-{team}\", action == Tide::Action::\"request\", resource in Tide::Tier::\"non-prod\") when {{ resource has owner && principal in resource.owner }};"
            ),
            1 => writeln!(
                cedar,
                "@id(\"p{n}\") @max_duration(\"2h\") permit(principal in Tide::Team::\"team-{team}\", action == Tide::Action::\"request\", resource in Tide::Resource::\"host-{n}\");"
            ),
            2 => writeln!(
                cedar,
                "@id(\"p{n}\") @ticket(\"named\") permit(principal in Tide::OnCall::\"team-{team}\", action == Tide::Action::\"request\", resource in Tide::Tier::\"prod\") when {{ resource.tags.contains(\"t{}\") || context.mfa.level > 1 }};",
                n % 40
            ),
            _ => writeln!(
                cedar,
                "@id(\"p{n}\") forbid(principal in Tide::Team::\"team-{team}\", action == Tide::Action::\"request\", resource in Tide::Tier::\"regulated\") when {{ context.hour < 2 && context.seconds > 3600 }};"
            ),
        };
    }
    let files = [
        ("people.toml", people),
        ("resources.toml", resources),
        ("access.cedar", cedar),
        ("tiers.toml", ["non-prod", "prod", "regulated"].map(|t| format!("[[tier]]\nname = \"{t}\"\nmax = \"8h\"\ndefault = \"1h\"\napprovals = []\n")).concat()),
        ("roles.toml", ["shell", "debug", "logs"].map(|r| format!("[[role]]\nname = \"{r}\"\ndescription = \"x\"\nkind = \"ssh\"\nlogin = \"app\"\nssh = {{ shell = true, pty = true }}\n")).concat()),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect()
}

#[expect(clippy::print_stdout, reason = "its output is what it is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let bundle = Bundle::from_files(company())?;
    let load = begun.elapsed();
    let now: Timestamp = "2026-11-23T01:00:00Z".parse()?;
    let mut taken = Vec::with_capacity(DECISIONS);
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    // A fixed walk through people and resources that meets every mix of them; every fourth asks on a resource of their team.
    for n in 0..DECISIONS {
        let person = n * 7919 % PEOPLE;
        let host = if n % 4 == 0 { person % TEAMS } else { n * 104_729 % RESOURCES };
        let who = Situation {
            network: Some([10, 0, 0, 7].into()),
            ..bundle.imagine(&format!("p{person}").parse()?, now).ok_or("no such person")?
        };
        let ask = Ask::plain(format!("host-{host}").parse()?, ["shell", "debug", "logs"][n % 3].parse()?);
        let begun = Instant::now();
        let verdict = bundle.decide(&who, &ask);
        taken.push(begun.elapsed());
        *answers.entry(verdict.answer().code()).or_default() += 1;
    }
    taken.sort();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_micros();
    println!(
        "{}",
        serde_json::json!({
            "policies": POLICIES, "people": PEOPLE, "resources": RESOURCES, "decisions": DECISIONS, "load_ms": load.as_millis(),
            "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1.0), "answers": answers,
        })
    );
    Ok(())
}
