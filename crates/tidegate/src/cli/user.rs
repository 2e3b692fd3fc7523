//! `tidegate user`: people who can sign in.

use std::io;

use access::ids::PrincipalId;
use access::names::Username;
use anyhow::bail;
use api::types::evidence::{ErasedPerson, Erasure};
use api::types::grants::Because;
use api::types::list::Page;
use api::types::providers::{Identity, NewIdentity};
use api::types::users::{DisabledUser, Invited, Me, NewUser, User, UsersQuery};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, Reply};
use crate::output::{Field, Output, Tone, note};

use super::exit::Exit;
use super::{Context, Shown, grant, note_more};

/// What to do with people.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List people and machines
    List(List),
    /// Show somebody; without a name, yourself
    Show {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: Option<String>,
    },
    /// Make somebody known and print the code they join with
    Invite {
        /// How they will sign in; for somebody known it prints a new code
        #[arg(value_name = "USER")]
        username: Username,
        /// How they are called
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Let somebody sign in no longer, and cut everything of theirs
    Disable {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: String,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let somebody sign in again
    Enable {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: String,
    },
    /// Erase what is kept of somebody who was disabled, for good: texts of and about them, and their recordings; the log verifies
    Erase {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: String,
        /// Why; it stands in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// List the accounts at identity providers that sign somebody in
    Accounts {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: String,
    },
    /// Say which account at an identity provider signs somebody in
    Link {
        /// Who: a user name or an id
        #[arg(value_name = "USER")]
        who: String,
        /// The provider, as the configuration names it
        #[arg(value_name = "PROVIDER")]
        provider: String,
        /// Who they are there: the claim `sub`, never an e-mail address
        #[arg(value_name = "SUBJECT")]
        subject: String,
    },
    /// Take an account at an identity provider away from whoever it signs in, and end what it opened
    Unlink {
        /// Which, as `accounts` shows it
        #[arg(value_name = "ACCOUNT")]
        account: String,
        /// Even if nothing else signs them in
        #[arg(long)]
        last: bool,
    },
}

/// How many people.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    shown: Shown,
}

impl UserCommand {
    /// Does it.
    pub async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let client = context.client()?;
        match self {
            Self::List(list) => print_list(context, &client, list.shown.limit, |_| true).await,
            Self::Show { who: None } => {
                let reply: Reply<Me> = client.get("/me", &()).await?;
                context.print(&reply, |output, me| {
                    let scopes: Vec<String> = me.scopes.iter().map(ToString::to_string).collect();
                    let mut shown = facts(output, &me.user);
                    shown.extend([
                        ("second factor", me.mfa.to_string()),
                        ("sign-in may", scopes.join(", ")),
                        ("administers", me.administers.join(", ")),
                    ]);
                    output.facts(&shown)
                })
            }
            Self::Show { who: Some(who) } => {
                let id = find(&client, &who).await?;
                let reply: Reply<User> = client.get(&format!("/users/{id}"), &()).await?;
                context.print(&reply, show)
            }
            Self::Invite { username, name } => {
                let reply: Reply<Invited> = match named(&client, &username).await? {
                    Some(user) => client.post(&format!("/users/{}/invite", user.id), &json!({})).await?,
                    None => client.post("/users", &NewUser { username, display_name: name }).await?,
                };
                let own_ca = context.settings()?.ca_file.is_some();
                context.print(&reply, |output, invited| show_code(output, &client, invited, own_ca))
            }
            Self::Disable { who, reason } => {
                let id = find(&client, &who).await?;
                let reply: Reply<DisabledUser> = client.post(&format!("/users/{id}/disable"), &Because { reason }).await?;
                context.print(&reply, |output, disabled| {
                    output.line(format!("{} can no longer sign in.", disabled.user.username))?;
                    grant::show_cut(output, &disabled.cut)
                })
            }
            Self::Enable { who } => {
                let id = find(&client, &who).await?;
                let reply: Reply<User> = client.post(&format!("/users/{id}/enable"), &json!({})).await?;
                context.print(&reply, |output, user| output.toned(format!("{} can sign in again.", user.username), Tone::Good))
            }
            Self::Erase { who, reason } => {
                let id = find(&client, &who).await?;
                note(format!("Erasing what is kept of {who}. That may take a while, and goes on at the gate if you leave."));
                let reply: Reply<ErasedPerson> = client.post_at_length(&format!("/users/{id}/erase"), &Erasure { reason }).await?;
                context.print(&reply, |output, erased| {
                    let (texts, recordings) = (erased.texts, erased.recordings);
                    output.toned(format!("Erased of {who}: texts {texts}, recordings {recordings}."), Tone::Good)?;
                    if erased.held > 0 {
                        let held = erased.held;
                        note(format!("A legal hold keeps more (entries and recordings: {held}); once it is lifted, erase again."));
                    }
                    Ok(())
                })
            }
            Self::Accounts { who } => {
                let id = find(&client, &who).await?;
                let reply: Reply<Page<Identity>> = client.get(&format!("/users/{id}/identities"), &()).await?;
                context.print(&reply, |output, page| {
                    let rows = page.items.iter().map(|account| {
                        vec![
                            account.id.clone().into(),
                            account.issuer.clone().into(),
                            account.subject.clone().unwrap_or_else(|| "erased".to_owned()).into(),
                            output.at(account.linked_at).into(),
                            output.maybe_at(account.proved_at).into(),
                        ]
                    });
                    output.table(
                        &["account", "issuer", "subject", "since", "used"],
                        rows.collect(),
                        "No account at a provider signs them in.",
                    )
                })
            }
            Self::Link { who, provider, subject } => {
                let id = find(&client, &who).await?;
                let reply: Reply<Identity> = client.post(&format!("/users/{id}/identities"), &NewIdentity { provider, subject }).await?;
                context.print(&reply, |output, account| output.toned(format!("{} signs them in from now on.", account.id), Tone::Good))
            }
            Self::Unlink { account, last } => {
                let reply: Reply<Identity> = client.delete(&format!("/identities/{account}?last={last}")).await?;
                context.print(&reply, |output, account| {
                    output.line(format!("{} at {} signs nobody in any more; what it opened is over.", account.id, account.issuer))
                })
            }
        }
    }
}

/// Prints the people for whom `wanted` holds.
pub(crate) async fn print_list(context: &Context, client: &Client, limit: u32, wanted: impl Fn(&User) -> bool) -> anyhow::Result<Exit> {
    let reply = client.list::<User>("/users", &(), limit).await?;
    context.print(&reply, |output, page| {
        let rows = page.items.iter().filter(|user| wanted(user)).map(|user| {
            vec![
                user.id.into(),
                user.username.to_string().into(),
                Field::state(user.state),
                user.display_name.clone().unwrap_or_default().into(),
                user.owner.as_ref().map(ToString::to_string).unwrap_or_default().into(),
                output.at(user.created_at).into(),
            ]
        });
        output.table(&["id", "user", "state", "name", "owner", "known since"], rows.collect(), "Nobody.")?;
        note_more(page.next_cursor.is_some());
        Ok(())
    })
}

/// The id of somebody given by name or id.
pub(crate) async fn find(client: &Client, who: &str) -> anyhow::Result<PrincipalId> {
    if who.starts_with("usr_") || who.starts_with("wkl_") {
        return Ok(who.parse()?);
    }
    let username: Username = who.parse()?;
    match named(client, &username).await? {
        Some(user) => Ok(user.id),
        None => bail!("nobody is called `{username}`, or nobody that you may see; `tidegate user list` shows who is"),
    }
}

async fn named(client: &Client, username: &Username) -> anyhow::Result<Option<User>> {
    let query = UsersQuery { username: Some(username.clone()), ..UsersQuery::default() };
    let page: Reply<Page<User>> = client.get("/users", &query).await?;
    Ok(page.value.items.into_iter().find(|user| user.username == *username))
}

pub(crate) fn show(output: &Output, user: &User) -> io::Result<()> {
    output.facts(&facts(output, user))
}

fn facts(output: &Output, user: &User) -> Vec<(&'static str, String)> {
    let groups: Vec<String> = user.groups.iter().map(ToString::to_string).collect();
    vec![
        ("id", user.id.to_string()),
        ("user", user.username.to_string()),
        ("name", user.display_name.clone().unwrap_or_default()),
        ("state", user.state.to_string()),
        ("owner", user.owner.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("groups", groups.join(", ")),
        ("known since", output.at(user.created_at)),
    ]
}

fn show_code(output: &Output, client: &Client, invited: &Invited, own_ca: bool) -> io::Result<()> {
    note(format!("{} joins with this, once, until {}:", invited.user.username, output.at(invited.expires_at)));
    if own_ca {
        note("The gate has its own CA: send `ca.pem` along, and let them add `--ca-file ca.pem`.");
    }
    output.line(format!("tidegate join {} {}", client.base().as_str().trim_end_matches('/'), invited.code))
}
