//! Who is trusted to say who somebody is: the file of `--oidc`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde::Deserialize;
use url::Url;

use crate::{
    access::caller::Grant,
    model::access::{ALL_PROJECTS, Role},
};

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no YAML of this form.
    #[error(transparent)]
    Yaml(#[from] serde_yaml_ng::Error),
    /// A field holds what it may not.
    #[error("{field}: {problem}")]
    Field {
        /// Which one.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}

/// All providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// At least one; each has a name of its own.
    pub issuers: Vec<IssuerSettings>,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name, which is where it is found.
    pub url: String,
    /// As which client people sign in; none where they do not.
    pub client_id: Option<String>,
    /// For whom its tokens must be: one of these.
    pub audiences: Vec<String>,
    /// What `kindred login` asks for.
    pub scopes: Vec<String>,
    /// The authority of its certificate, as PEM; the system's when none.
    pub ca: Option<String>,
    /// The claim that is shown to people.
    pub name_claim: String,
    /// The claim that holds groups: a list, or one text.
    pub groups_claim: String,
    /// Claims that must have these values.
    pub require: BTreeMap<String, String>,
    /// What groups allow.
    pub rules: Vec<Rule>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// How long keys are used before they are read again, where the provider does not say.
    pub refresh_keys: Duration,
    /// How soon keys are read again at the earliest, where a token is signed by one that is not known.
    pub ask_again: Duration,
    /// How long keys are used while the provider cannot be reached.
    pub keep_keys: Duration,
}

/// What a group allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; one that ends in `*` stands for all that start like it.
    pub group: String,
    /// What it allows, and where.
    pub grant: Grant,
}

impl Rule {
    /// Whether it is about this group.
    pub fn takes(&self, group: &str) -> bool {
        match self.group.strip_suffix('*') {
            Some(start) => group.starts_with(start),
            None => group == self.group,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    issuers: Vec<FileIssuer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileIssuer {
    url: String,
    client_id: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    scopes: Option<Vec<String>>,
    ca_file: Option<String>,
    name_claim: Option<String>,
    groups_claim: Option<String>,
    #[serde(default)]
    require: BTreeMap<String, String>,
    #[serde(default)]
    grants: Vec<FileGrant>,
    clock_skew_s: Option<u64>,
    refresh_keys_s: Option<u64>,
    ask_again_s: Option<u64>,
    keep_keys_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGrant {
    group: String,
    role: FileRole,
    project: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileRole {
    Viewer,
    Submitter,
    Operator,
    Admin,
}

impl Settings {
    /// Reads the text of a file in this folder, with the certificates that it names.
    ///
    /// # Errors
    /// What is wrong, with line or field.
    pub fn read(text: &str, folder: &Path) -> Result<Self, Error> {
        let file: File = serde_yaml_ng::from_str(text)?;
        if file.issuers.is_empty() {
            return Err(wrong("issuers", "name at least one"));
        }
        let read = |(idx, issuer)| IssuerSettings::read(&format!("issuers[{idx}]"), issuer, folder);
        let issuers: Vec<IssuerSettings> =
            file.issuers.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        for (idx, issuer) in issuers.iter().enumerate() {
            if issuers[..idx].iter().any(|other| other.url == issuer.url) {
                return Err(wrong(&format!("issuers[{idx}].url"), "is there twice: put the grants together"));
            }
        }
        if issuers.iter().filter(|issuer| issuer.client_id.is_some()).count() > 1 {
            let problem = "only one issuer may have one: it is where `kindred login` signs in";
            return Err(wrong("issuers: client_id", problem));
        }
        Ok(Self { issuers })
    }
}

impl IssuerSettings {
    fn read(field: &str, file: FileIssuer, folder: &Path) -> Result<Self, Error> {
        let within = |name: &str| format!("{field}.{name}");
        check_url(&file.url).map_err(|problem| wrong(&within("url"), problem))?;
        let client_id = file.client_id.filter(|id| !id.is_empty());
        let audiences = match file.audiences.is_empty() {
            true => client_id.iter().cloned().collect(),
            false => file.audiences,
        };
        if audiences.is_empty() || audiences.iter().any(String::is_empty) {
            let problem = "say for whom tokens must be, or set client_id: tokens for others are not for us";
            return Err(wrong(&within("audiences"), problem));
        }
        let ca = match &file.ca_file {
            Some(name) => Some(fs::read_to_string(folder.join(name)).map_err(|error| {
                wrong(&within("ca_file"), format!("cannot read {}: {error}", folder.join(name).display()))
            })?),
            None => None,
        };
        if file.grants.is_empty() {
            return Err(wrong(&within("grants"), "say what groups may do: without, nobody may do anything"));
        }
        let mut rules = vec![];
        for (idx, grant) in file.grants.into_iter().enumerate() {
            rules.push(rule(&within(&format!("grants[{idx}]")), grant)?);
        }
        let seconds = |name: &str, given: Option<u64>, default: u64, least: u64, most: u64| {
            let given = given.unwrap_or(default);
            match (least..=most).contains(&given) {
                true => Ok(Duration::from_secs(given)),
                false => Err(wrong(&within(name), format!("must be {least} to {most}, not {given}"))),
            }
        };
        Ok(Self {
            url: file.url,
            client_id,
            audiences,
            scopes: file
                .scopes
                .unwrap_or_else(|| ["openid", "profile", "offline_access"].map(str::to_owned).into()),
            ca,
            name_claim: file.name_claim.unwrap_or_else(|| "sub".to_owned()),
            groups_claim: file.groups_claim.unwrap_or_else(|| "groups".to_owned()),
            require: file.require,
            rules,
            clock_skew: seconds("clock_skew_s", file.clock_skew_s, 60, 0, 600)?,
            refresh_keys: seconds("refresh_keys_s", file.refresh_keys_s, 3600, 60, 86_400)?,
            ask_again: seconds("ask_again_s", file.ask_again_s, 10, 1, 3600)?,
            keep_keys: seconds("keep_keys_s", file.keep_keys_s, 86_400, 60, 30 * 86_400)?,
        })
    }
}

fn rule(field: &str, file: FileGrant) -> Result<Rule, Error> {
    if file.group.is_empty() || file.group.trim_end_matches('*').contains('*') {
        let problem = "is the name of a group; a `*` may stand at its end only, for whatever follows";
        return Err(wrong(&format!("{field}.group"), problem));
    }
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=63).contains(&file.project.len()) && file.project.bytes().all(is_inner);
    if file.project != ALL_PROJECTS && !is_name {
        let problem = format!("must be a project, or \"*\" for all, not {:?}", file.project);
        return Err(wrong(&format!("{field}.project"), problem));
    }
    let role = match file.role {
        FileRole::Viewer => Role::Viewer,
        FileRole::Submitter => Role::Submitter,
        FileRole::Operator => Role::Operator,
        FileRole::Admin => Role::Admin,
    };
    Ok(Rule { group: file.group, grant: Grant { project: file.project, role } })
}

/// Keys that come over a plain connection are anybody's; on this machine they are not.
pub fn check_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    match url.scheme() {
        "https" => {}
        "http" if is_local => {}
        "http" => return Err(format!("{text} must be https: over http, anybody between could answer")),
        scheme => return Err(format!("{text} must be https, not {scheme}")),
    }
    if !url.username().is_empty() || url.fragment().is_some() {
        return Err(format!("{text} has more than a place"));
    }
    Ok(url)
}

fn wrong(field: &str, problem: impl Into<String>) -> Error {
    Error::Field { field: field.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: &str = include_str!("../../../../deploy/coordinator/oidc.yaml");

    fn read(text: &str) -> Result<Settings, String> {
        Settings::read(text, Path::new("/nowhere")).map_err(|error| error.to_string())
    }

    const LEAST: &str = "issuers:
- url: https://login.example.org/realms/lab
  client_id: kindred
  grants: [{group: ml-admins, role: admin, project: '*'}, {group: vision, role: submitter, project: vision}]
";

    #[test]
    fn the_annotated_file_holds_the_defaults() {
        assert_eq!(read(PUBLISHED), read(LEAST));
        read(LEAST).expect("it is valid");
    }

    #[test]
    fn a_star_stands_for_what_follows() {
        let rule = |group: &str| Rule {
            group: group.to_owned(),
            grant: Grant { project: "a".to_owned(), role: Role::Viewer },
        };
        assert!(rule("repo:lab/*").takes("repo:lab/kin:main") && !rule("repo:lab/*").takes("repo:other/kin"));
        assert!(rule("a").takes("a") && !rule("a").takes("ab") && rule("*").takes("anything"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        let cases = [
            ("{}", "issuers"),
            ("issuers: []", "issuers: name at least one"),
            ("issuers: [{url: 'http://login.example.org', client_id: a}]", "issuers[0].url: http"),
            ("issuers: [{url: 'login', client_id: a}]", "issuers[0].url"),
            ("issuers: [{url: 'https://a'}]", "issuers[0].audiences"),
            ("issuers: [{url: 'https://a', client_id: a}]", "issuers[0].grants"),
            ("issuers: [{url: 'https://a', client_id: a, ca_file: b.pem}]", "/nowhere/b.pem"),
            ("issuers: [{url: 'https://a', clientid: a}]", "clientid"),
        ];
        for (text, part) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let grant = |grant: &str| format!("issuers: [{{url: 'https://a', client_id: a, grants: [{grant}]}}]");
        for (text, part) in [
            ("{group: a, role: owner, project: b}", "owner"),
            ("{group: a, role: viewer}", "project"),
            ("{group: '', role: viewer, project: b}", "grants[0].group"),
            ("{group: 'a*b', role: viewer, project: b}", "grants[0].group"),
            ("{group: a, role: viewer, project: B}", "grants[0].project"),
        ] {
            let error = read(&grant(text)).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
        let skew = LEAST.replace("  client_id", "  clock_skew_s: 3000\n  client_id");
        assert_eq!(read(&skew).expect_err("too much"), "issuers[0].clock_skew_s: must be 0 to 600, not 3000");
        let twice = format!("{LEAST}{}", LEAST.trim_start_matches("issuers:\n"));
        assert!(read(&twice).expect_err("twice").contains("issuers[1].url"));
    }
}
