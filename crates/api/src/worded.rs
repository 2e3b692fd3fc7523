//! What a role may do, in plain words: for who asks for it, and for who decides on that.

use access::rights::{Columns, DatabaseRights, ExecRights, QualifiedName, Rights, SftpRights, SshRights, TableRights};

/// Each right in plain words, as what follows "may"; names stand between backticks.
pub(crate) fn in_words(rights: &Rights) -> Vec<String> {
    match rights {
        Rights::Ssh(ssh) => ssh_in_words(ssh),
        Rights::Database(database) => database_in_words(database),
    }
}

fn listed<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

fn ssh_in_words(rights: &SshRights) -> Vec<String> {
    let SshRights { shell, pty, exec, sftp, local_forward, remote_forward, local_socket, remote_socket, agent_forward, env, subsystems } =
        rights;
    let mut words = Vec::new();
    words.extend(shell.then(|| "open a shell".to_owned()));
    words.extend(pty.then(|| "use a terminal".to_owned()));
    match exec {
        ExecRights::None => {}
        ExecRights::Only(commands) => words.push(format!("run only {}", listed(commands))),
        ExecRights::Any => words.push("run any command".to_owned()),
    }
    match sftp {
        SftpRights::None => {}
        SftpRights::Read => words.push("read files".to_owned()),
        SftpRights::Write => words.push("read and write files".to_owned()),
    }
    words.extend((!local_forward.is_empty()).then(|| format!("forward connections to {}", listed(local_forward))));
    words.extend((!remote_forward.is_empty()).then(|| format!("listen on the target at {}", listed(remote_forward))));
    words.extend((!local_socket.is_empty()).then(|| format!("forward connections to the sockets {}", listed(local_socket))));
    words.extend((!remote_socket.is_empty()).then(|| format!("make the sockets {} on the target", listed(remote_socket))));
    words.extend(agent_forward.then(|| "let the target use the key agent".to_owned()));
    words.extend((!env.is_empty()).then(|| format!("set the variables {}", listed(env))));
    words.extend((!subsystems.is_empty()).then(|| format!("use the subsystems {}", listed(subsystems))));
    words
}

fn database_in_words(rights: &DatabaseRights) -> Vec<String> {
    let DatabaseRights {
        unrestricted,
        own_account: _,
        tables,
        functions,
        statements,
        only_statements,
        copy_in,
        copy_out,
        channels,
        search_path: _,
        row_limit,
        statement_timeout,
    } = rights;
    if *unrestricted {
        return vec!["run any statement that the account at the database may".to_owned()];
    }
    let mut words = Vec::new();
    if *only_statements {
        words.push(if statements.is_empty() {
            "run no statement".to_owned()
        } else {
            format!("run only the statements {}", listed(statements.keys()))
        });
    }
    for (name, table) in tables {
        table_in_words(name, table, &mut words);
    }
    words.extend((!functions.is_empty()).then(|| format!("call {}", listed(functions))));
    words.extend((!channels.is_empty()).then(|| format!("listen and notify on {}", listed(channels))));
    words.extend(copy_in.then(|| "load rows with COPY".to_owned()));
    words.extend(copy_out.then(|| "take rows out with COPY".to_owned()));
    if words.is_empty() {
        return words;
    }
    words.extend(row_limit.map(|rows| format!("bring back at most {rows} rows with one statement")));
    words.extend(statement_timeout.map(|longest| format!("run one statement for at most {longest}")));
    words
}

fn table_in_words(name: &QualifiedName, rights: &TableRights, words: &mut Vec<String>) {
    let TableRights { select, insert, update, delete, truncate, masked } = rights;
    let said = |all: &str, some: (&str, &str), columns: &Columns| match columns {
        Columns::None => None,
        Columns::All => Some(format!("{all} `{name}`")),
        Columns::Only(columns) => Some(format!("{} {} {} `{name}`", some.0, listed(columns), some.1)),
    };
    let hidden: Vec<&String> = masked.iter().filter(|column| select.allows(column)).collect();
    let but = if hidden.is_empty() { String::new() } else { format!(" with {} masked", listed(hidden)) };
    words.extend(said("read", ("read", "of"), select).map(|read| read + &but));
    words.extend(said("insert into", ("insert", "into"), insert));
    words.extend(said("change", ("change", "of"), update));
    words.extend(delete.then(|| format!("delete from `{name}`")));
    words.extend(truncate.then(|| format!("empty `{name}`")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_said_in_words() {
        let rights = Rights::Ssh(SshRights {
            shell: true,
            exec: ExecRights::Only(vec!["uptime".into()]),
            sftp: SftpRights::Read,
            local_forward: vec!["db.internal:5432".parse().unwrap()],
            ..SshRights::default()
        });
        assert_eq!(in_words(&rights), ["open a shell", "run only `uptime`", "read files", "forward connections to `db.internal:5432`"]);
        assert!(in_words(&Rights::Ssh(SshRights::default())).is_empty());
    }

    #[test]
    fn what_stays_hidden_in_a_database_is_said_too() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let customers = TableRights { select: Columns::All, masked: names(&["email"]), ..TableRights::default() };
        let orders = TableRights {
            select: Columns::Only(names(&["id", "state"])),
            update: Columns::Only(names(&["state"])),
            masked: names(&["card"]),
            delete: true,
            ..TableRights::default()
        };
        let mut rights = DatabaseRights {
            tables: [(QualifiedName::new("public", "customers"), customers), (QualifiedName::new("public", "orders"), orders)].into(),
            row_limit: Some(100),
            ..DatabaseRights::default()
        };
        let words = [
            "read `public.customers` with `email` masked",
            "read `id`, `state` of `public.orders`",
            "change `state` of `public.orders`",
            "delete from `public.orders`",
            "bring back at most 100 rows with one statement",
        ];
        assert_eq!(in_words(&Rights::Database(rights.clone())), words);
        rights.only_statements = true;
        assert_eq!(in_words(&Rights::Database(rights))[0], "run no statement");
        assert!(in_words(&Rights::Database(DatabaseRights::default())).is_empty());
    }
}
