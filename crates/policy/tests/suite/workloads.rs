//! `workloads.toml`: which jobs are whom, what is refused before it could let strangers in, and claims in Cedar.

use std::collections::BTreeMap;

use access::claims::JobClaims;
use access::reason::Reason;
use access::verdict::Answer;
use tidegate_policy::{About, Act, Ask, Bundle, Job, Object, Situation, cases};

use crate::company::{files, monday, user, who};

const ISSUER: &str =
    "[[issuer]]\nname = \"github\"\nurl = \"https://token.actions.githubusercontent.com\"\naudience = \"https://gate.example\"\n";

fn with(workloads: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = files();
    files.insert("workloads.toml".into(), workloads.as_bytes().to_vec());
    files.remove("tests/workloads.toml");
    files
}

fn workload(more: &str, claims: &str) -> String {
    format!("{ISSUER}[[workload]]\nname = \"shop\"\nissuer = \"github\"\nowner = \"dan\"\n{more}\nclaims = {claims}\n")
}

fn refused(text: &str) -> String {
    Bundle::from_files(with(text)).err().unwrap_or_else(|| panic!("it loaded:\n{text}")).to_string()
}

fn job(claims: &[(&str, &str)]) -> JobClaims {
    JobClaims {
        issuer: "https://token.actions.githubusercontent.com".into(),
        claims: claims.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    }
}

// covers: WHO-6, A7
#[test]
fn what_would_let_strangers_in_is_refused() {
    let good = "{ repository_id = 4711, ref = \"refs/heads/main\" }";
    Bundle::from_files(with(&workload("groups = [\"releases\"]", good))).unwrap_or_else(|problems| panic!("{problems}"));
    for (text, says) in [
        // Nobody in particular.
        (workload("", "{ ref = \"refs/heads/main\" }"), "says by no id whose job it is"),
        (workload("", "{ repository = \"acme/shop\", ref = \"refs/heads/main\" }"), "name `repository_id` or `repository_owner_id`"),
        (workload("", "{ repository_id = \"*\" }"), "every job's `repository_id` is that"),
        (workload("", "{ repository_id = [] }"), "can be one of none"),
        (workload("", "{}"), "says by no id"),
        (workload("", "{ iss = \"https://token.actions.githubusercontent.com\" }"), "`iss` is checked in every token"),
        (workload("", "{ repository_id = 1, ref = \"*/*/*\" }"), "every job's `ref` is that"),
        (workload("", "{ repository_id = 1, ref = \"refs/heads/rel*\" }"), "`*` stands for one whole part"),
        (workload("", "{ repository_id = true }"), "a text in quotes"),
        (format!("{ISSUER}[[workload]]\nname = \"shop\"\nissuer = \"github\"\nowner = \"dan\"\n"), "`claims` is missing here"),
        (
            workload("", good)
                .replace("name = \"github\"", "name = \"github\"\nkind = \"other\"")
                .replace(good, "{ ref = \"refs/heads/*\" }"),
            "any job of `github` could be `shop`",
        ),
        // Names that there are not, with the nearest.
        (workload("", "{ repository_id = 1, brnach = \"main\" }"), "there is no claim of github `brnach`"),
        (workload("", "{ repository_di = 1 }"), "did you mean `repository_id`?"),
        (workload("groups = [\"relaeses\"]", good), "there is no group `relaeses`; did you mean `releases`?"),
        (workload("", good).replace("issuer = \"github\"", "issuer = \"gihtub\""), "there is no issuer `gihtub`; did you mean `github`?"),
        (workload("ownr = \"x\"", good), "did you mean `owner`?"),
        (workload("", good).replace("audience = ", "audience2 = "), "`issuer.audience` is missing"),
        (
            workload("", good).replace("audience = \"https://gate.example\"", "audience = \" \""),
            "`audience` is what the job asks its token for",
        ),
        (workload("", good).replace("audience = ", "kind = \"gihub\"\naudience = "), "did you mean `github`?"),
        (workload("", good).replace("audience = ", "algorithms = [\"HS256\"]\naudience = "), "`HS256` is no signature algorithm"),
        (workload("", good).replace("audience = ", "algorithms = []\naudience = "), "no token is ever believed"),
        (workload("", good).replace("audience = ", "roots = \"/etc/ca.pem\"\naudience = "), "-----BEGIN CERTIFICATE-----"),
        (workload("", good).replace("https://token", "http://token"), "is no issuer"),
        (workload("max_token = \"13h\"", good), "at most 12h"),
        (workload("max_token = \"0s\"", good), "longer than nothing"),
        (workload("", good).replace("owner = \"dan\"", "owner = \"deploy-bot\""), "is a machine itself"),
        (workload("", good).replace("name = \"shop\"", "name = \"frank\""), "is a contractor in `people.toml`"),
        (format!("{}{}", workload("", good), ISSUER.replace("\"github\"", "\"again\"")), "are the same issuer"),
    ] {
        let problems = refused(&text);
        assert!(problems.contains(says), "{says}: {problems}");
        assert!(problems.contains("workloads.toml:"), "{problems}");
    }
}

// covers: WHO-6
#[test]
fn a_job_is_one_workload_or_nobody() {
    let two = format!(
        "{}[[workload]]\nname = \"shop-too\"\nissuer = \"github\"\nowner = \"ana\"\nclaims = {{ repository_id = 4711, environment = \"staging\" }}\n",
        workload("", "{ repository_id = 4711, ref = [\"refs/heads/main\", \"refs/heads/release/*\"] }")
    );
    let bundle = Bundle::from_files(with(&two)).unwrap_or_else(|problems| panic!("{problems}"));
    let workloads = bundle.workloads();
    let is = |claims: &[(&str, &str)]| match workloads.who_is(&job(claims)) {
        Job::Is(workload) => workload.name.to_string(),
        Job::Several(names) => format!("{names:?}"),
        Job::Nobody { own, misfits } => format!("nobody, {} of {}", own.len(), misfits.len()),
    };
    assert_eq!(is(&[("repository_id", "4711"), ("ref", "refs/heads/main")]), "shop");
    assert_eq!(is(&[("repository_id", "4711"), ("ref", "refs/heads/release/1.2"), ("environment", "production")]), "shop");
    assert_eq!(is(&[("repository_id", "4711"), ("ref", "refs/heads/x"), ("environment", "staging")]), "shop-too");
    assert!(is(&[("repository_id", "4711"), ("ref", "refs/heads/main"), ("environment", "staging")]).contains("shop-too"), "both");
    // Its own repository's job is told; a stranger's is not.
    assert_eq!(is(&[("repository_id", "4711"), ("ref", "refs/heads/x")]), "nobody, 2 of 2");
    assert_eq!(is(&[("repository_id", "666"), ("ref", "refs/heads/main")]), "nobody, 0 of 2");
    assert_eq!(is(&[("repository", "acme/shop"), ("ref", "refs/heads/main")]), "nobody, 0 of 2");
    let elsewhere = JobClaims { issuer: "https://evil.example".into(), ..job(&[("repository_id", "4711"), ("ref", "refs/heads/main")]) };
    assert_eq!(workloads.who_is(&elsewhere), Job::Nobody { misfits: Vec::new(), own: Vec::new() });
    // It is a machine with its owner, as reports suppose it.
    let shop = bundle.imagine(&user("shop"), monday()).unwrap();
    assert_eq!((shop.owner, shop.claims.unwrap().get("ref").map(str::to_owned)), (Some(user("dan")), Some("refs/heads/main".into())));
    assert!(bundle.names_person(&user("shop")), "nobody takes its name");
}

// covers: WHO-6, MAY-2
#[test]
fn claims_are_words_of_policies_and_are_checked_as_such() {
    let ask = Ask::plain("web-1".parse().unwrap(), "deploy".parse().unwrap());
    let bundle = crate::company::example();
    let release = who(&bundle, "shop-release");
    let answer = |claims: Option<JobClaims>| match bundle.decide(&Situation { claims, ..release.clone() }, &ask).answer() {
        Answer::NeedsApproval { .. } => "asks".to_owned(),
        Answer::Deny { reason, .. } => reason.code().to_owned(),
        other => format!("{other:?}"),
    };
    let main = [("repository_id", "74120583"), ("ref", "refs/heads/main"), ("environment", "production")];
    assert_eq!(answer(Some(job(&main))), "asks");
    assert_eq!(answer(Some(job(&[("ref", "refs/heads/main")]))), Reason::NoPath.code());
    assert_eq!(answer(None), Reason::NoPath.code(), "a token that is no job's says nothing");
    // A claim that no schema knows is kept from policies, and spoils nothing.
    assert_eq!(answer(Some(job(&[main[0], main[1], main[2], ("team", "payments")]))), "asks");

    let mut all = files();
    let access = String::from_utf8(all["access.cedar"].clone()).unwrap();
    for (from, to, says) in [
        ("principal.claims has ref && ", "", "claims"),
        ("principal.claims.ref ==", "principal.claims.reff ==", "reff"),
        ("principal is Tide::Workload in Tide::Group::\"releases\"", "principal in Tide::Group::\"releases\"", "claims"),
    ] {
        assert!(access.contains(from), "{from}");
        all.insert("access.cedar".into(), access.replace(from, to).into_bytes());
        let problems = Bundle::from_files(all.clone()).unwrap_err().to_string();
        assert!(problems.contains("access.cedar:") && problems.contains(says), "{from}: {problems}");
    }
}

// covers: WHO-6
#[test]
fn a_job_does_nothing_to_what_another_job_of_its_workload_has_whatever_policy_says() {
    let all = "@id(\"releases-see-all\") permit(principal in Tide::Group::\"releases\", \
               action in [Tide::Action::\"read\", Tide::Action::\"terminate\"], resource);";
    let bundle = crate::company::plus("oversight.cedar", all);
    let release = who(&bundle, "shop-release");
    let of = |whose: &Situation, claims: Option<JobClaims>| {
        Object::Session(About {
            person: whose.id,
            username: whose.username.clone(),
            owner: whose.owner.clone(),
            resource: "build-1".parse().unwrap(),
            role: "deploy".parse().unwrap(),
            break_glass: false,
            claims,
        })
    };
    let other = Some(job(&[("repository_id", "74120583"), ("ref", "refs/heads/release/1.2")]));
    let ana = who(&bundle, "ana");
    for act in [Act::Read, Act::Terminate] {
        assert!(bundle.may(&release, act, &of(&release, release.claims.clone())).allowed, "{act}: its own");
        assert!(bundle.may(&release, act, &of(&ana, None)).allowed, "{act}: somebody else's");
        for claims in [other.clone(), None] {
            let refusal = bundle.may(&release, act, &of(&release, claims)).ok().unwrap_err();
            assert_eq!(refusal.reason, Reason::NotAllowed, "{act}: {refusal}");
            assert!(refusal.to_string().contains("another job"), "{refusal}");
        }
        let no_job = Situation { claims: None, ..release.clone() };
        assert!(!bundle.may(&no_job, act, &of(&release, other.clone())).allowed, "{act}: nor a token that is no job's");
    }
}

// covers: WHO-6
#[test]
fn a_case_is_asked_as_a_job_and_says_when_it_would_be_nobody() {
    let text = String::from_utf8(files()["tests/workloads.toml"].clone()).unwrap();
    let mut all = files();
    all.insert(
        "tests/workloads.toml".into(),
        text.replace("claims = { ref = \"refs/heads/try-something\" }", "claims = { ref = \"refs/heads/main\" }").into_bytes(),
    );
    let report = cases::run(&Bundle::from_files(all).unwrap(), monday());
    assert!(report.to_string().contains("a job of any other branch is nobody"), "{report}");
    let mut all = files();
    all.insert("tests/workloads.toml".into(), text.replace("because = \"not_signed_in\"", "because = \"no_path\"").into_bytes());
    let report = cases::run(&Bundle::from_files(all).unwrap(), monday());
    assert_eq!(report.outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count(), 3, "{report}");
    let person = "[[case]]\nname = \"a person is no job\"\nwho = \"ana\"\nclaims = { ref = \"refs/heads/main\" }\nask = \"build-1+shell\"\nexpect = \"permit\"\n";
    let mut all = files();
    all.insert("tests/workloads.toml".into(), person.as_bytes().to_vec());
    let report = cases::run(&Bundle::from_files(all).unwrap(), monday());
    assert!(report.to_string().contains("is no workload of `workloads.toml`"), "{report}");
}
